"""Filters of curves agree with SciPy's."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d, percentile_filter, uniform_filter1d

from thcli.smoothing import PIECE, averaged_over, percentile_around, smoothed

LENGTHS = [1, 2, 7, 300, PIECE + 5]


def curve(*shape):
    return np.random.default_rng(3).normal(size=shape)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("sigma", [0.4, 2.0, 30.0])
def test_smoothed_equals_scipys_gaussian(length, sigma):
    for given in (curve(length), curve(length, 3), curve(length, 2, 3).astype(np.float32)):
        smooth = smoothed(given, sigma)
        assert (smooth.shape, smooth.dtype) == (given.shape, given.dtype)
        np.testing.assert_allclose(smooth, gaussian_filter1d(given, sigma, axis=0, mode="nearest"), atol=1e-6)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("size", [1, 6, 51])
def test_averages_and_percentiles_around_equal_scipys(length, size):
    given = curve(length)
    expected = uniform_filter1d(given, size, mode="nearest")
    np.testing.assert_allclose(averaged_over(given, size), expected, atol=1e-12)
    for percent in (10, 50):
        expected = percentile_filter(given, percent, size=size, mode="nearest")
        np.testing.assert_array_equal(percentile_around(given, percent, size), expected)
