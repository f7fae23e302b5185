"""Sharpness of the mouth relative to the real one; blur is a common flaw of generated mouths.

Sharpness is the variance of the Laplacian. Each video is measured around its own mouth, so that the mouth of a head
that moves differently is not compared with a cheek. The figure is the ratio of the means over frames, not the mean of
ratios, which single soft frames of the reference would dominate. Noise and compression count as sharpness too, so a
figure above 1 is no better than 1.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.evaluation.regions import SIDE, mouth_squares
from thcli.records import Image

SMALLEST = 8
"""Least side in px of a square; a smaller one shows too little of the mouth."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the ratio of mean sharpness, predicted to reference, on frames in which both faces are found."""
    tracks = faces(pair)
    if isinstance(tracks, Figure):
        return tracks
    squares = [mouth_squares(track) for track in tracks]
    sharp = []
    for t in np.flatnonzero(seen(*tracks)):
        mouths = [one.frames[t][own[t]] for one, own in zip((pair.predicted, pair.reference), squares, strict=True)]
        if min(min(mouth.shape[:2]) for mouth in mouths) >= SMALLEST:
            sharp.append([sharpness(mouth) for mouth in mouths])
    if not sharp:
        return not_computed(f"no frame shows the mouths of both {pair.predicted.name} and {pair.reference.name}")
    made, true = np.mean(sharp, axis=0)
    if true == 0:
        return not_computed(f"the mouth of {pair.reference.name} shows nothing but one colour")
    return Figure(float(made / true), len(sharp))


def sharpness(image: Image) -> float:
    """Compute the variance of the five-point Laplacian of an image [H, W, 3] uint8: luma 0..255, without the border."""
    from scipy.ndimage import laplace
    from skimage.color import rgb2gray

    return float(laplace(255 * rgb2gray(image))[1:-1, 1:-1].var())


METRICS = (
    Metric(
        "mouth_sharpness",
        "mouth sharpness",
        "variance of the luma's Laplacian around the mouth, mean over frames, over the reference's; 1 is as sharp",
        "variance of the Laplacian: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000",
        f"luma at 256² in a square of {SIDE} times the lips' longer side, each video's from its own track",
        "real",
        measure,
    ),
)
