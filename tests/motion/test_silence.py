"""The mouth in silence: it comes to rest with closed lips, and is free again before speech."""

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.face_model import FaceModel, mouth_opening
from thcli.motion.silence import HOLD, LEAD, RAMP, close_in_silence, freedom, rest_expression


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def speech(length: int, *parts: tuple[int, int]) -> np.ndarray:
    activity = np.zeros(length, np.float32)
    for first, last in parts:
        activity[first:last] = 1
    return activity


def test_freedom_is_1_in_speech_and_0_far_from_it() -> None:
    part = freedom(speech(100, (40, 60)))
    assert np.all(part[40:60] == 1)
    assert np.all(part[: 40 - LEAD - RAMP] == 0) and np.all(part[60 + HOLD + RAMP :] == 0)


def test_freedom_changes_gradually() -> None:
    assert np.abs(np.diff(freedom(speech(100, (40, 60))))).max() < 0.3


def test_freedom_lasts_through_short_gaps_between_words() -> None:
    assert freedom(speech(60, (0, 30), (36, 60))).min() > 0.99


@pytest.mark.parametrize("length", [0, 1, 3])
def test_freedom_of_a_short_recording_of_speech_is_1(length: int) -> None:
    assert freedom(np.ones(length, np.float32)).tolist() == [1.0] * length


def test_close_in_silence_leads_to_rest_and_leaves_speech_alone() -> None:
    random = np.random.default_rng(0)
    expression, rest = random.normal(size=(80, 20)).astype(np.float32), random.normal(size=20).astype(np.float32)
    closed = close_in_silence(expression, speech(80, (0, 30)), rest)
    np.testing.assert_allclose(closed[:30], expression[:30], atol=1e-6)
    np.testing.assert_allclose(closed[-20:], np.tile(rest, (20, 1)), atol=1e-6)


def test_rest_expression_closes_the_mouth_and_moves_little_else(model: FaceModel) -> None:
    photo = model.canonical + model.displacement(np.eye(20, dtype=np.float32)[0] * 1.5)
    before = model.expression(photo)
    rest = rest_expression(photo[None], model)
    closed = photo + model.displacement(rest - before)
    assert mouth_opening(photo) > 0.1
    assert mouth_opening(closed) < 0.02
    brows = [70, 63, 105, 336, 296, 334]
    assert np.abs(closed - photo)[brows].max() < 0.05


def test_rest_expression_is_taken_from_the_quiet_frames(model: FaceModel) -> None:
    amounts = np.array([2.0] * 8 + [-1.0] * 2, np.float32)
    meshes = model.canonical + model.displacement(amounts[:, None] * np.eye(20, dtype=np.float32)[0])
    rest = rest_expression(meshes, model)
    assert mouth_opening(model.canonical + model.displacement(rest)) < 0.02
    assert rest[0] < 0
