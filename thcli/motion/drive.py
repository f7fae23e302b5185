"""The drive of a video from its parts: pure functions over curves, which need not come from the same source.

Head motion, expression and blinks may each be predicted from the audio, taken from a video's track or read from a
file (Fig. 16); here they get the same length, the scales of ``--motion-scale`` and ``--expression-scale`` and a slow
return to rest where a source is too short.
"""

from __future__ import annotations

import numpy as np

from thcli.errors import UsageError
from thcli.motion.blink import OPEN_RATE
from thcli.motion.head import extend_to_rest, resting_pose, scale_head_motion
from thcli.records import Drive, Float
from thcli.rotations import placement

LARGEST_SCALE = 3.0
"""Beyond it neither motion nor expression is anything that references could show."""


def fit_pose(past_pose: Float, pose: Float, frames: int) -> Float:
    """Poses [U, 6] for T frames: cut, or followed by a slow return to the mean pose of ``past_pose`` [τ, 6]."""
    if len(pose) >= frames:
        return pose[:frames]
    placed = placement(np.asarray(pose, np.float64))
    rest = placement(resting_pose(past_pose))
    return np.concatenate([pose, placement(extend_to_rest(placed, rest, frames)[len(pose) :])]).astype(np.float32)


def fit_expression(expression: Float, rest: Float, frames: int) -> Float:
    """Coefficients [U, 20] for T frames: cut, or followed by a slow return to the resting face [20]."""
    return extend_to_rest(np.asarray(expression, np.float64), rest, frames).astype(np.float32)


def fit_blink(blink: Float, frames: int) -> Float:
    """Blinks [U] for T frames: cut, or followed by open eyes."""
    fitted = extend_to_rest(np.asarray(blink, np.float64)[:, None], np.zeros(1), frames, OPEN_RATE)[:, 0]
    return np.clip(fitted, 0.0, 1.0).astype(np.float32)


def scale_expression(expression: Float, rest: Float, scale: float) -> Float:
    """Coefficients [T, 20] whose distance from the resting face [20] is ``scale`` times as large."""
    return (rest + scale * (expression - rest)).astype(np.float32)


def assemble(
    pose: Float,
    expression: Float,
    blink: Float,
    *,
    past_pose: Float,
    rest: Float,
    frames: int,
    motion_scale: float = 1.0,
    expression_scale: float = 1.0,
) -> Drive:
    """A drive of exactly ``frames`` frames.

    pose [U, 6], expression [V, 20], blink [W]: the parts, each of any length from 1
    past_pose: [τ, 6], the reference's poses, for the pose to rest in and to scale about
    rest: [20], the resting face: what the expression returns to and is scaled about

    Raises ``UsageError`` for scales below 0 or above ``LARGEST_SCALE``.
    """
    for option, scale in (("--motion-scale", motion_scale), ("--expression-scale", expression_scale)):
        if not 0 <= scale <= LARGEST_SCALE:
            raise UsageError(f"{option} {scale:g}: expected 0 (none) to {LARGEST_SCALE:g}; 1 is as the source has it")
    fitted = fit_pose(past_pose, pose, frames)
    return Drive(
        pose=fitted if motion_scale == 1 else scale_head_motion(past_pose, fitted, motion_scale),
        expression=scale_expression(fit_expression(expression, rest, frames), rest, expression_scale),
        blink=fit_blink(blink, frames),
    )
