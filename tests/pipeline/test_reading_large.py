"""Frames larger than what is made of them are read reduced, unless the face would be too small, or they are shown."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thcli.faces.backends import load_face_model
from thcli.faces.pose import to_pixels
from thcli.pipeline import GenerateOptions, person
from thcli.records import FPS, Clip, FaceTrack, Float


def followed(clip: Clip, face_height: float) -> FaceTrack:
    """A face of that height, over the height of the picture."""
    height, width = clip.frames.shape[1:3]
    mesh = np.asarray(load_face_model(None).canonical[None])
    size = float(np.ptp(mesh[..., 1]))
    mesh = to_pixels(mesh, size / (face_height * height), (width, height)).astype(np.float32)
    box: Float = np.concatenate([mesh[..., :2].min(1), mesh[..., :2].max(1)], -1)
    ones = np.ones(1, np.float32)
    pose = np.zeros((1, 6), np.float32)
    return FaceTrack(box, mesh, mesh[:, :68], pose, 1.0, ones, (width, height), "known")


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch):
    """read(size, face height, options): longest sides and seconds that the clip is read with, and the crop's side."""

    def run(frame_size: tuple[int, int], face_height: float, seconds: float = 4.0, **options):
        asked = []

        def clip(path: Path, start: float, seconds: float, longest: int | None) -> Clip:
            asked.append((longest, seconds))
            share = 1.0 if longest is None else longest / max(frame_size)
            return Clip(np.zeros((1, round(frame_size[1] * share), round(frame_size[0] * share), 3), np.uint8), path)

        info = SimpleNamespace(video=True, image=False, width=frame_size[0], height=frame_size[1])
        monkeypatch.setattr(person, "probe", lambda path: info)
        monkeypatch.setattr(person, "read_clip", clip)
        monkeypatch.setattr(person, "track_clip", lambda clip, *_: followed(clip, face_height))
        given = GenerateOptions(**options)
        box = person.read_face(Path("clip.mp4"), given, 0.0, given.face_choice(), seconds)[2]
        return asked, box.side

    return run


def test_4k_is_reduced_and_read_in_full_length(read) -> None:
    asked, side = read((3840, 2160), 0.4)
    assert asked == [(1920, 4.0)] and side >= 256
    assert 1920 * 1080 * 3 * 4 * FPS <= person.MAX_BYTES


def test_a_small_face_is_read_again_in_its_own_size(read) -> None:
    asked, side = read((3840, 2160), 0.1)
    assert [longest for longest, _ in asked] == [1920, None] and side > 256
    assert asked[1][1] == pytest.approx(person.MAX_BYTES / (3840 * 2160 * 3 * FPS))
    assert [longest for longest, _ in read((3840, 2160), 0.2, size="512")[0]] == [1920, None]


@pytest.mark.parametrize(
    "options", [{"frame": "full"}, {"size": "source"}, {"adapt": 4}, {"face": "100,100,900,900"}], ids=str
)
def test_frames_that_are_shown_trained_on_or_pointed_into_are_as_they_are(read, options) -> None:
    assert [longest for longest, _ in read((3840, 2160), 0.4, **options)[0]] == [None]


def test_hd_is_as_it_is(read) -> None:
    assert read((1920, 1080), 0.4)[0] == [(None, 4.0)]
