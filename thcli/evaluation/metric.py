"""Records of a metric: its definition, its figure for a pair, and its computation over several pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thcli.evaluation.metric_models import MetricModels, Role
from thcli.evaluation.recording import Pair
from thcli.records import Float


@dataclass(frozen=True)
class Figure:
    """Result of a metric.

    value: None where it was not computed
    count: number of frames, or of other items, that the metric averages over
    model: name and hash of the external network that was used; empty where the metric needs none
    why: reason for a missing value; empty where there is a value
    """

    value: float | None
    count: int = 0
    model: str = ""
    why: str = ""


def not_computed(why: str) -> Figure:
    """Return a figure without a value, for the given reason."""
    return Figure(None, why=why)


@dataclass(frozen=True)
class Pooled:
    """Computation of a metric over several pairs at once (FID), where a mean over pairs would be another quantity.

    features: computes features [N, D] of a pair's predicted and reference frames, or a figure that says why not
    distance: compares the predicted features [N, D] of all pairs with the reference features [M, D]
    role: external network that computes the features
    """

    features: Callable[[Pair, MetricModels], tuple[Float, Float] | Figure]
    distance: Callable[[Float, Float], Figure]
    role: Role | None = None


@dataclass(frozen=True)
class Metric:
    """A metric of a pair of videos.

    name: key in JSON and CSV
    title: heading in tables
    definition: description in one sentence, with the unit
    source: publication that defines it
    inputs: data it is computed on
    better: ``higher`` or ``lower``, or ``real`` where the real video's value is the best
    measure: computes the figure of a pair
    pooled: computation over several pairs; None where it is the mean over pairs
    """

    name: str
    title: str
    definition: str
    source: str
    inputs: str
    better: Literal["higher", "lower", "real"]
    measure: Callable[[Pair, MetricModels], Figure]
    pooled: Pooled | None = None
