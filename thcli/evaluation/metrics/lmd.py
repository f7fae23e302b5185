"""Landmark distance: how far the mouth's shape is from the real one's.

The original script (``evaluation_matrix.py`` of ATVGnet) takes the 20 mouth landmarks of both frames, moves each set to
its centroid, and SUMS the 20 Euclidean distances; the mean over all frames is the figure. Others report the mean per
point, a twentieth of it. Neither takes the head's pose out: a mouth that is turned or larger counts as another shape,
so where head motion is free, as from audio alone, much of the figure is head motion. ``lmd_deposed`` is what is left of
it when the pose is removed: the expression.

The original has dlib's landmarks in whole pixels, here they are the tracker's, so figures compare within a table, not
with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair
from thcli.face_model import LANDMARKS_68
from thcli.faces.pose import deposed
from thcli.records import FaceTrack, Float

MOUTH = slice(48, 68)
"""Of the 68 landmarks: outer and inner lips."""


def measure_sum(pair: Pair, models: Models) -> Figure:
    """Sum over the 20 points, mean over frames."""
    return _measure(pair, in_picture, MOUTH.stop - MOUTH.start)


def measure_mean(pair: Pair, models: Models) -> Figure:
    """Mean over points and frames."""
    return _measure(pair, in_picture, 1)


def measure_deposed(pair: Pair, models: Models) -> Figure:
    """Mean over points and frames of the mouths seen from the front."""
    return _measure(pair, from_front, 1)


def in_picture(track: FaceTrack) -> Float:
    """Mouth landmarks [T, 20, 2] in pixels."""
    return track.landmarks[:, MOUTH, :2]


def from_front(track: FaceTrack) -> Float:
    """Mouth landmarks [T, 20, 2] in pixels, with the head facing the camera."""
    return deposed(track)[:, list(LANDMARKS_68)[MOUTH], :2] / np.float32(track.scale)


def mouth_distances(made: Float, true: Float) -> NDArray[np.float64]:
    """Distance of every point, each set [T, 20, 2] about its own centroid: [T, 20]."""
    first, second = (np.asarray(points, np.float64) for points in (made, true))
    gap = first - first.mean(axis=1, keepdims=True) - (second - second.mean(axis=1, keepdims=True))
    return np.asarray(np.linalg.norm(gap, axis=-1))


def _measure(pair: Pair, landmarks: Callable[[FaceTrack], Float], weight: int) -> Figure:
    found = faces(pair)
    if isinstance(found, Figure):
        return found
    frames = seen(*found)
    if not frames.any():
        return not_computed("no frame in which both faces are found")
    distance = mouth_distances(*(landmarks(track)[frames] for track in found))
    return Figure(weight * float(distance.mean()), int(frames.sum()))


_CENTRED = "20 mouth landmarks of each frame, each set about its own centroid"
METRICS = (
    Metric(
        "lmd_sum",
        "LMD (sum)",
        "Euclidean distances of the mouth landmarks summed over the 20 points, mean over frames; pixels at 256²",
        "Chen et al., Lip Movements Generation at a Glance, ECCV 2018; as in evaluation_matrix.py of ATVGnet (2019)",
        f"{_CENTRED}; head pose not removed",
        "lower",
        measure_sum,
    ),
    Metric(
        "lmd",
        "LMD",
        "Euclidean distance of the mouth landmarks, mean over the 20 points and frames; pixels at 256²",
        "Chen et al., Lip Movements Generation at a Glance, ECCV 2018; per point",
        f"{_CENTRED}; head pose not removed",
        "lower",
        measure_mean,
    ),
    Metric(
        "lmd_deposed",
        "LMD (front)",
        "LMD per point with the head's pose removed from both, so that only the expression counts; pixels at 256²",
        "thgen; pose removed as in Chen et al., Rhythmic Head Motion, ECCV 2020, §3.3",
        f"{_CENTRED}; seen from the front",
        "lower",
        measure_deposed,
    ),
)
