"""Filters of curves over time, by OpenCV and NumPy: it takes a quarter of a second to import SciPy's."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from thcli.opencv import cv2

Curve = TypeVar("Curve", bound=np.floating)

TAILS = 4.0
"""Standard deviations from its centre at which a Gaussian is cut off."""
PIECE = 4096
"""Windows that are sorted at a time."""


def smoothed(curve: NDArray[Curve], sigma: float) -> NDArray[Curve]:
    """Return curves [T, ...] smoothed over time by a Gaussian of standard deviation ``sigma`` frames; ends are held."""
    kernel = cv2.getGaussianKernel(2 * int(TAILS * sigma + 0.5) + 1, sigma, cv2.CV_64F)
    columns = np.asarray(curve, np.float64).reshape(len(curve), -1)
    smooth = cv2.sepFilter2D(columns, -1, np.ones(1), kernel, borderType=cv2.BORDER_REPLICATE)
    return smooth.reshape(curve.shape).astype(curve.dtype)


def averaged_over(curve: NDArray[Curve], size: int) -> NDArray[Curve]:
    """Return the means of a curve [T] over the ``size`` values around each; ends are held."""
    return cv2.blur(curve[:, None], (1, size), borderType=cv2.BORDER_REPLICATE)[:, 0].astype(curve.dtype)


def percentile_around(curve: NDArray[Curve], percent: int, size: int) -> NDArray[Curve]:
    """Return the value of a curve [T] that ``percent`` of the ``size`` values around each lie below; ends are held."""
    rank, before = size * percent // 100, size // 2
    windows = sliding_window_view(np.pad(curve, (before, size - 1 - before), "edge"), size)
    found = [
        np.partition(windows[first : first + PIECE], rank, axis=1)[:, rank] for first in range(0, len(curve), PIECE)
    ]
    return np.concatenate(found)
