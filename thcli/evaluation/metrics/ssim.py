"""Structural similarity (SSIM) with its authors' 11x11 Gaussian window, on RGB at 256².

The mean is taken over channels, frames, and the pixels whose window lies wholly in the image, which leaves out a border
of five pixels.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.records import Image

SIGMA = 1.5
"""Standard deviation of the Gaussian window in px; cut off at 3.5 deviations, the window is 11 px wide."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean similarity over frames."""
    frames = zip(pair.predicted.frames, pair.reference.frames, strict=True)
    return Figure(float(np.mean([ssim(made, true) for made, true in frames])), len(pair))


def ssim(made: Image, true: Image) -> float:
    """Compute the similarity of two images [H, W, 3] uint8; it is at most 1, for equal images."""
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(
            made,
            true,
            channel_axis=2,
            data_range=255,
            gaussian_weights=True,
            sigma=SIGMA,
            use_sample_covariance=False,
        )
    )


METRICS = (
    Metric(
        "ssim",
        "SSIM",
        "structural similarity with an 11x11 Gaussian window (sigma 1.5), mean over pixels, channels and frames",
        "Wang et al., Image Quality Assessment, IEEE TIP 2004; scikit-image",
        "RGB 0..255 at 256², frame by frame; a border of 5 pixels is left out; at most 1",
        "higher",
        measure,
    ),
)
