"""The mouth of a person who is not heard to speak, as in a photo: speech moves it around that of a speaking face.

The expression that Ψ predicts is added to the usual one of a speaking face, which a clip of one has as its median. A
photo has one expression alone: lips that are far apart in it would never meet, and closed ones would hardly open.
"""

from __future__ import annotations

import numpy as np

from thcli.face_model import LIP_GAP, MOUTH_CORNERS, FaceModel
from thcli.records import Float

SIZES = ((LIP_GAP, 1), (MOUTH_CORNERS, 0))
"""Vertices and axis of the mouth's opening, downward, and of its width."""
USUAL = (0.066, 0.62)
"""Opening and width of a speaking mouth, canonical face units.

Of 331 clips, half have a smaller median opening, and all but 5 % a smaller median width: some of the smile stays.
"""
CLOSED = 0.041
"""Opening below which a mouth is not that of a speaking face; of the clips, a quarter have a smaller median opening."""
EXTREME = (0.12, 0.68)
"""Opening and width above which a photo's mouth is wide open or smiles broadly.

Of the clips, 5 % have a larger median opening, and none a larger median width.
"""
NAMES = ("is wide open", "smiles broadly")
"""What is said of a mouth beyond each of these."""
RIDGE = 1e-5
"""Regularisation against changes that hardly move the mouth."""


def speaking_expression(mesh: Float, own: Float, model: FaceModel) -> Float:
    """Return the expression [20] around which speech moves a face that is not heard to speak.

    It is the face's own where its mouth could be that of a speaking face. One that is closed, or beyond ``EXTREME``, is
    brought to ``USUAL`` by the least change of expression.

    mesh: [V, 3], unposed mesh, canonical face units
    own: [20], expression of the mesh
    """
    sizes = _sizes(mesh)
    other = (sizes > EXTREME) | (sizes < (CLOSED, 0))
    if not other.any():
        return own
    moves = [model.basis[:, pair[1], axis] - model.basis[:, pair[0], axis] for pair, axis in SIZES]
    slopes, missing = np.stack(moves)[other], (USUAL - sizes)[other]
    change = slopes.T @ np.linalg.solve(slopes @ slopes.T + RIDGE * np.eye(len(missing)), missing)
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
    """Return opening and width [2] of the mouth of an unposed mesh [V, 3]; lips that cross have an opening below 0."""
    return np.array([mesh[pair[1], axis] - mesh[pair[0], axis] for pair, axis in SIZES], np.float32)
