"""One person is followed through cuts, among others, and while they are out of view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.errors import NoFaceError
from thcli.face_model import FaceModel
from thcli.faces.follow import Follower
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.yuv import YuvColours, YuvFrame

MODEL = FaceModel.load(shipped_weights() / "face_model.safetensors")
SIZE = (320, 240)
LIGHT, DARK = (200, 150), (120, 90)
"""Luma and chroma of two people."""


class Patches:
    """Takes for a face whatever is brighter than the background: a rectangle of the face's proportions."""

    name = "patches 1"

    def detect(self, frame: np.ndarray) -> list[Detection]:
        columns = (frame[..., 1] > 60).any(axis=0)
        edges = np.flatnonzero(np.diff(np.concatenate([[0], columns.astype(int), [0]])))
        boxes = []
        for left, right in zip(edges[::2], edges[1::2], strict=True):
            rows = np.flatnonzero((frame[:, left:right, 1] > 60).any(axis=1))
            boxes.append(Detection(np.array([left, rows[0], right, rows[-1] + 1], np.float32), 0.9))
        return boxes

    def mesh(self, frame: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
        wanted = prior if prior.ndim == 1 else face_boxes(prior)
        found = self.detect(frame)
        if not found:
            return MODEL.canonical.copy(), 0.0
        box = min(found, key=lambda d: abs(float(d.box[0] + d.box[2] - wanted[0] - wanted[2]))).box
        low, high = MODEL.canonical[:, :2].min(axis=0), MODEL.canonical[:, :2].max(axis=0)
        mesh = MODEL.canonical.copy()
        mesh[:, :2] = box[:2] + (mesh[:, :2] - low) / (high - low) * (box[2:] - box[:2])
        mesh[:, 2] *= (box[3] - box[1]) / (high - low)[1]
        return mesh, 0.9


def frame(*people: tuple[int, tuple[int, int]]) -> YuvFrame:
    """Return a frame with people at some columns."""
    data = np.full(SIZE[0] * SIZE[1] * 3 // 2, 128, np.uint8)
    one = YuvFrame(data, SIZE, YuvColours())
    one.y[:] = 30
    for left, (luma, chroma) in people:
        one.y[80:180, left : left + 80] = luma
        one.v[40:90, left // 2 : left // 2 + 40] = chroma
    return one


def follower(face: str | int = "largest") -> Follower:
    return Follower(Patches(), MODEL, Path("video.mp4"), face)


def left_of(sight) -> float:
    return float(face_boxes(sight.mesh)[0])


def test_a_face_is_followed_from_frame_to_frame():
    one = follower()
    lefts = [left_of(one.next(frame((60 + 4 * t, LIGHT)), t == 0)) for t in range(5)]
    assert np.allclose(lefts, 60 + 4 * np.arange(5), atol=1)


def test_the_person_is_found_again_after_a_cut_and_the_other_left_alone():
    one = follower(0)
    assert left_of(one.next(frame((40, LIGHT), (200, DARK)), True)) == pytest.approx(40, abs=1)
    assert left_of(one.next(frame((20, DARK), (180, LIGHT)), True)) == pytest.approx(180, abs=1)
    assert one.next(frame((150, DARK)), True) is None
    assert left_of(one.next(frame((150, LIGHT)), True)) == pytest.approx(150, abs=1)


def test_another_person_at_the_same_place_after_a_cut_is_left_alone():
    one = follower(0)
    one.next(frame((60, LIGHT), (200, DARK)), True)
    assert [one.next(frame((60, DARK)), t == 0) for t in range(14)] == [None] * 14


def test_frames_without_the_person_are_none_and_they_come_back():
    one = follower()
    one.next(frame((60, LIGHT)), True)
    assert one.next(frame(), True) is None
    assert [one.next(frame(), False) for _ in range(8)] == [None] * 8
    later = [one.next(frame((140, LIGHT)), False) for _ in range(8)]
    assert any(sight is not None for sight in later)


def test_an_index_that_is_not_there_is_refused():
    with pytest.raises(
        NoFaceError, match=r"video\.mp4: 1 face in view, counted from left to right from 0, and no face"
    ):
        follower(2).next(frame((60, LIGHT)), True)


def test_a_sight_tells_the_colours_of_the_face():
    sight = follower().next(frame((60, LIGHT)), True)
    assert sight.confidence == pytest.approx(0.9) and len(np.unique(sight.colours, axis=0)) <= 3
