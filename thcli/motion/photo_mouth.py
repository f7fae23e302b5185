"""The mouth of a photo: where it is wide open or smiles broadly, speech moves it around a usual expression instead.

The expression that Ψ predicts is added to the reference expression, which of a clip is the median and so that of a
speaking face. A photo has one expression alone, and what is extreme in it would stay through the sentence: lips that
are far apart would never meet.
"""

from __future__ import annotations

import numpy as np

from thcli.face_model import LIP_GAP, MOUTH_CORNERS, FaceModel
from thcli.records import Float

PAIRS = (LIP_GAP, MOUTH_CORNERS)
"""Vertices whose distances are the mouth's opening and its width."""
USUAL = (0.07, 0.62)
"""Opening and width of a speaking mouth, canonical face units.

Of 255 clips, half have a smaller median opening, and all but 5 % a smaller median width: some of the smile stays.
"""
EXTREME = (0.127, 0.68)
"""Opening and width above which a photo's mouth is wide open or smiles broadly.

Of the clips, 5 % have a larger median opening, and none a larger median width.
"""
NAMES = ("is wide open", "smiles broadly")
"""What is said of a mouth beyond each of these."""
STEPS, RIDGE = 8, 1e-5
"""Steps of Newton's method; regularisation against changes that hardly move the mouth."""


def speaking_expression(mesh: Float, model: FaceModel) -> Float:
    """Return the expression [20] around which speech moves the face of a photo.

    It is the photo's own, but for a mouth beyond ``EXTREME``, which the least change of expression brings to ``USUAL``.

    mesh: [V, 3], unposed mesh, canonical face units
    """
    own = model.expression(mesh)
    beyond = _sizes(mesh) > EXTREME
    if not beyond.any():
        return own
    pairs, goal = np.array(PAIRS)[beyond], np.array(USUAL)[beyond]
    change = np.zeros_like(own)
    for _ in range(STEPS):
        moved = mesh + model.displacement(change)
        along = moved[pairs[:, 1]] - moved[pairs[:, 0]]
        sizes = np.linalg.norm(along, axis=1)
        moves = (model.basis[:, pairs[:, 1]] - model.basis[:, pairs[:, 0]]) * (along / sizes[:, None])
        slopes = moves.sum(axis=2).T
        change += slopes.T @ np.linalg.solve(slopes @ slopes.T + RIDGE * np.eye(len(goal)), goal - sizes)
    return (own + change).astype(np.float32)


def mouth_note(mesh: Float) -> str | None:
    """Return what the user is told of a photo whose mouth is beyond ``EXTREME``; None for any other.

    mesh: [V, 3], unposed mesh, canonical face units
    """
    said = [name for name, beyond in zip(NAMES, _sizes(mesh) > EXTREME, strict=True) if beyond]
    if not said:
        return None
    return f"the mouth {' and '.join(said)} in the photo, which is taken out for speech; a calm face looks better"


def _sizes(mesh: Float) -> Float:
    """Return the distances [2] of the ``PAIRS`` of a mesh [V, 3]."""
    upper, lower = np.array(PAIRS).T
    return np.asarray(np.linalg.norm(mesh[lower] - mesh[upper], axis=1), np.float32)
