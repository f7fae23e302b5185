"""Input of Ψ's raw front end (§3.2): samples at 50 kHz, 2,000 per frame, scaled to a speech level of 1."""

from __future__ import annotations

import numpy as np

from thcli.records import SAMPLES_PER_FRAME, Float

UP, DOWN = 25, 8
"""Factors of the resampling from 16 kHz to 50 kHz."""
GATE = 0.1
"""Least level of a frame of speech over that of the loudest frames, 20 dB below them."""
LOUD = 99.0
"""Percentile of the frames' levels that gives the level of the loudest frames."""
QUIETEST = 1e-4
"""Least speech level, over full scale; a quieter recording is silence rather than quiet speech."""


def speech_level(samples: Float) -> float:
    """Return the root mean square of the frames with speech; samples: [T, 640]."""
    if not len(samples):
        return 1.0
    level = np.sqrt(np.einsum("ts,ts->t", samples, samples) / samples.shape[1])
    speech = level[level >= GATE * np.percentile(level, LOUD)]
    return max(float(np.sqrt(np.square(speech).mean())), QUIETEST)


def resampled(samples: Float) -> Float:
    """Resample frames [T + 2, 640] at 16 kHz to the inner frames [T, 2000] at 50 kHz.

    The filter reaches 10 samples at 16 kHz, far less than the extra frame at either end, so a recording that is
    resampled in parts gives the same result as a whole.
    """
    from scipy.signal import resample_poly

    inner = slice(SAMPLES_PER_FRAME * UP // DOWN, -SAMPLES_PER_FRAME * UP // DOWN)
    whole = resample_poly(samples.astype(np.float32, copy=False).ravel(), UP, DOWN)[inner]
    return np.asarray(whole, np.float32).reshape(len(samples) - 2, -1)
