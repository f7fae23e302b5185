"""The rows that stand in every table beside what is measured: the real video, and what needs no thgen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.recording import Pair
from thcli.face_model import OUTER_LIPS
from thcli.faces.pose import deposed
from thcli.records import FPS, FaceTrack, Float

PAST = 64
"""Frames from which references come (the paper's τ); of a shorter video its first quarter."""
APART = FPS // 2
"""Frames that the nearest frame is at least away from the one it stands for: its neighbours are no finding."""
LIPS_WEIGHT = 4.0
"""Of the lips' mean distance beside that of the poses, both in canonical units and radians."""

REAL, FIRST, NEAREST, SHUFFLED = "real", "first frame", "nearest frame", "shuffled"


def baselines(pair: Pair) -> Iterator[tuple[str, Pair]]:
    """Names, and pairs with the same reference, made one after the other: each holds frames of its own.

    real: the reference itself; first frame: held; nearest frame: of the reference's first frames the one that is
    nearest in head pose and lips, as it is, never one out of the same half second; shuffled: the predicted video,
    out of step with sound and reference by half its length
    """
    true, made = pair.reference, pair.predicted
    yield REAL, replace(pair, predicted=true)
    yield FIRST, replace(pair, predicted=true.select(np.zeros(len(true), np.intp)))
    if true.track is not None:
        past = min(PAST, max(1, len(true) // 4))
        chosen = nearest(true.track.select(slice(past)), true.track, apart=min(APART, past // 2))
        yield NEAREST, replace(pair, predicted=true.select(chosen))
    yield SHUFFLED, replace(pair, predicted=made.select(np.roll(np.arange(len(made)), len(made) // 2)))


def nearest(past: FaceTrack, wanted: FaceTrack, apart: int = 0) -> NDArray[np.intp]:
    """For every wanted frame the index [T] of the past frame with the nearest head pose and lips.

    apart: where both begin with the same frame, how many frames the two must at least be away from one another
    """
    pose = np.linalg.norm(wanted.pose[:, None] - past.pose[None], axis=-1)
    own, other = _lips(wanted), _lips(past)
    shape = np.stack([np.linalg.norm(lips - other, axis=-1).mean(-1) for lips in own])
    away = np.abs(np.arange(len(wanted))[:, None] - np.arange(len(past)))
    return np.where(away < apart, np.inf, pose + LIPS_WEIGHT * shape).argmin(axis=1)


def _lips(track: FaceTrack) -> Float:
    """Lips [T, P, 3], de-posed, about their centre."""
    lips = deposed(track)[:, list(OUTER_LIPS)]
    return lips - lips.mean(axis=1, keepdims=True)
