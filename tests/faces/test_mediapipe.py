"""The MediaPipe backend: skipped where the package is not installed."""

import sys
from pathlib import Path

import numpy as np
import pytest

from thcli.errors import UsageError
from thcli.face_model import LIP_GAP
from thcli.faces.mediapipe import MediaPipeTracker
from thcli.faces.track import face_boxes, track_clip
from thcli.records import Clip


@pytest.fixture(scope="module")
def portrait():
    data = pytest.importorskip("skimage.data")
    return np.ascontiguousarray(data.astronaut()[:300, 80:380])


@pytest.fixture
def tracker():
    pytest.importorskip("mediapipe")
    return MediaPipeTracker()


def test_mediapipe_tracker_says_what_to_install_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(UsageError, match=r"mediapipe.*pip install.*--tracker builtin"):
        MediaPipeTracker()


def test_mediapipe_tracker_finds_the_face_of_a_photo(tracker, portrait):
    (found,) = tracker.detect(portrait)
    mesh, confidence = tracker.mesh(portrait, found.box)
    assert confidence == 1
    assert mesh.shape == (478, 3)
    np.testing.assert_allclose(face_boxes(mesh), found.box, atol=8)
    assert mesh[1, 2] > mesh[[234, 454], 2].max()  # the nose is nearer than the ears
    assert mesh[10, 1] < mesh[LIP_GAP[0], 1] < mesh[152, 1]


def test_mediapipe_tracker_finds_nothing_in_an_empty_image(tracker):
    blank = np.full((200, 200, 3), 128, np.uint8)
    assert tracker.detect(blank) == []
    assert tracker.mesh(blank, np.array([50, 50, 150, 150], np.float32))[1] == 0


def test_mediapipe_tracker_follows_a_moving_face(tracker, portrait, face_model):
    frames = np.stack([np.roll(portrait, 2 * t, axis=1) for t in range(12)])
    track = track_clip(Clip(frames, Path("clip.mp4")), tracker, face_model)
    shift = np.diff(track.box[:, 0])
    assert (track.confidence == 1).all()
    np.testing.assert_allclose(shift[2:-2].mean(), 2, atol=0.4)
