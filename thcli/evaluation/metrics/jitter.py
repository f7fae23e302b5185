"""How unsteady the head's movement is.

Nothing is smoothed here: what a smoother would take out is what is measured. So the tracker's own noise is in the
figure; white noise of deviation s has third differences of 4.5 s, and a head that holds still in a noisy picture
jitters more than one that nods in a clean one. The real video is tracked alike, so its figure, not 0, is the aim: a
held frame has 0.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.curves import face, head_turn
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair

ORDER = 3


def measure(pair: Pair, models: Models) -> Figure:
    """Mean absolute third difference over frames and axes."""
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
