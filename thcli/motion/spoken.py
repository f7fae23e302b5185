"""Expressions of a person who says what Ψ hears, as that person articulates (§3.2)."""

from __future__ import annotations

from thcli.face_model import FaceModel
from thcli.motion.articulation import Articulation
from thcli.motion.closure import close_lips
from thcli.motion.speaking_mouth import speaking_expression
from thcli.records import Float


def spoken_expression(
    moved: Float, closure: Float, own: Articulation | None, neutral: Float, usual: Float, model: FaceModel
) -> Float:
    """Return the expressions [T, 20] of a person who says what Ψ hears.

    moved: [T, 20], how it moves a face from its usual expression
    closure: [T], probability that the lips are closed
    own: the person's articulation; None where they are not heard to speak, and their mouth may not be that of a speaker
    neutral: [V, 3], the person's unposed mesh at the expression ``usual`` [20]
    """
    spoken = speaking_expression(neutral, usual, model) + moved if own is None else usual + own.apply(moved)
    return close_lips(spoken, closure, neutral, usual, model)
