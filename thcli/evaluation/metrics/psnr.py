"""Peak signal-to-noise ratio (PSNR) of frames against the real ones.

The ratio of equal images is infinite, which no table and no mean can hold, so a frame counts as at most ``CEILING``.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.recording import Pair
from thcli.records import Image

CEILING = 100.0
"""Largest ratio in dB; a single value of a 256² image that is off by one gives about this."""


def measure(pair: Pair, models: MetricModels) -> Figure:
    """Compute the mean ratio over frames, dB."""
    frames = zip(pair.predicted.frames, pair.reference.frames, strict=True)
    return Figure(float(np.mean([psnr(made, true) for made, true in frames])), len(pair))


def psnr(made: Image, true: Image) -> float:
    """Compute the ratio of two images [H, W, 3] uint8, dB."""
    error = float(((made.astype(np.float64) - true) ** 2).mean())
    return CEILING if error == 0 else min(CEILING, 10 * float(np.log10(255**2 / error)))


METRICS = (
    Metric(
        "psnr",
        "PSNR",
        f"peak signal-to-noise ratio of each frame in dB, mean over frames; equal frames count as {CEILING:g} dB",
        "standard: 10 log10(255² / mean squared error)",
        "RGB 0..255 at 256², frame by frame",
        "higher",
        measure,
    ),
)
