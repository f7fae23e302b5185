"""Closing of the lips where they are heard to meet."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.face_model import FaceModel, mouth_opening
from thcli.motion.closure import SURE, UNSURE, close_lips, part_lips
from thcli.motion.silence import TOUCHING, lip_gaps, moved_lip_gaps


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


@pytest.fixture(scope="module")
def spoken(model: FaceModel) -> np.ndarray:
    """Expressions of a mouth that is open by 0.1 to 0.2 of the distance of the outer eye corners."""
    gap = model.lip_gap
    wanted = np.linspace(0.1, 0.2, 9) - float(mouth_opening(model.canonical))
    return (wanted[:, None] * gap / (gap @ gap)).astype(np.float32)


def openings(expression: np.ndarray, model: FaceModel) -> np.ndarray:
    return mouth_opening(model.canonical + model.displacement(expression))


def closed(expression: np.ndarray, closure: np.ndarray, model: FaceModel) -> np.ndarray:
    return close_lips(expression, closure, model.canonical, np.zeros(20, np.float32), model)


def test_close_lips_brings_lips_together_where_that_is_probable(model, spoken):
    closure = np.array([0, 0, UNSURE, (UNSURE + SURE) / 2, SURE, 1, 1, 0, 0], np.float32)
    before, after = openings(spoken, model), openings(closed(spoken, closure, model), model)
    np.testing.assert_array_equal(after[closure <= UNSURE], before[closure <= UNSURE])
    assert (after[closure >= SURE] < 0.01).all()
    assert 0.4 * before[3] < after[3] < 0.6 * before[3]


def test_close_lips_leaves_closed_lips_as_they_are(model, spoken):
    closure = np.ones(len(spoken), np.float32)
    once = closed(spoken, closure, model)
    assert openings(once, model).max() < 2 * TOUCHING + 0.005
    np.testing.assert_allclose(openings(closed(once, closure, model), model), openings(once, model), atol=0.004)


def test_close_lips_of_no_frames_gives_none(model):
    none = np.zeros((0, 20), np.float32)
    assert closed(none, np.zeros(0, np.float32), model).shape == (0, 20)


def test_part_lips_lets_lips_that_cross_meet_and_leaves_others_as_they_are(model):
    gap = model.lip_gap
    heights = np.array([-0.08, -0.03, 0.0, 0.05, 0.2]) - float(lip_gaps(model.canonical[None])[0, 1, 0])
    expression = (heights[:, None] * gap / (gap @ gap)).astype(np.float32)
    usual = np.zeros(20, np.float32)
    parted = part_lips(expression, model.canonical, usual, model)
    made = lip_gaps(model.canonical + model.displacement(parted))[..., 0]
    assert made.min() > -0.015
    np.testing.assert_array_equal(parted[2:], expression[2:])
    assert np.abs(parted[:2] - expression[:2]).max() > 0


def test_moved_lip_gaps_are_those_of_the_moved_meshes(model):
    changes = np.random.default_rng(0).normal(size=(7, 20)).astype(np.float32)
    expected = lip_gaps(model.canonical + model.displacement(changes))
    np.testing.assert_allclose(moved_lip_gaps(model.canonical, changes, model), expected, atol=1e-6)
