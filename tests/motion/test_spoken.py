"""What Ψ hears becomes expressions of a person: around a speaker's mouth, with lips that meet where they should."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.face_model import LIP_GAP, FaceModel
from thcli.motion.articulation import Articulation
from thcli.motion.speaking_mouth import USUAL
from thcli.motion.spoken import spoken_expression

OPEN = np.zeros(3, np.float32)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def closed_face(model: FaceModel) -> np.ndarray:
    """The canonical face with lips that touch."""
    gap = model.lip_gap
    apart = model.canonical[LIP_GAP[1], 1] - model.canonical[LIP_GAP[0], 1]
    return model.canonical + model.displacement((-apart * gap / (gap @ gap)).astype(np.float32))


def gaps(spoken: np.ndarray, neutral: np.ndarray, usual: np.ndarray, model: FaceModel) -> np.ndarray:
    mesh = neutral + model.displacement(spoken - usual)
    return mesh[:, LIP_GAP[1], 1] - mesh[:, LIP_GAP[0], 1]


def test_a_face_that_is_not_heard_to_speak_speaks_around_the_usual_opening(model):
    neutral = closed_face(model)
    usual = model.expression(neutral)
    spoken = spoken_expression(np.zeros((3, 20), np.float32), OPEN, None, neutral, usual, model)
    assert gaps(spoken, neutral, usual, model) == pytest.approx(USUAL[0], abs=0.01)


def test_a_person_s_articulation_moves_their_own_usual_face(model):
    usual = np.full(20, 0.3, np.float32)
    levels = np.linspace(-1, 1, 9, dtype=np.float32)
    twice = Articulation(2 * np.eye(20, dtype=np.float32), model.lip_gap, levels, levels, trust=1.0)
    moved = np.random.default_rng(0).normal(0, 0.05, (3, 20)).astype(np.float32)
    spoken = spoken_expression(moved, OPEN, twice, model.canonical, usual, model)
    np.testing.assert_allclose(spoken, usual + twice.apply(moved), atol=1e-6)


def test_lips_meet_where_a_closure_is_heard(model):
    usual, closure = np.zeros(20, np.float32), np.array([0, 1, 0], np.float32)
    spoken = spoken_expression(np.zeros((3, 20), np.float32), closure, None, model.canonical, usual, model)
    apart, met, _ = gaps(spoken, model.canonical, usual, model)
    assert abs(met) < 0.01 < apart
