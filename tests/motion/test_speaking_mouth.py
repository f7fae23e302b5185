"""Mouths that are closed or extreme are brought to that of a speaking face; others stay as they are."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.face_model import LIP_GAP, MOUTH_CORNERS, FaceModel
from thcli.motion.speaking_mouth import CLOSED, EXTREME, USUAL, mouth_note, speaking_expression


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def size(mesh: np.ndarray, pair: tuple[int, int]) -> float:
    """Return the opening or the width of a mouth."""
    return float((mesh[pair[1]] - mesh[pair[0]])[1 if pair == LIP_GAP else 0])


def speaking(mesh: np.ndarray, model: FaceModel) -> np.ndarray:
    """Return the mesh at its speaking expression."""
    own = model.expression(mesh)
    return mesh + model.displacement(speaking_expression(mesh, own, model) - own)


def opened(model: FaceModel, amount: float) -> np.ndarray:
    """Return the canonical face with its lips moved apart along the model's own opening of the mouth."""
    gap = model.lip_gap
    return model.canonical + model.displacement((amount * gap / (gap @ gap)).astype(np.float32))


def widened(model: FaceModel, factor: float) -> np.ndarray:
    mesh = model.canonical.copy()
    for vertex in MOUTH_CORNERS:
        mesh[vertex, 0] *= factor
    return mesh


def test_speaking_expression_of_a_calm_face_is_its_own(model):
    own = model.expression(model.canonical)
    np.testing.assert_array_equal(speaking_expression(model.canonical, own, model), own)
    assert mouth_note(model.canonical) is None


@pytest.mark.parametrize("amount", [0.2, 0.35])
def test_speaking_expression_closes_a_wide_open_mouth_to_a_usual_opening(model, amount):
    mesh = opened(model, amount)
    assert size(mesh, LIP_GAP) > EXTREME[0]
    assert size(speaking(mesh, model), LIP_GAP) == pytest.approx(USUAL[0], abs=0.005)
    said = mouth_note(mesh)
    assert said is not None and said.startswith("the mouth is wide open in the photo")


def test_speaking_expression_narrows_a_broad_smile(model):
    mesh = widened(model, 0.68 / size(model.canonical, MOUTH_CORNERS))
    assert size(speaking(mesh, model), MOUTH_CORNERS) == pytest.approx(USUAL[1], abs=0.005)
    said = mouth_note(mesh)
    assert said is not None and said.startswith("the mouth smiles broadly in the photo")


@pytest.mark.parametrize("opening", [-0.02, 0.0, 0.03])
def test_speaking_expression_opens_a_closed_mouth_without_a_word(model, opening):
    mesh = opened(model, opening - size(model.canonical, LIP_GAP))
    assert size(mesh, LIP_GAP) == pytest.approx(opening, abs=0.002) and opening < CLOSED
    made = speaking(mesh, model)
    assert size(made, LIP_GAP) == pytest.approx(USUAL[0], abs=0.005)
    assert size(made, MOUTH_CORNERS) == pytest.approx(size(mesh, MOUTH_CORNERS), abs=0.05)
    assert mouth_note(mesh) is None
