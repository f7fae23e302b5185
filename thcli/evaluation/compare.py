"""All metrics by name, and their figures for one pair and for several pairs pooled."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from importlib import import_module

import numpy as np

from thcli.errors import UsageError
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
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
    "closures",
    "sync",
    "loudness_sync",
    "motion_diversity",
    "jitter",
    "beat_alignment",
    "blink_rate",
    "warping_error",
    "sharpness",
    "ghosting",
)
"""Modules of ``thcli.evaluation.metrics``, in the order of the table's columns."""

Features = tuple[Float, Float]
"""Features that a pooled metric compares: [N, D] of the predicted frames, and [M, D] of the reference's."""


@dataclass(frozen=True)
class Measured:
    """Measurement of a pair: figures by metric, and features of the metrics that can be pooled over pairs."""

    figures: dict[str, Figure] = field(default_factory=dict)
    features: dict[str, Features] = field(default_factory=dict)


@lru_cache(maxsize=1)
def all_metrics() -> tuple[Metric, ...]:
    """Return every metric, in the order of the table's columns."""
    modules = (import_module(f"thcli.evaluation.metrics.{name}") for name in MODULES)
    return tuple(metric for module in modules for metric in module.METRICS)


def choose_metrics(names: Sequence[str] | None = None) -> tuple[Metric, ...]:
    """Return the metrics of these names in the order of the table; all for None. Raises UsageError for other names."""
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


def measure(pair: Pair, metrics: Iterable[Metric], models: MetricModels) -> dict[str, Figure]:
    """Compute every metric's figure for a pair, by name. Raises WeightsError for a file that is no network for it."""
    return measure_to_pool(pair, metrics, models).figures


def measure_to_pool(pair: Pair, metrics: Iterable[Metric], models: MetricModels) -> Measured:
    """Compute the figures of ``measure`` and the features that ``pool`` needs, each feature once for both."""
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
    """Compute figures over all pairs at once, by method and metric, from the features of each method's pairs.

    A metric is left out for a method that has no features of it.
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
    """Return the figure, or the reason where its value is not finite; JSON cannot hold such a value."""
    if figure.value is None or math.isfinite(figure.value):
        return figure
    return not_computed(f"came to {figure.value}, which is no number")
