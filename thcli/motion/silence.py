"""Closing of the mouth in silence: the expression moves to a resting face with closed lips, and back before speech."""

from __future__ import annotations

import numpy as np

from thcli.face_model import FaceModel, mouth_opening
from thcli.records import Float

LIP_PAIRS = ((82, 87), (13, 14), (312, 317))
"""Upper and lower vertex of the inner lips, to the right of the middle, in the middle and to the left of it."""
TOUCHING = 0.003
"""Gap between closed lips in tracks, canonical face units."""
QUIET_PART = 0.2
"""Share of the reference's frames, those with the least open mouth, that give the resting face."""
STIFFNESS = 3e-5
"""Regularisation against closing by coefficients that hardly move the lips; gaps are about 0.01 to 0.1."""
LEAD, HOLD = 7, 12
"""Frames before and after speech in which the mouth is free, so pauses of up to 0.76 s keep the lips open.

In short pauses people do not close the lips but prepare the next word, which Ψ has learned. On the clips of split
``val``, closing the lips in pauses from 0.28 s on lowered the correlation of the mouth's opening from 0.66 to 0.59.
"""
RAMP = 7
"""Frames of the ramp between the free and the closed mouth."""


def rest_expression(meshes: Float, model: FaceModel, reference: Float | None = None) -> Float:
    """Return the expression [20] of a person's resting face, with closed lips.

    It is the mean of the frames whose mouth is least open, closed by the smallest change of expression.

    meshes: [T, V, 3], unposed meshes of the reference; T is 1 for a photo
    reference: [V, 3], unposed mesh of the face that will be moved, on which the lips are to meet; without it they meet
        on the mean of those frames
    """
    opening = mouth_opening(meshes)
    count = max(1, round(QUIET_PART * len(meshes)))
    quiet = meshes[np.argsort(opening, kind="stable")[:count]].mean(axis=0)
    rest = model.expression(quiet)
    moved = quiet if reference is None else reference + model.displacement(rest - model.expression(reference))
    return (rest + lip_closing(lip_gaps(moved[None]), model)[0]).astype(np.float32)


def lip_gaps(meshes: Float) -> Float:
    """Return the gaps [T, 3, 2] of the ``LIP_PAIRS`` of unposed meshes or moves [T, V, 3], in height and in depth."""
    upper, lower = np.array(LIP_PAIRS).T
    return np.asarray((meshes[:, lower] - meshes[:, upper])[..., 1:])


def moved_lip_gaps(mesh: Float, changes: Float, model: FaceModel) -> Float:
    """Return the gaps [T, 3, 2] of ``lip_gaps`` of a mesh [V, 3] at changes of expression [T, 20], without its meshes.

    Those of an hour would take half a gigabyte.
    """
    return np.asarray(lip_gaps(mesh[None]) + np.tensordot(changes, lip_gaps(model.basis), axes=1), np.float32)


def lip_closing(gaps: Float, model: FaceModel) -> Float:
    """Return the least changes of expression [T, 20] that close lips with gaps [T, 3, 2]; closed lips stay closed."""
    # Lips are aligned in depth only where they are closed in height.
    return _moving(np.where(gaps[..., :1] > TOUCHING, [TOUCHING, 0] - gaps, 0), model)


def lip_parting(gaps: Float, model: FaceModel) -> Float:
    """Return the least changes of expression [T, 20] with which lips that cross, by gaps [T, 3, 2], meet instead."""
    return _moving(np.where(gaps[..., :1] < -TOUCHING, gaps * [-1, 0], 0), model)


def _moving(changes: Float, model: FaceModel) -> Float:
    """Return the least changes of expression [T, 20] that change the gaps between the lips by [T, 3, 2]."""
    moves = lip_gaps(model.basis).reshape(len(model.basis), -1).T
    wanted = changes.reshape(len(changes), 2 * len(LIP_PAIRS)).T
    least = np.linalg.solve(moves @ moves.T + STIFFNESS * np.eye(len(moves)), wanted)
    return np.asarray((moves.T @ least).T, np.float32)


def close_in_silence(expression: Float, activity: Float, rest: Float) -> Float:
    """Move expressions [T, 20] to the resting face where nobody speaks.

    activity: [T] in 0..1, share of speech in each frame (``clips.features.speech_activity``)
    rest: [20], expression of the resting face (``rest_expression``)
    """
    part = freedom(activity)[:, None]
    closed: Float = (rest + part * (expression - rest)).astype(np.float32)
    return closed


def freedom(activity: Float) -> Float:
    """Return the weight [T] with which the mouth follows the speech: 1 around speech, 0 in silence, smooth between."""
    if len(activity) == 0:
        return np.zeros(0, np.float32)
    around = np.pad(np.asarray(activity, np.float32), (HOLD, LEAD))
    near = np.lib.stride_tricks.sliding_window_view(around, HOLD + 1 + LEAD).max(axis=1)
    kernel = np.hanning(RAMP + 2)[1:-1]
    smooth = np.convolve(np.pad(near, RAMP // 2, mode="edge"), kernel / kernel.sum(), mode="valid")
    ramped: Float = np.clip(smooth, 0, 1).astype(np.float32)
    return ramped
