"""Mouth opening: whether the mouth opens when the real one does, and as far."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.data.audio_motion import correlation
from thcli.evaluation.curves import STILL, faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.face_model import mouth_opening

Array = NDArray[np.float64]


def measure_correlation(pair: Pair, models: MetricModels) -> Figure:
    """Compute Pearson's correlation of both openings over time, at no lag."""
    found = _openings(pair)
    if isinstance(found, Figure):
        return found
    made, true = found
    if made.std() < STILL:
        return not_computed(f"the mouth of {pair.predicted.name} does not move")
    return Figure(correlation(made, true), len(made))


def measure_ratio(pair: Pair, models: MetricModels) -> Figure:
    """Compute the opening's standard deviation over time, relative to the real one's."""
    found = _openings(pair)
    if isinstance(found, Figure):
        return found
    made, true = found
    return Figure(float(made.std() / true.std()), len(made))


def _openings(pair: Pair) -> tuple[Array, Array] | Figure:
    """Return the openings [T] of both mouths in frames where both faces are found.

    A figure that says why is returned where there are fewer than two such frames, or where the real mouth is still.
    """
    found = faces(pair)
    if isinstance(found, Figure):
        return found
    frames = seen(*found)
    if frames.sum() < 2:
        return not_computed("no two frames in which both faces are found")
    made, true = (np.asarray(mouth_opening(track.mesh)[frames], np.float64) for track in found)
    if true.std() < STILL:
        return not_computed(f"the mouth of {pair.reference.name} does not move")
    return made, true


_INPUTS = "gap of the inner lips over the distance of the outer eye corners, of both tracks"
METRICS = (
    Metric(
        "opening_correlation",
        "mouth corr.",
        "Pearson's correlation over time of the mouth's opening with the real one's, at no lag; -1 to 1",
        "thgen",
        _INPUTS,
        "higher",
        measure_correlation,
    ),
    Metric(
        "opening_ratio",
        "mouth range",
        "standard deviation over time of the mouth's opening over the real one's; below 1 it moves too little",
        "thgen",
        _INPUTS,
        "real",
        measure_ratio,
    ),
)
