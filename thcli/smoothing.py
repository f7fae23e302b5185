"""Smoothing of curves over time, by SciPy, which is imported when it is first needed."""

from __future__ import annotations

import numpy as np


def smoothed(curve: np.ndarray, sigma: float) -> np.ndarray:
    """Return curves [T, ...] smoothed over time by a Gaussian of standard deviation ``sigma`` frames; ends are held."""
    from scipy.ndimage import gaussian_filter1d

    return np.asarray(gaussian_filter1d(curve, sigma, axis=0, mode="nearest"))
