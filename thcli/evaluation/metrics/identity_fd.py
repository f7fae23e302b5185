"""Fréchet distance between identity embeddings, for use where a face recognition network is at hand but no Inception.

It is not FID, and its magnitude says nothing about FID's. It measures what tells people apart, not what makes an image
look real.
"""

from __future__ import annotations

from dataclasses import replace

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.embed import identities
from thcli.evaluation.frechet import distance
from thcli.evaluation.metric import Figure, Metric, Pooled, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.records import Float


def features(pair: Pair, models: MetricModels) -> tuple[Float, Float] | Figure:
    """Compute embeddings [N, D] and [M, D] of the predicted and reference frames in which a face is found."""
    model = models.find("identity")
    if isinstance(model, str):
        return not_computed(model)
    tracks = faces(pair)
    if isinstance(tracks, Figure):
        return tracks
    made, true = (
        identities(one, track, model)[seen(track)]
        for one, track in zip((pair.predicted, pair.reference), tracks, strict=True)
    )
    return made, true


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the distance between the two videos of a pair."""
    found = features(pair, models)
    return found if isinstance(found, Figure) else replace(distance(*found), model=models.name("identity"))


METRICS = (
    Metric(
        "identity_fd",
        "FD (identity)",
        "Fréchet distance between the identity embeddings (of unit length) of all predicted and all reference frames; "
        "below as many frames as dimensions it depends on their number, so compare equal counts only",
        "the formula of Heusel et al., NeurIPS 2017, on another network: not FID",
        "faces as for CSIM",
        "lower",
        measure,
        Pooled(features, distance, "identity"),
    ),
)
