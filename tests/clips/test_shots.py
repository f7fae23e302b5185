"""Cuts are found between pictures that differ, however they change; movement, light and captions are none."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter
from skimage import data

from thcli.clips.shots import Cut, find_cuts, reduced_luma, shots

SIZE = (256, 320)


def scene(name: str, frames: int = 40, zoom: float = 1.0, drift: float = 0.5) -> np.ndarray:
    """Reduced luma of a photo that drifts by some of its pixels a frame."""
    photo = Image.fromarray(getattr(data, name)()).resize((480, 384))
    height, width = SIZE[0] / zoom, SIZE[1] / zoom
    made = []
    for t in range(frames):
        x, y = 80 + drift * t - (width - SIZE[1]) / 2, 64 - (height - SIZE[0]) / 2
        part = photo.resize((SIZE[1], SIZE[0]), box=(x, y, x + width, y + height))
        made.append(reduced_luma(np.asarray(part)))
    return np.stack(made)


def mixed(before: np.ndarray, after: np.ndarray, frames: int) -> np.ndarray:
    """One scene dissolving into another over so many frames."""
    share = ((np.arange(frames) + 1) / (frames + 1)).astype(np.float32)[:, None, None]
    middle = before[-frames:] * (1 - share) + after[:frames] * share
    return np.round(np.concatenate([before[:-frames], middle, after[frames:]]))


def test_reduced_luma_has_the_shape_of_the_picture():
    assert reduced_luma(np.zeros((1080, 1920, 3), np.uint8)).shape == (45, 80)
    assert reduced_luma(np.full((64, 32, 3), 200, np.uint8)).mean() == pytest.approx(200, abs=0.1)


def test_find_cuts_finds_a_hard_cut_and_two_on_neighbouring_frames():
    assert find_cuts(np.concatenate([scene("astronaut", 30), scene("coffee", 20)])) == [Cut(30, 30)]
    assert find_cuts(np.concatenate([scene("astronaut", 30), scene("chelsea", 1), scene("coffee", 20)])) == [
        Cut(30, 30),
        Cut(31, 31),
    ]


@pytest.mark.parametrize("zoom", [1.1, 1.3, 1 / 1.2])
def test_find_cuts_finds_a_jump_cut_with_a_zoom(zoom):
    assert find_cuts(np.concatenate([scene("astronaut", 30), scene("astronaut", 20, zoom)])) == [Cut(30, 30)]


@pytest.mark.parametrize("length", [6, 12, 25, 40])
def test_find_cuts_finds_dissolves_with_all_frames_that_are_mixed(length):
    (cut,) = find_cuts(mixed(scene("astronaut", 80), scene("coffee", 80), length))
    first, end = 80 - length, 80
    assert first - 6 <= cut.first <= first + 1 and end - 1 <= cut.end <= end + 6
    assert cut.middle == pytest.approx((first + end) / 2, abs=3)


def test_find_cuts_finds_a_fade_through_black_between_two_scenes():
    fade = np.linspace(1, 0, 12, dtype=np.float32)[:, None, None]
    before, after = scene("astronaut", 40), scene("coffee", 40)
    before[-12:] *= fade
    after[:12] *= fade[::-1]
    (cut,) = find_cuts(np.concatenate([before, after]))
    assert 22 <= cut.first <= 40 <= cut.end <= 60


def test_find_cuts_takes_movement_light_and_captions_for_none():
    still = scene("astronaut", 60)
    assert find_cuts(still) == []
    assert find_cuts(scene("astronaut", 60, drift=1.2)) == []
    pumping = 0.8 + 0.2 * np.sin(np.arange(60, dtype=np.float32) / 6)[:, None, None]
    assert find_cuts(still * pumping) == []
    fade = np.minimum(np.arange(60, dtype=np.float32) / 25, 1)[:, None, None]
    assert find_cuts(still * fade) == []
    captioned = still.copy()
    letters = np.random.default_rng(3).integers(0, 2, (4, 14, 60)) * 255
    for t in range(60):
        if t // 10 % 2:
            captioned[t, 46:60, 10:70] = letters[t // 20]
    assert find_cuts(captioned) == []


def test_find_cuts_of_one_frame_finds_none():
    assert find_cuts(scene("astronaut", 1)) == []


def test_shots_lie_between_the_cuts():
    assert shots([Cut(10, 10), Cut(20, 30)], 50) == [(0, 10), (10, 20), (30, 50)]
    assert shots([], 50) == [(0, 50)]


def test_blurred_sides_that_sway_behind_a_sharp_picture_are_no_dissolve():
    """A portrait video before itself, enlarged and blurred, as phones and broadcasters show it."""
    photo = Image.fromarray(data.astronaut()).resize((640, 480))
    blurred, upright = photo.filter(ImageFilter.GaussianBlur(18)), photo.resize((101, 180))
    frames = []
    for angle in np.linspace(0, np.pi, 60, endpoint=False):
        x, y = 160 + 150 * np.sin(angle), 150 + 40 * np.cos(angle)
        frame = blurred.resize((320, 180), box=(x, y, x + 320, y + 180))
        frame.paste(upright, (110, 0))
        frames.append(reduced_luma(np.asarray(frame)))
    assert find_cuts(np.stack(frames)) == []
