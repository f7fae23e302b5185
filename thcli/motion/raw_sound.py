"""Sound as the raw front end of Psi hears it (§3.2): samples at 50 kHz, 2,000 a frame, the level of speech being 1."""

from __future__ import annotations

import numpy as np

from thcli.records import SAMPLES_PER_FRAME, Float

UP, DOWN = 25, 8
"""50 kHz for every 16 kHz."""
GATE = 0.1
"""Frames within 20 dB of the loudest are speech."""
LOUD = 99.0
"""Percentile of the frames' levels taken for the loudest."""
QUIETEST = 1e-4
"""Level, of full scale, below which a recording is silence rather than quiet speech."""


def speech_level(samples: Float) -> float:
    """Root mean square of the frames in which someone speaks; samples: [T, 640]."""
    if not len(samples):
        return 1.0
    level = np.sqrt(np.einsum("ts,ts->t", samples, samples) / samples.shape[1])
    speech = level[level >= GATE * np.percentile(level, LOUD)]
    return max(float(np.sqrt(np.square(speech).mean())), QUIETEST)


def resampled(samples: Float) -> Float:
    """Samples [T + 2, 640] at 16 kHz to the inner frames' [T, 2000] at 50 kHz.

    The filter reaches 10 samples at 16 kHz, far less than the frame at either end, so that a recording may be taken
    in parts with the very same result.
    """
    from scipy.signal import resample_poly

    inner = slice(SAMPLES_PER_FRAME * UP // DOWN, -SAMPLES_PER_FRAME * UP // DOWN)
    whole = resample_poly(samples.astype(np.float32, copy=False).ravel(), UP, DOWN)[inner]
    return np.asarray(whole, np.float32).reshape(len(samples) - 2, -1)
