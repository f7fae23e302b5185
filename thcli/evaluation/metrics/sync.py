"""Synchrony of audio and mouth by SyncNet (``thcli.evaluation.syncnet``): offset, confidence and distance."""

from __future__ import annotations

from collections.abc import Callable

from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.evaluation.syncnet import Sync, judge


def measure_offset(pair: Pair, models: MetricModels) -> Figure:
    """Compute the frames by which the mouth trails the audio."""
    return _measure(pair, models, lambda sync: float(sync.offset))


def measure_confidence(pair: Pair, models: MetricModels) -> Figure:
    """Compute the confidence, LSE-C."""
    return _measure(pair, models, lambda sync: sync.confidence)


def measure_distance(pair: Pair, models: MetricModels) -> Figure:
    """Compute the distance, LSE-D."""
    return _measure(pair, models, lambda sync: sync.distance)


def _measure(pair: Pair, models: MetricModels, value: Callable[[Sync], float]) -> Figure:
    model = models.find("syncnet")
    if isinstance(model, str):
        return not_computed(model)
    sync = judge(pair.predicted, model)
    return sync if isinstance(sync, Figure) else Figure(value(sync), sync.windows, model.name)


_SOURCE = "Chung and Zisserman, Out of time, ACCV workshops 2016; as in syncnet_python"
_INPUTS = "face crops of 224², five frames at a time, and MFCC of the 16 kHz sound, to an external SyncNet"
METRICS = (
    Metric(
        "sync_offset",
        "SyncNet offset",
        "frames by which the mouth trails the sound (negative: leads), of least mean distance within ±15 frames",
        _SOURCE,
        _INPUTS,
        "real",
        measure_offset,
    ),
    Metric(
        "sync_confidence",
        "SyncNet conf.",
        "median over the offsets of the mean distance of picture and sound, less the least (LSE-C); network's units",
        f"{_SOURCE}; LSE-C: Prajwal et al., Wav2Lip, ACM MM 2020",
        _INPUTS,
        "higher",
        measure_confidence,
    ),
    Metric(
        "sync_distance",
        "SyncNet dist.",
        "least mean distance of picture and sound within ±15 frames (LSE-D); network's units",
        f"{_SOURCE}; LSE-D: Prajwal et al., Wav2Lip, ACM MM 2020",
        _INPUTS,
        "lower",
        measure_distance,
    ),
)
