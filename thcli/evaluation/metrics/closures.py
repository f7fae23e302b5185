"""Closures: whether the lips meet where the real lips do (p, b, m), and only there.

A closure lasts two or three frames, so it hardly counts in LMD or in the correlation of openings, although viewers see
at once when it is missing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.face_model import mouth_opening
from thcli.runs import runs_of

MEETING = 0.02
"""Opening below which lips meet, over the distance of the outer eye corners."""
NEAR = 2
"""Most frames between closures that count as one."""


def measure_met(pair: Pair, models: MetricModels) -> Figure:
    """Compute the share of the real closures that come with a closure of the predicted video."""
    return _measure(pair, of_predicted=False)


def measure_right(pair: Pair, models: MetricModels) -> Figure:
    """Compute the share of the predicted video's closures that come with a real closure."""
    return _measure(pair, of_predicted=True)


def near_others(closed: NDArray[np.bool_], others: NDArray[np.bool_]) -> list[bool]:
    """Return for every closure in ``closed`` [T] whether one in ``others`` [T] lies within ``NEAR`` frames of it."""
    return [bool(others[max(first - NEAR, 0) : end + NEAR].any()) for first, end in runs_of(closed)]


def _measure(pair: Pair, of_predicted: bool) -> Figure:
    found = faces(pair)
    if isinstance(found, Figure):
        return found
    frames = seen(*found)
    made, true = ((mouth_opening(track.mesh) < MEETING) & frames for track in found)
    near = near_others(made, true) if of_predicted else near_others(true, made)
    name = (pair.predicted if of_predicted else pair.reference).name
    return Figure(float(np.mean(near)), len(near)) if near else not_computed(f"the lips of {name} never meet")


_INPUTS = f"opening of both tracks, below {MEETING} of the distance of the outer eye corners"
METRICS = (
    Metric(
        "closures_met",
        "closures met",
        f"share of the moments at which the real lips meet that have a closure within {NEAR} frames",
        "thgen",
        _INPUTS,
        "higher",
        measure_met,
    ),
    Metric(
        "closures_right",
        "closures right",
        f"share of the moments at which the predicted lips meet that have a real closure within {NEAR} frames",
        "thgen",
        _INPUTS,
        "higher",
        measure_right,
    ),
)
