"""Landmark distance (LMD): difference of the mouth's shape from the real one.

The original script (``evaluation_matrix.py`` of ATVGnet) takes the 20 mouth landmarks of both frames, moves each set to
its centroid, and SUMS the 20 Euclidean distances; the figure is the mean over all frames. Other authors report the mean
per point, a twentieth of that. Neither removes the head pose: a mouth that is turned or larger counts as another shape,
so where head motion is free, as from audio alone, much of the figure is head motion. ``lmd_deposed`` removes the pose
and measures what remains, the expression.

The original uses dlib's landmarks in whole pixels; here the landmarks are the tracker's. Figures are therefore
comparable within a table, but not with published ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.face_model import LANDMARKS_68
from thcli.records import FaceTrack, Float

MOUTH = slice(48, 68)
"""Indices of the mouth in the 68 landmarks: outer and inner lips."""


def measure_sum(pair: Pair, models: MetricModels) -> Figure:
    """Compute the distance summed over the 20 points, as a mean over frames."""
    return _measure(pair, in_picture, MOUTH.stop - MOUTH.start)


def measure_mean(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean distance over points and frames."""
    return _measure(pair, in_picture, 1)


def measure_deposed(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean distance over points and frames with the head pose removed."""
    return _measure(pair, from_front, 1)


def in_picture(track: FaceTrack) -> Float:
    """Return the mouth landmarks [T, 20, 2], px."""
    return track.landmarks[:, MOUTH, :2]


def from_front(track: FaceTrack) -> Float:
    """Return the mouth landmarks [T, 20, 2], px, with the head facing the camera."""
    return track.unposed()[:, list(LANDMARKS_68)[MOUTH], :2] / np.float32(track.scale)


def mouth_distances(made: Float, true: Float) -> NDArray[np.float64]:
    """Compute the distance [T, 20] of every point between sets [T, 20, 2], each relative to its own centroid."""
    first, second = (np.asarray(points, np.float64) for points in (made, true))
    gap = first - first.mean(axis=1, keepdims=True) - (second - second.mean(axis=1, keepdims=True))
    return np.asarray(np.linalg.norm(gap, axis=-1))


def _measure(pair: Pair, landmarks: Callable[[FaceTrack], Float], weight: int) -> Figure:
    """Compute ``weight`` times the mean distance over points and frames in which both faces are found."""
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
