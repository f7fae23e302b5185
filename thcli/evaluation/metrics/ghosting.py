"""Ghosting: loss of detail around the face for a few frames, as where two pictures lie over one another.

A dissolve between two photographs that are not aligned shows hair, ears and background twice, each at half its
contrast, and so takes up to half of the variance of the Laplacian for as long as it lasts. Blur that lasts does not
count; it is ``hair_sharpness`` that measures it. Quick movement blurs real videos too, whose figure is not quite 0.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.curves import face, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics.sharpness import SMALLEST, laplacian
from thcli.evaluation.recording import Pair
from thcli.evaluation.regions import RING, hair_rings

AROUND = 8
"""Frames before and after a frame, of whose detail the median is what the frame should have."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean loss over the frames of the predicted video in which the face is found."""
    video, track = pair.predicted, face(pair.predicted)
    if isinstance(track, Figure):
        return track
    rings = hair_rings(track)
    around = [laplacian(video.frames[t])[rings[t]] for t in np.flatnonzero(seen(track))]
    sharp = [values.var() for values in around if values.size >= SMALLEST]
    if not sharp or not np.any(sharp):
        return not_computed(f"{video.name}: no frame shows anything around the face")
    return Figure(float(np.mean(losses(np.array(sharp)))), len(sharp))


def losses(sharp: np.ndarray) -> np.ndarray:
    """Return by which part each of T variances is below the median of those around it: [T] in 0..1."""
    around = [sharp[max(0, t - AROUND) : t + AROUND + 1] for t in range(len(sharp))]
    usual = np.array([np.median(values) for values in around])
    return np.asarray(np.maximum(0, 1 - sharp / np.maximum(usual, 1e-9)))


METRICS = (
    Metric(
        "ghosting",
        "ghosting",
        "loss of the variance of the luma's Laplacian around the face against the median of the frames around, mean "
        "over frames; two pictures at half their contrast lose about half",
        "defined here",
        f"luma at 256² above the chin, up to {RING} of the face's height from the face; {AROUND} frames to either side",
        "lower",
        measure,
    ),
)
