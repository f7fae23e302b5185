"""The mouth closes in silence: the expression is led to a resting face with closed lips, and back before speech."""

from __future__ import annotations

import numpy as np

from thcli.face_model import FaceModel, mouth_opening
from thcli.records import Float

LIP_PAIRS = ((82, 87), (13, 14), (312, 317))
"""Inner lips, upper and lower vertex: right of the middle, middle, left of it."""
TOUCHING = 0.003
"""Gap of closed lips in tracks, canonical face units."""
QUIET_PART = 0.2
"""Part of the reference's frames, those of the least open mouth, that the resting face is taken from."""
STIFFNESS = 3e-5
"""Keeps the closing from using coefficients that hardly move the lips; gaps are some 0.01 to 0.1."""
LEAD, HOLD = 7, 12
"""Frames by which the mouth is free before speech, and stays free after it: gaps of up to 0.76 s are not closed.

In shorter pauses people do not close the lips but get ready for the next word, which Psi has learned. On val, closing
gaps from 0.28 s on took the correlation of the mouth's opening from 0.66 to 0.59.
"""
RAMP = 7
"""Frames of the ramp between open and closed."""


def rest_expression(meshes: Float, model: FaceModel, reference: Float | None = None) -> Float:
    """The resting face [20] of a person, lips closed, from de-posed meshes [T, V, 3] of the reference (T = 1: a photo).

    The mean of the frames whose mouth is least open, closed by the smallest change of expression that does it.
    reference: [V, 3] de-posed mesh of the frame that is going to be moved, on which the lips are to meet; without
        it they meet on the mean of those frames
    """
    opening = mouth_opening(meshes)
    count = max(1, round(QUIET_PART * len(meshes)))
    quiet = meshes[np.argsort(opening, kind="stable")[:count]].mean(axis=0)
    rest = model.expression(quiet)
    moved = quiet if reference is None else reference + model.displacement(rest - model.expression(reference))
    upper, lower = np.array(LIP_PAIRS).T
    gaps = (moved[lower] - moved[upper])[:, 1:]
    moves = (model.basis[:, lower] - model.basis[:, upper])[..., 1:].reshape(len(model.basis), -1).T
    # Lips that are closed already are not parted; in depth they meet only where they do in height.
    gaps = np.where(gaps[:, :1] > TOUCHING, gaps - [TOUCHING, 0], 0).ravel()
    closing = moves.T @ np.linalg.solve(moves @ moves.T + STIFFNESS * np.eye(len(gaps)), gaps)
    return (rest - closing).astype(np.float32)


def close_in_silence(expression: Float, activity: Float, rest: Float) -> Float:
    """Expressions [T, 20] led to the resting face where nobody speaks.

    activity: [T] in 0..1, how much of each frame is speech (``clips.features.speech_activity``)
    rest: [20], see ``rest_expression``
    """
    part = freedom(activity)[:, None]
    closed: Float = (rest + part * (expression - rest)).astype(np.float32)
    return closed


def freedom(activity: Float) -> Float:
    """How far [T] the mouth may follow the speech: 1 around speech, 0 in silence, with smooth ramps between."""
    if len(activity) == 0:
        return np.zeros(0, np.float32)
    around = np.pad(np.asarray(activity, np.float32), (HOLD, LEAD))
    near = np.lib.stride_tricks.sliding_window_view(around, HOLD + 1 + LEAD).max(axis=1)
    kernel = np.hanning(RAMP + 2)[1:-1]
    smooth = np.convolve(np.pad(near, RAMP // 2, mode="edge"), kernel / kernel.sum(), mode="valid")
    ramped: Float = np.clip(smooth, 0, 1).astype(np.float32)
    return ramped
