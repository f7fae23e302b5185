"""Mouth L1: mean absolute difference of the mouth's pixels from the real ones.

The mouth covers a few hundredths of the image, so SSIM and PSNR hardly depend on it, although viewers look at it.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.curves import face, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.evaluation.regions import SIDE, mouth_squares


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean over the square around the mouth, then over frames in which the reference's face is found."""
    track = face(pair.reference)
    if isinstance(track, Figure):
        return track
    squares, found = mouth_squares(track), seen(track)
    made, true = pair.predicted.frames, pair.reference.frames
    errors = [
        float(np.abs(made[t][squares[t]].astype(np.int16) - true[t][squares[t]]).mean())
        for t in range(len(pair))
        if found[t] and true[t][squares[t]].size
    ]
    if not errors:
        return not_computed(f"the mouth is in no frame of {pair.reference.name}")
    return Figure(float(np.mean(errors)), len(errors))


METRICS = (
    Metric(
        "mouth_l1",
        "mouth L1",
        "mean absolute difference in the square around the reference's mouth, mean over frames; values 0..255",
        "thgen",
        f"RGB 0..255 at 256²; the square has {SIDE} times the lips' longer side, from the reference's track",
        "lower",
        measure,
    ),
)
