"""Jitter: unsteadiness of the head's motion, from third differences of its rotation.

Nothing is smoothed, because a smoother would remove what is measured. The figure therefore includes the tracker's own
noise: white noise with standard deviation s has third differences with standard deviation 4.5 s, and a still head in a
noisy video has more jitter than a nodding head in a clean one. The real video is tracked in the same way, so the aim
is its figure and not 0, which a held frame has.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.curves import face, head_turn
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair

ORDER = 3
"""Order of the differences: the third, as of a third derivative."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean absolute third difference of the rotation, over frames and axes."""
    track = face(pair.predicted)
    if isinstance(track, Figure):
        return track
    if len(track) <= ORDER:
        return not_computed(f"{pair.predicted.name} has {len(track)} frames; jitter takes {ORDER + 1}")
    change = np.diff(head_turn(track, smooth=0), n=ORDER, axis=0)
    return Figure(float(np.abs(change).mean()), len(change))


METRICS = (
    Metric(
        "jitter",
        "jitter",
        "mean absolute third difference of the head's rotation, over frames and axes; degrees per frame³",
        "thgen; the third derivative of position as in Flash and Hogan, J. Neuroscience 1985",
        "head rotations of the track as they are, the tracker's noise included",
        "real",
        measure,
    ),
)
