"""All metrics by name, and what they make of a pair, alone and pooled with others."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module

import numpy as np

from thcli.errors import UsageError
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair
from thcli.records import Float

MODULES = (
    "lmd",
    "mouth_l1",
    "ssim",
    "psnr",
    "csim",
    "fid",
    "identity_fd",
    "opening",
    "sync",
    "loudness_sync",
    "motion_diversity",
    "jitter",
    "beat_alignment",
    "blink_rate",
    "warping_error",
    "mouth_sharpness",
)
"""Of ``thcli.evaluation.metrics``, in the order of the table's columns."""

Features = tuple[Float, Float]
"""What a pooled metric compares: [N, D] of the predicted and [N, D] of the reference frames."""


@dataclass(frozen=True)
class Measured:
    """What a pair came to: figures by metric, and the features of those metrics that can be pooled over pairs."""

    figures: dict[str, Figure] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)


@lru_cache(maxsize=1)
def all_metrics() -> tuple[Metric, ...]:
    """Every metric, in the order of the table's columns."""
    modules = (import_module(f"thcli.evaluation.metrics.{name}") for name in MODULES)
    return tuple(metric for module in modules for metric in module.METRICS)


def choose_metrics(names: Sequence[str] | None = None) -> tuple[Metric, ...]:
    """The metrics of these names in the order of the table; all for None. Raises UsageError for a name unknown."""
    metrics = all_metrics()
    if names is None:
        return metrics
    known = [metric.name for metric in metrics]
    for name in names:
        if name not in known:
            raise UsageError(f"--metrics {name}: no such metric, expected some of {','.join(known)}")
    if not names:
        raise UsageError(f"--metrics: no metric is named, expected some of {','.join(known)}")
    return tuple(metric for metric in metrics if metric.name in names)


def measure(pair: Pair, metrics: Iterable[Metric], models: Models) -> dict[str, Figure]:
    """What each metric makes of a pair, by name. Raises WeightsError for a network that is not what it should be."""
    return measure_to_pool(pair, metrics, models).figures


def measure_to_pool(pair: Pair, metrics: Iterable[Metric], models: Models) -> Measured:
    """The same, together with the features that ``pool`` needs, which are computed once for both."""
    measured = Measured()
    for metric in metrics:
        if metric.pooled is None:
            figure = metric.measure(pair, models)
        else:
            found = metric.pooled.features(pair, models)
            if isinstance(found, Figure):
                figure = found
            else:
                role = metric.pooled.role
                figure = replace(metric.pooled.distance(*found), model=models.name(role) if role else "")
                measured.features[metric.name] = found
        measured.figures[metric.name] = _a_number(figure)
    return measured


def pool(
    features: Mapping[str, Sequence[Mapping[str, Features]]], metrics: Iterable[Metric]
) -> dict[str, dict[str, Figure]]:
    """Figures over all pairs at once, by method and metric, from the features of each method's pairs.

    A metric of which a method has no features at all is left out.
    """
    found: dict[str, dict[str, Figure]] = {}
    for metric in metrics:
        if metric.pooled is None:
            continue
        for method, pairs in features.items():
            own = [pair[metric.name] for pair in pairs if metric.name in pair]
            if own:
                made, true = (np.concatenate(side) for side in zip(*own, strict=True))
                found.setdefault(method, {})[metric.name] = _a_number(metric.pooled.distance(made, true))
    return found


def _a_number(figure: Figure) -> Figure:
    """The figure; what is not finite is no figure, and JSON has no word for it."""
    if figure.value is None or math.isfinite(figure.value):
        return figure
    return not_computed(f"came to {figure.value}, which is no number")
