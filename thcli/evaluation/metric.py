"""What a metric is, and what it gives."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from thcli.evaluation.metric_models import Models, Role
from thcli.evaluation.recording import Pair
from thcli.records import Float


@dataclass(frozen=True)
class Figure:
    """What a metric came to.

    value: None where it was not computed, for the reason in ``why``
    count: frames, or whatever the metric averages over, that went into it
    model: name and hash of the external model that was used; empty where the metric needs none
    """

    value: float | None
    count: int = 0
    model: str = ""
    why: str = ""


def not_computed(why: str) -> Figure:
    """A figure that is not there, and the reason."""
    return Figure(None, why=why)


@dataclass(frozen=True)
class Pooled:
    """How a metric is computed over several pairs at once (FID), where a mean over pairs would be another thing.

    features: [N, D] of the predicted and of the reference frames of a pair, or why there are none
    distance: of all predicted features [N, D] and all reference features [M, D]
    role: of the external network that the features are of
    """

    features: Callable[[Pair, Models], tuple[Float, Float] | Figure]
    distance: Callable[[Float, Float], Figure]
    role: Role | None = None


@dataclass(frozen=True)
class Metric:
    """One metric: ``measure`` gives its figure for a pair of videos.

    name: key in JSON and CSV; title: heading in tables
    definition: in a sentence, with the unit; source: who defined it; inputs: what it is computed on
    better: ``higher`` or ``lower``, or ``real`` where the best is what the real video has
    """

    name: str
    title: str
    definition: str
    source: str
    inputs: str
    better: Literal["higher", "lower", "real"]
    measure: Callable[[Pair, Models], Figure]
    pooled: Pooled | None = None
