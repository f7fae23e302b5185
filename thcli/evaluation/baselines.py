"""The rows that stand in every table beside what is measured: the real video, and what needs no thgen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from thcli.evaluation.recording import Pair, Recording
from thcli.face_model import OUTER_LIPS
from thcli.faces.pose import deposed
from thcli.records import FaceTrack, Float

PAST = 64
"""Frames from which references come (the paper's τ); of a shorter video its first quarter."""
LIPS_WEIGHT = 4.0
"""Of the lips' mean distance beside that of the poses, both in canonical units and radians."""

REAL, FIRST, NEAREST, SHUFFLED = "real", "first frame", "nearest frame", "shuffled"


def baselines(pair: Pair) -> dict[str, Pair]:
    """Named pairs with the same reference.

    real: the reference itself; first frame: held; nearest frame: of the reference's first frames the one that is
    nearest in head pose and lips, as it is; shuffled: the predicted video, out of step by half its length
    """
    true, made = pair.reference, pair.predicted
    half = np.roll(np.arange(len(made)), len(made) // 2)
    rows = {
        REAL: true,
        FIRST: true.select(np.zeros(len(true), np.intp)),
        SHUFFLED: made.select(half),
    }
    if true.track is not None:
        past = min(PAST, max(1, len(true) // 4))
        rows[NEAREST] = true.select(nearest(true.track.select(slice(past)), true.track))
    return {name: replace(pair, predicted=_named(row, name)) for name, row in rows.items()}


def nearest(past: FaceTrack, wanted: FaceTrack) -> np.ndarray:
    """For every wanted frame the index [T] of the past frame with the nearest head pose and lips."""
    pose = np.linalg.norm(wanted.pose[:, None] - past.pose[None], axis=-1)
    own, other = _lips(wanted), _lips(past)
    shape = np.linalg.norm(own[:, None] - other[None], axis=-1).mean(-1)
    return np.asarray((pose + LIPS_WEIGHT * shape).argmin(axis=1))


def _lips(track: FaceTrack) -> Float:
    """Lips [T, P, 3], de-posed, about their centre."""
    lips = deposed(track)[:, list(OUTER_LIPS)]
    return lips - lips.mean(axis=1, keepdims=True)


def _named(recording: Recording, name: str) -> Recording:
    return replace(recording, name=name)
