"""Following a face, with a tracker that knows where the faces are."""

from pathlib import Path

import numpy as np
import pytest

from thcli.errors import NoFaceError
from thcli.face_model import eye_opening, mouth_opening
from thcli.faces.protocol import Detection
from thcli.faces.track import MAX_GAP, MAX_SEARCH, face_boxes, smooth_meshes, track_clip, track_frames
from thcli.faces.upright import TURNS
from thcli.records import Clip

UNIT = 40


class KnownTracker:
    """Finds face f of frame t at ``meshes[f, t]`` unless it is hidden there; frames hold their number."""

    name = "known 1"

    def __init__(self, meshes, hidden=()):
        self.meshes = meshes
        self.hidden = set(hidden)
        self.detections = 0

    def visible(self, frame):
        t = int(frame[0, 0, 0]) * 256 + int(frame[0, 0, 1])
        return [] if t in self.hidden else list(self.meshes[:, t])

    def detect(self, frame):
        self.detections += 1
        return [Detection(face_boxes(mesh), 0.9) for mesh in self.visible(frame)]

    def mesh(self, frame, prior):
        box = face_boxes(prior) if prior.ndim == 2 else prior
        near = sorted(self.visible(frame), key=lambda mesh: np.abs(face_boxes(mesh) - box).sum())
        return (near[0], 0.9) if near else (np.zeros((478, 3), np.float32), 0.1)


def clip_of(frames):
    images = np.zeros((frames, 240, 320, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(np.arange(frames), 256)
    return Clip(images, Path("clip.mp4"), start=2.0)


def moving(face_model, frames, x, speed=0.5, unit=UNIT):
    meshes = np.tile(face_model.canonical * np.float32(unit), (frames, 1, 1))
    meshes[:, :, 0] += x + speed * np.arange(frames, dtype=np.float32)[:, None]
    meshes[:, :, 1] += 120
    return meshes


def test_track_clip_returns_what_its_record_promises(face_model):
    truth = moving(face_model, 60, 100)
    tracker = KnownTracker(truth[None])
    track = track_clip(clip_of(60), tracker, face_model)
    assert (len(track), track.size, track.tracker) == (60, (320, 240), "known 1")
    assert (track.mesh.dtype, track.pose.dtype, track.confidence.dtype) == (np.float32,) * 3
    np.testing.assert_allclose(track.mesh, truth, atol=0.01)
    np.testing.assert_allclose(track.box, face_boxes(truth), atol=0.01)
    assert track.scale == pytest.approx(1 / UNIT, rel=1e-3)
    assert (track.confidence > 0.5).all()
    assert tracker.detections == 1


def test_track_clip_tracks_a_photo(face_model):
    assert len(track_clip(clip_of(1), KnownTracker(moving(face_model, 1, 100)[None]), face_model)) == 1


def test_track_clip_interpolates_a_short_gap_with_confidence_0(face_model):
    truth = moving(face_model, 60, 100)
    track = track_clip(clip_of(60), KnownTracker(truth[None], range(20, 20 + MAX_GAP)), face_model)
    np.testing.assert_array_equal(np.flatnonzero(track.confidence == 0), np.arange(20, 20 + MAX_GAP))
    np.testing.assert_allclose(track.mesh, truth, atol=0.05)


def test_track_clip_holds_the_face_in_gaps_at_either_end(face_model):
    truth = moving(face_model, 40, 100)
    track = track_clip(clip_of(40), KnownTracker(truth[None], [0, 1, 38, 39]), face_model)
    assert np.isfinite(track.mesh).all()
    np.testing.assert_allclose(track.mesh[0], truth[2], atol=1)
    np.testing.assert_allclose(track.mesh[-1], truth[37], atol=1)


def test_track_clip_refuses_a_long_gap_with_frames_seconds_and_remedy(face_model):
    tracker = KnownTracker(moving(face_model, 60, 100)[None], range(20, 40))
    with pytest.raises(NoFaceError, match=r"clip\.mp4: no face in frames 20–39 \(2\.8–3\.6 s\).*--start.*--face"):
        track_clip(clip_of(60), tracker, face_model)


def test_track_frames_ends_where_the_face_is_lost_if_it_is_asked_to(face_model):
    truth, frames, path = moving(face_model, 60, 100), clip_of(60).frames, Path("clip.mp4")
    for hidden, seen in ((range(20, 60), 20), (range(57, 60), 57)):
        track = track_frames(frames, KnownTracker(truth[None], hidden), face_model, path, until_lost=True)
        assert len(track) == seen and (track.confidence > 0).all()
    with pytest.raises(NoFaceError):
        track_frames(frames, KnownTracker(truth[None], range(60)), face_model, path, until_lost=True)


@pytest.mark.parametrize("frames", [1, 8, 30, MAX_SEARCH + 50])
def test_track_clip_gives_up_the_search_for_a_face_that_is_not_there(face_model, frames):
    tracker = KnownTracker(moving(face_model, frames, 100)[None], range(frames))
    with pytest.raises(NoFaceError, match=r"clip\.mp4: no face"):
        track_clip(clip_of(frames), tracker, face_model)
    assert tracker.detections <= MAX_SEARCH + 1 + len(TURNS)  # the first frame is also searched for a turned face


@pytest.fixture
def two_faces(face_model):
    """A small face on the left, a larger one on the right."""
    return np.stack([moving(face_model, 60, 60, unit=30), moving(face_model, 60, 240, speed=-0.5)])


@pytest.mark.parametrize(
    ("face", "expected"),
    [("largest", 1), (0, 0), (1, 1), ((40.0, 90.0, 40.0, 60.0), 0), ((220.0, 80.0, 60.0, 80.0), 1)],
)
def test_track_clip_follows_the_chosen_face(face_model, two_faces, face, expected):
    track = track_clip(clip_of(60), KnownTracker(two_faces), face_model, face)
    np.testing.assert_allclose(track.mesh, two_faces[expected], atol=0.05)


def test_track_clip_refuses_the_index_of_a_face_that_is_not_there(face_model, two_faces):
    with pytest.raises(NoFaceError, match=r"2 faces in view.*no face 2; choose --face 0 to 1"):
        track_clip(clip_of(60), KnownTracker(two_faces), face_model, 2)


def test_track_clip_follows_the_same_face_after_a_gap(face_model, two_faces):
    track = track_clip(clip_of(60), KnownTracker(two_faces, range(20, 25)), face_model, 0)
    np.testing.assert_allclose(track.mesh, two_faces[0], atol=0.05)


def test_track_clip_does_not_take_another_face_for_a_lost_one(face_model, two_faces):
    gone = two_faces.copy()
    gone[0, 20:] = gone[1, 20:]
    with pytest.raises(NoFaceError, match="from frame 20"):
        track_clip(clip_of(60), KnownTracker(gone), face_model, 0)


def shaken(mesh, pixels):
    return mesh + np.random.default_rng(0).normal(0, pixels, mesh.shape).astype(np.float32)


def test_smooth_meshes_calms_a_still_head(face_model):
    still = moving(face_model, 100, 100, speed=0, unit=75)
    smooth = smooth_meshes(shaken(still, 0.25), np.ones(100, np.float32))
    jitter = [np.abs(np.diff(mesh, 2, axis=0))[..., :2].mean() for mesh in (shaken(still, 0.25), smooth)]
    assert jitter[1] < 0.5 * jitter[0]


def test_smooth_meshes_keeps_blinks_lips_and_steady_movement(face_model):
    blink, mouth = np.zeros(60, np.float32), np.zeros((60, 20), np.float32)
    blink[20:25] = [0.5, 1, 1, 0.6, 0.2]
    mouth[:, 0] = 1.5 * np.sin(np.arange(60) * 2 * np.pi * 4 / 25)
    meshes = (face_model.canonical + face_model.displacement(mouth, blink)) * np.float32(75)
    meshes[..., 0] += np.arange(60, dtype=np.float32)[:, None]
    smooth = smooth_meshes(meshes, np.ones(60, np.float32))
    assert eye_opening(smooth).min() < eye_opening(meshes).min() + 0.02
    assert mouth_opening(smooth).std() > 0.95 * mouth_opening(meshes).std()
    assert np.abs(smooth - meshes)[:, 4].max() < 0.05
