"""Whether sound and mouth of a clip go together, and how large the frames of a long clip may be."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.errors import MediaError
from thcli.face_model import LIP_GAP, FaceModel
from thcli.preprocess import clips as preprocess
from thcli.records import FPS, FaceTrack, Speech

SHORT = 0.24
"""Seconds of the videos that are read."""


def syllables(frames: int, seed: int) -> np.ndarray:
    """A curve [frames] that rises and falls a few times a second, 0 to 1."""
    from scipy.ndimage import gaussian_filter1d

    curve = gaussian_filter1d(np.random.default_rng(seed).normal(size=frames), 2.0, mode="wrap")
    return (curve - curve.min()) / np.ptp(curve)


def clip(frames: int, lag: int, seed: int = 0, other_sound: int | None = None) -> tuple[FaceTrack, Speech]:
    """A mouth that opens with the loudness of a hiss, two frames before it where the lag is 0."""
    opening = np.roll(syllables(frames, seed), lag - 2)
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    mesh = np.repeat(model.canonical[None], frames, axis=0).astype(np.float32)
    mesh[:, LIP_GAP[1], 1] += 0.3 * opening.astype(np.float32)
    loud = np.repeat(10 ** (2 * syllables(frames, seed if other_sound is None else other_sound) - 3), 640)
    hiss = np.random.default_rng(1).normal(size=len(loud)) * loud
    empty = np.zeros((frames, 6), np.float32)
    track = FaceTrack(
        empty[:, :4], mesh, mesh[:, :68], empty, 1.0, np.ones(frames, np.float32), (256, 256), "none"
    )  # fmt: skip
    return track, Speech(hiss.astype(np.float32), Path("hiss.wav"))


@pytest.mark.parametrize("lag", [-12, -4, 0, 3, 6, 13])
def test_av_lag_finds_the_lag_of_the_mouth(lag):
    found = preprocess.av_lag(*clip(400, lag))
    assert found is not None and abs(found - lag) <= 1


@pytest.mark.parametrize("sound", range(1, 9))
def test_av_lag_does_not_take_another_sound_for_one_off_sync(sound):
    found = preprocess.av_lag(*clip(400, 0, other_sound=sound))
    assert found is None or abs(found) <= preprocess.IN_SYNC


def test_av_lag_is_none_without_enough_to_tell():
    assert preprocess.av_lag(*clip(49, 0)) is None
    track, speech = clip(400, 0)
    assert preprocess.av_lag(track, Speech(np.zeros_like(speech.samples), speech.path)) is None


@pytest.fixture
def portrait_clip(portrait_png: Path, tmp_path: Path, ffmpeg: Callable[..., None]) -> Callable[[int, int], Path]:
    """portrait_clip(width, height): a video of ``SHORT`` seconds that shows a face."""

    def make(width: int, height: int) -> Path:
        side = min(width, height)
        shown = f"scale={side}:{side},pad={width}:{height}:(ow-iw)/2:(oh-ih)/2"
        path = tmp_path / "clip.mp4"
        ffmpeg("-loop", 1, "-r", FPS, "-i", portrait_png, "-t", SHORT, "-vf", shown, "-pix_fmt", "yuv420p", path)
        return path

    return make


def bytes_of(width: int, height: int) -> float:
    """Bytes of the frames of a clip of ``SHORT`` seconds."""
    return 3 * FPS * width * height * SHORT


@pytest.mark.parametrize(
    ("size", "share", "reduced"),
    [((480, 320), 1, (480, 320)), ((480, 320), 4 / 9, (320, 213)), ((320, 480), 4 / 9, (213, 320))],
    ids=["fits", "wide", "high"],
)
def test_track_file_reduces_frames_of_a_long_clip_to_what_is_held(monkeypatch, portrait_clip, size, share, reduced):
    monkeypatch.setattr(preprocess, "MAX_BYTES", share * bytes_of(*size))
    clip, track = preprocess.track_file(portrait_clip(*size), least_side=240)
    assert clip.frames.shape == (round(SHORT * FPS), *reduced[::-1], 3)
    assert track.size == reduced and len(track) == len(clip)


def test_track_file_refuses_a_clip_whose_frames_would_be_smaller_than_the_least_side(monkeypatch, portrait_clip):
    path = portrait_clip(480, 320)
    monkeypatch.setattr(preprocess, "MAX_BYTES", bytes_of(480, 320) / 4 - 1)
    for least in (None, 240):
        with pytest.raises(MediaError, match="at 480x320, expected at most 0 s; cut it"):
            preprocess.track_file(path, least_side=least)


@pytest.mark.parametrize(
    ("least", "size", "limit"), [(None, (1920, 1080), 27), (640, (1920, 1080), 248), (640, (320, 240), 745)]
)
def test_track_file_names_the_seconds_that_would_fit(tmp_path, ffmpeg, least, size, limit):
    """The video is real, and as long as it says, with two frames in it."""
    path, seconds = tmp_path / "clip.mp4", limit + 1
    source = f"color=size={size[0]}x{size[1]}:rate=2/{seconds}:duration={seconds}"
    ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", path)
    with pytest.raises(MediaError) as caught:
        preprocess.track_file(path, least_side=least)
    assert str(caught.value) == (f"{path}: {seconds} s at {size[0]}x{size[1]}, expected at most {limit} s; cut it")
