"""The built-in tracker on photographs: which faces it finds, and where their meshes lie."""

from pathlib import Path

import numpy as np
import pytest
import skimage.data

from thcli.checkpoints import DETECTION, UNPROJECTION, shipped_weights
from thcli.errors import NoFaceError, WeightsError
from thcli.face_model import OUTER_EYE_CORNERS, FaceModel
from thcli.faces.builtin import BuiltinTracker
from thcli.faces.track import face_boxes, track_clip
from thcli.records import Clip, Float, Image

FACE = np.array([178, 67, 272, 174], np.float32)
"""Box of the astronaut's face, px of the photo of 512 x 512."""


@pytest.fixture(scope="module")
def tracker() -> BuiltinTracker:
    return BuiltinTracker(shipped_weights() / DETECTION, shipped_weights() / UNPROJECTION, threads=1)


@pytest.fixture(scope="module")
def astronaut() -> Image:
    return skimage.data.astronaut()


@pytest.fixture(scope="module")
def mesh(tracker: BuiltinTracker, astronaut: Image) -> Float:
    found, _ = tracker.mesh(astronaut, FACE)
    return tracker.mesh(astronaut, found)[0]


def off(mesh: Float, truth: Float) -> float:
    """Mean distance over that of the outer eye corners."""
    apart = np.linalg.norm(truth[OUTER_EYE_CORNERS[1], :2] - truth[OUTER_EYE_CORNERS[0], :2])
    return float(np.linalg.norm((mesh - truth)[:, :2], axis=-1).mean() / apart)


def test_detect_finds_the_only_face_and_nothing_else(tracker: BuiltinTracker, astronaut: Image) -> None:
    (face,) = tracker.detect(astronaut)
    np.testing.assert_allclose((face.box[:2] + face.box[2:]) / 2, [225, 120], atol=12)
    np.testing.assert_allclose(face.box, FACE, atol=12)
    assert 0.3 < face.score <= 1


@pytest.mark.parametrize("size", [(160, 160), (720, 1280), (1280, 720), (1500, 1500)])
def test_detect_finds_a_face_in_frames_of_any_size(
    tracker: BuiltinTracker, astronaut: Image, size: tuple[int, int]
) -> None:
    frame = np.full((*size, 3), 128, np.uint8)
    part = astronaut[:160, 140:300]
    y, x = (size[0] - 160) // 3, (size[1] - 160) // 2
    frame[y : y + 160, x : x + 160] = part
    (face,) = tracker.detect(frame)
    np.testing.assert_allclose(face.box, FACE + [x - 140, y, x - 140, y], atol=14)


def test_detect_finds_two_faces(tracker: BuiltinTracker, astronaut: Image) -> None:
    pair = np.concatenate([astronaut[:256, 96:352], astronaut[:256, 96:352][:, ::-1]], axis=1)
    left, right = sorted(tracker.detect(pair), key=lambda d: d.box[0])
    assert left.box[2] < 256 < right.box[0]
    np.testing.assert_allclose(left.box[[0, 2]] + right.box[[2, 0]], 512, atol=16)


@pytest.mark.parametrize("name", ["brick", "coffee", "rocket", "grass"])
def test_detect_finds_no_faces_in_other_things(tracker: BuiltinTracker, name: str) -> None:
    image = getattr(skimage.data, name)()
    assert tracker.detect(image if image.ndim == 3 else np.repeat(image[..., None], 3, -1)) == []


@pytest.mark.parametrize("value", [0, 127, 255])
def test_detect_finds_no_faces_in_an_even_colour(tracker: BuiltinTracker, value: int) -> None:
    assert tracker.detect(np.full((240, 320, 3), value, np.uint8)) == []


def test_mesh_is_confident_and_lies_on_the_face(tracker: BuiltinTracker, astronaut: Image, mesh: Float) -> None:
    found, confidence = tracker.mesh(astronaut, mesh)
    assert found.shape == (478, 3) and found.dtype == np.float32 and confidence > 0.9
    np.testing.assert_allclose(face_boxes(found), FACE, atol=6)
    # Her mouth is open in a smile: between the lips it is bright, and the lips themselves are red.
    x, y = found[[13, 14], :2].mean(0).round().astype(int)
    assert astronaut[y, x].min() > 150
    # The irises are darker than the whites beside them.
    for iris, inner, outer in ((468, 133, 33), (473, 362, 263)):
        row = astronaut.mean(-1)[found[iris, 1].round().astype(int)]
        left, right = sorted(found[[inner, outer], 0].round().astype(int))
        assert row[found[iris, 0].round().astype(int)] < row[left:right].mean()


@pytest.mark.parametrize(("shift", "zoom"), [((9, 0), 1.0), ((-9, 9), 1.0), ((0, 0), 0.85), ((0, 0), 1.2)])
def test_mesh_is_the_same_from_a_prior_that_is_off(
    tracker: BuiltinTracker, astronaut: Image, mesh: Float, shift: tuple[int, int], zoom: float
) -> None:
    prior = mesh.copy()
    prior[:, :2] = (prior[:, :2] - prior[:, :2].mean(0)) * zoom + prior[:, :2].mean(0) + shift
    for _ in range(3):
        prior, _ = tracker.mesh(astronaut, prior)
    assert off(prior, mesh) < 0.02


def test_track_clip_follows_a_face_that_moves(tracker: BuiltinTracker, astronaut: Image) -> None:
    frames = np.stack([np.roll(astronaut, 2 * t, axis=1)[:256, 96:400] for t in range(12)])
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    track = track_clip(Clip(frames, Path("clip.mp4"), 0.0), tracker, model)
    steps = np.diff(track.mesh[..., :2].mean(1), axis=0)
    np.testing.assert_allclose(steps.mean(0), [2, 0], atol=0.15)
    assert (track.confidence > 0.5).all()


def test_track_clip_notices_another_scene(tracker: BuiltinTracker, astronaut: Image) -> None:
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    other = skimage.data.coffee()[:256, 100:356]
    frames = np.stack([astronaut[:256, 96:352]] * 4 + [other] * 16)
    with pytest.raises(NoFaceError, match="no face from frame 4"):
        track_clip(Clip(frames, Path("clip.mp4"), 0.0), tracker, model)


def test_builtin_tracker_names_a_file_that_is_no_network(tmp_path: Path) -> None:
    (tmp_path / DETECTION).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"detection\.onnx: not a network of this tracker"):
        BuiltinTracker(tmp_path / DETECTION, shipped_weights() / UNPROJECTION)
