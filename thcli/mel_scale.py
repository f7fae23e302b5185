"""Slaney's mel scale (Auditory Toolbox, 1998), and filters on it: linear below 1 kHz, and logarithmic above."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.records import SAMPLE_RATE, Float

_KNEE_HZ, _MEL_HZ, _MEL_LOG = 1000.0, 200.0 / 3, np.log(6.4) / 27
"""Frequency up to which the scale is linear, Hz; Hz per mel below it; natural logarithm of the ratio of frequencies per
mel above it."""


def mel_corners(bands: int, low: float, high: float) -> NDArray[np.float64]:
    """Return the corners [bands + 2], Hz, of triangles that are evenly spaced on the scale from ``low`` to ``high`` Hz.

    Triangle b rises from corner b to corner b + 1 and falls to corner b + 2.
    """
    return _hz_of(np.linspace(_mel_of(low), _mel_of(high), bands + 2))


def mel_triangles(corners: NDArray[np.float64], n_fft: int) -> NDArray[np.float64]:
    """Return triangular filters of height 1, [bands, n_fft / 2 + 1], for spectra of ``n_fft`` samples at 16 kHz.

    Their values are those of ``librosa.filters.mel`` with ``norm=None``; librosa itself brings numba, which takes a
    second to import and wants a folder that it can write to.
    """
    distance = corners[:, None] - np.fft.rfftfreq(n_fft, 1 / SAMPLE_RATE)
    width = np.diff(corners)[:, None]
    return np.asarray(np.maximum(0, np.minimum(-distance[:-2] / width[:-1], distance[2:] / width[1:])))


def columns(filters: NDArray[np.floating]) -> Float:
    """Return filters [bands, bins] as columns [bins, bands] float32, by which spectra are multiplied."""
    return np.ascontiguousarray(filters.T, dtype=np.float32)


def _mel_of(hz: float) -> float:
    """Return a frequency on the scale."""
    return hz / _MEL_HZ if hz < _KNEE_HZ else _KNEE_HZ / _MEL_HZ + float(np.log(hz / _KNEE_HZ)) / _MEL_LOG


def _hz_of(mel: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the frequencies, Hz, of places on the scale: the inverse of ``_mel_of``."""
    knee = _KNEE_HZ / _MEL_HZ
    return np.where(mel < knee, mel * _MEL_HZ, _KNEE_HZ * np.exp(_MEL_LOG * (mel - knee)))
