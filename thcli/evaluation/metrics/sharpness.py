"""Sharpness of the mouth and of the hair relative to the real ones; blur is a common flaw of generated videos.

Sharpness is the variance of the Laplacian. Each video is measured where its own track has the mouth, or the ring around
the face, so that the mouth of a head that moves differently is not compared with a cheek. The figure is the ratio of
the means over frames, not the mean of ratios, which single soft frames of the reference would dominate. Noise and
compression count as sharpness too, so a figure above 1 is no better than 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.curves import faces, seen
from thcli.evaluation.metric import Figure, Metric, not_computed
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.evaluation.regions import RING, SIDE, Mask, Square, hair_rings, mouth_squares
from thcli.records import FaceTrack, Image

SMALLEST = 64
"""Fewest pixels of a region; a smaller one shows too little."""


def measure_mouth(pair: Pair, models: MetricModels) -> Figure:
    """Compute the ratio of the mean sharpness of the mouths, predicted to reference."""
    return _measure(pair, "mouth", mouth_squares)


def measure_hair(pair: Pair, models: MetricModels) -> Figure:
    """Compute the ratio of the mean sharpness around the faces, predicted to reference."""
    return _measure(pair, "surroundings of the face", hair_rings)


def _measure(pair: Pair, part: str, regions: Callable[[FaceTrack], Sequence[Square | Mask]]) -> Figure:
    """Compute the ratio of the mean sharpness of a part, on frames in which both faces are found."""
    tracks = faces(pair)
    if isinstance(tracks, Figure):
        return tracks
    found = [regions(track) for track in tracks]
    sharp = []
    for t in np.flatnonzero(seen(*tracks)):
        videos = zip((pair.predicted, pair.reference), found, strict=True)
        parts = [laplacian(one.frames[t])[own[int(t)]] for one, own in videos]
        if min(values.size for values in parts) >= SMALLEST:
            sharp.append([values.var() for values in parts])
    if not sharp:
        return not_computed(f"no frame shows the {part} of both {pair.predicted.name} and {pair.reference.name}")
    made, true = np.mean(sharp, axis=0)
    if true == 0:
        return not_computed(f"the {part} of {pair.reference.name} shows nothing but one colour")
    return Figure(float(made / true), len(sharp))


def laplacian(image: Image) -> NDArray[np.float64]:
    """Compute the five-point Laplacian [H, W] of the luma, 0..255, of an image [H, W, 3] uint8."""
    from scipy.ndimage import laplace
    from skimage.color import rgb2gray

    return np.asarray(laplace(255 * rgb2gray(image)))


_SOURCE = "variance of the Laplacian: Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000"
MOUTH = Metric(
    "mouth_sharpness",
    "mouth sharpness",
    "variance of the luma's Laplacian around the mouth, mean over frames, over the reference's; 1 is as sharp",
    _SOURCE,
    f"luma at 256² in a square of {SIDE} times the lips' longer side, each video's from its own track",
    "real",
    measure_mouth,
)
HAIR = Metric(
    "hair_sharpness",
    "hair sharpness",
    "variance of the luma's Laplacian around the face, mean over frames, over the reference's; 1 is as sharp",
    _SOURCE,
    f"luma at 256² above the chin, up to {RING} of the face's height from the face, each video's from its own track",
    "real",
    measure_hair,
)
METRICS = (MOUTH, HAIR)
