"""Peak signal-to-noise ratio of a picture against the real one.

Equal pictures have an infinite one, which no table and no mean can hold: a frame counts for ``CEILING`` at most.
"""

from __future__ import annotations

import numpy as np

from thcli.evaluation.metric import Figure, Metric
from thcli.evaluation.metric_models import Models
from thcli.evaluation.recording import Pair
from thcli.records import Image

CEILING = 100.0
"""dB: about one value of one pixel of the picture off by one."""


def measure(pair: Pair, models: Models) -> Figure:
    """Mean over frames."""
    frames = zip(pair.predicted.frames, pair.reference.frames, strict=True)
    return Figure(float(np.mean([psnr(made, true) for made, true in frames])), len(pair))


def psnr(made: Image, true: Image) -> float:
    """Of two pictures [H, W, 3] uint8, in dB."""
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
