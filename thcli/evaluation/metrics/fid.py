"""Fréchet Inception distance (FID) between the distributions of predicted and of real frames.

With fewer frames than the features have dimensions (2048), the covariances have low rank and the distance depends on
the number of frames, so only figures of equal counts are comparable. Frames of one video resemble each other, so the
figure over all pairs at once says more than that of one pair.
"""

from __future__ import annotations

from dataclasses import replace

from thcli.errors import WeightsError
from thcli.evaluation.embed import inception_features
from thcli.evaluation.frechet import distance
from thcli.evaluation.metric import Figure, Metric, Pooled, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.records import Float

DIMENSIONS = 2048
"""Length of Inception's pooled features; features of other layers give distances of another magnitude."""


def features(pair: Pair, models: MetricModels) -> tuple[Float, Float] | Figure:
    """Compute Inception features [T, 2048] of the predicted and of the reference frames.

    Raises WeightsError for a network whose features have another length.
    """
    model = models.find("inception")
    if isinstance(model, str):
        return not_computed(model)
    made, true = (inception_features(one, model) for one in (pair.predicted, pair.reference))
    if made.shape[1] != DIMENSIONS:
        raise WeightsError(
            f"{model.name}: gives {made.shape[1]} features a frame; FID compares the {DIMENSIONS} of Inception's last "
            "pooling, export that layer for --inception"
        )
    return made, true


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the distance between the two videos of a pair."""
    found = features(pair, models)
    return found if isinstance(found, Figure) else replace(distance(*found), model=models.name("inception"))


METRICS = (
    Metric(
        "fid",
        "FID",
        "Fréchet distance between the Inception features of all predicted and all reference frames; below 2048 frames "
        "it depends on their number, so compare equal counts only",
        "Heusel et al., GANs Trained by a Two Time-Scale Update Rule, NeurIPS 2017",
        "RGB 0..1, 256² resized to 299² (bilinear), to an external Inception network",
        "lower",
        measure,
        Pooled(features, distance, "inception"),
    ),
)
