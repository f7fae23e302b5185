"""Assembly of a video's motion curves from head motion, expression and blinks of any sources.

Each part may be predicted from the audio, taken from a video's track or read from a file (Fig. 16). Here all parts get
the same length, the scales of ``--motion-scale`` and ``--expression-scale``, and a slow return to rest where a source
is too short.
"""

from __future__ import annotations

import numpy as np

from thcli.motion.blink import OPEN_RATE
from thcli.motion.curve_tools import extend_to_rest
from thcli.motion.head import Placements, motion_style
from thcli.records import Float, MotionCurves
from thcli.rotations import placement


def assemble(
    motion: Placements,
    expression: Float,
    blink: Float,
    *,
    past: Placements,
    rest: Float,
    frames: int,
    motion_scale: float = 1.0,
    expression_scale: float = 1.0,
) -> MotionCurves:
    """Assemble motion curves of exactly ``frames`` frames from parts of any length from 1.

    motion: [U, 6], placements of the head
    expression: [V, 20], expression coefficients
    blink: [W] in 0..1
    past: [τ, 6], placements of the reference; the head rests at their mean, around which its motion is scaled
    rest: [20], expression of the resting face, around which the expression is scaled and to which it returns
    """
    mean = motion_style(past).mean
    moved = extend_to_rest(motion, mean, frames)
    if motion_scale != 1:
        moved = mean + motion_scale * (moved - mean)
    fitted = fit_expression(expression, rest, frames)
    return MotionCurves(
        pose=placement(moved).astype(np.float32),
        expression=(rest + expression_scale * (fitted - rest)).astype(np.float32),
        blink=fit_blink(blink, frames),
    )


def fit_expression(expression: Float, rest: Float, frames: int) -> Float:
    """Cut coefficients [U, 20] to T frames, or extend them by a slow return to the resting face [20]."""
    return extend_to_rest(np.asarray(expression, np.float64), rest, frames).astype(np.float32)


def fit_blink(blink: Float, frames: int) -> Float:
    """Cut blinks [U] to T frames, or extend them with open eyes."""
    fitted = extend_to_rest(np.asarray(blink, np.float64)[:, None], np.zeros(1), frames, OPEN_RATE)[:, 0]
    return np.clip(fitted, 0.0, 1.0).astype(np.float32)
