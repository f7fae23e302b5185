"""Blink rate of a video."""

from __future__ import annotations

from thcli.evaluation.curves import face
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.face_model import eye_opening
from thcli.motion.blink import find_blinks
from thcli.records import FPS

SHORTEST = FPS
"""Least frames of a video; fewer show no usual opening of the eyes that a blink could be measured against."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Count the blinks per minute."""
    track = face(pair.predicted)
    if isinstance(track, Figure):
        return track
    if len(track) < SHORTEST:
        return not_computed(f"{pair.predicted.name} has {len(track)} frames; blinks take {SHORTEST}")
    return Figure(len(find_blinks(eye_opening(track.mesh))) * 60 * FPS / len(track), len(track))


METRICS = (
    Metric(
        "blink_rate",
        "blinks",
        "blinks a minute; people who talk blink 15 to 30 times",
        "thgen; usual rates: Bentivoglio et al., Movement Disorders 1997",
        "gap of the lids over the eye's width, mean of both eyes, of the track",
        "real",
        measure,
    ),
)
