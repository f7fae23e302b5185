"""Lips that meet: where Ψ hears p, b or m, as a regression alone closes them too rarely, and where they would cross."""

from __future__ import annotations

import numpy as np

from thcli.face_model import FaceModel
from thcli.motion.silence import lip_closing, lip_parting, moved_lip_gaps
from thcli.records import Float

UNSURE, SURE = 0.6, 0.9
"""Probabilities of closed lips from which they are drawn together, and from which they meet."""


def close_lips(expression: Float, closure: Float, neutral: Float, usual: Float, model: FaceModel) -> Float:
    """Move expressions [T, 20] to closed lips where these are probable; lips that are closed already stay as they are.

    closure: [T], probability that the lips are closed
    neutral: [V, 3], unposed mesh of the face at the expression ``usual`` [20]
    """
    weight = np.clip((closure - UNSURE) / (SURE - UNSURE), 0, 1).astype(np.float32)
    (frames,) = np.nonzero(weight)
    gaps = moved_lip_gaps(neutral, expression[frames] - usual, model)
    closed = expression.copy()
    closed[frames] += weight[frames, None] * lip_closing(gaps, model)
    return closed


def part_lips(expression: Float, neutral: Float, usual: Float, model: FaceModel) -> Float:
    """Change expressions [T, 20] whose lips cross, as lips cannot, to the nearest ones whose lips meet.

    neutral: [V, 3], unposed mesh of the face at the expression ``usual`` [20]
    """
    return expression + lip_parting(moved_lip_gaps(neutral, expression - usual, model), model)
