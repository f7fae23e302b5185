"""Cosine similarity of identity (CSIM): agreement of both faces' embeddings in a face recognition network."""

from __future__ import annotations

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.embed import identities
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean cosine over frames in which both faces are found, each with the frame of the same time."""
    model = models.find("identity")
    if isinstance(model, str):
        return not_computed(model)
    tracks = faces(pair)
    if isinstance(tracks, Figure):
        return tracks
    found = seen(*tracks)
    if not found.any():
        return not_computed("no frame in which both faces are found")
    made, true = (
        identities(one, track, model)[found]
        for one, track in zip((pair.predicted, pair.reference), tracks, strict=True)
    )
    return Figure(float((made * true).sum(axis=1).mean()), int(found.sum()), model.name)


METRICS = (
    Metric(
        "csim",
        "CSIM",
        "cosine of the identity embeddings of both faces at the same time, mean over frames; equal pictures have 1",
        "Zakharov et al., Few-Shot Adversarial Learning of Realistic Neural Talking Head Models, ICCV 2019; ArcFace: "
        "Deng et al., CVPR 2019",
        "RGB faces of 112², aligned to ArcFace's five points, to an external identity network: values in -1..1, or as "
        "a known file wants them (MobileFaceNet of foamliu: ImageNet's mean and deviation)",
        "higher",
        measure,
    ),
)
