"""Motion diversity: how much the head moves."""

from __future__ import annotations

from thcli.evaluation.curves import face, head_turn
from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the standard deviation of the head's rotation over time, as a mean over the axes."""
    track = face(pair.predicted)
    if isinstance(track, Figure):
        return track
    return Figure(float(head_turn(track).std(axis=0).mean()), len(track))


METRICS = (
    Metric(
        "motion_diversity",
        "head motion",
        "standard deviation over time of the head's rotation, mean of pitch, yaw and roll; degrees",
        "after Zhang et al., SadTalker, CVPR 2023, who take it of Hopenet's features; here of the angles themselves",
        "head rotations of the track, smoothed over one frame against the tracker's noise",
        "real",
        measure,
    ),
)
