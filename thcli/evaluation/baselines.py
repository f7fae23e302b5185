"""Baselines in every table beside the measured video: the real video, and videos that are made without thgen."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.recording import Pair
from thcli.face_model import OUTER_LIPS
from thcli.records import FPS, FaceTrack, Float

PAST = 64
"""Frames from which references come (the paper's τ); a shorter video gives its first quarter."""
APART = FPS // 2
"""Least distance in frames of the nearest frame from the frame it stands for; a direct neighbour is always near."""
LIPS_WEIGHT = 4.0
"""Weight of the lips' mean distance (canonical face units) beside the distance of the poses (radians and units)."""

REAL, FIRST, NEAREST, SHUFFLED = "real", "first frame", "nearest frame", "shuffled"


def baselines(pair: Pair) -> Iterator[tuple[str, Pair]]:
    """Yield the name of each baseline, and its pair with the same reference.

    real: the reference itself
    first frame: the reference's first frame, held
    nearest frame: for each frame the reference's early frame that is nearest in head pose and lips, unchanged; never
        one from the same half second
    shuffled: the predicted video, shifted against audio and reference by half its length

    Each pair holds frames of its own, so they are made one at a time.
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
    """Return the index [T] of the past frame with the nearest head pose and lips, for every wanted frame.

    apart: least distance in frames between a wanted frame and its past frame, where both tracks begin together
    """
    pose = np.linalg.norm(wanted.pose[:, None] - past.pose[None], axis=-1)
    own, other = _lips(wanted), _lips(past)
    shape = np.stack([np.linalg.norm(lips - other, axis=-1).mean(-1) for lips in own])
    away = np.abs(np.arange(len(wanted))[:, None] - np.arange(len(past)))
    return np.where(away < apart, np.inf, pose + LIPS_WEIGHT * shape).argmin(axis=1)


def _lips(track: FaceTrack) -> Float:
    """Return the lips [T, P, 3] with the head pose removed, relative to their centre."""
    lips = track.unposed()[:, list(OUTER_LIPS)]
    return lips - lips.mean(axis=1, keepdims=True)
