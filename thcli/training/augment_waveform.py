"""Augmentation of speech as raw samples: other rooms, microphones and noise (§3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thcli.configs.sections import SpeechAugment
from thcli.records import SAMPLE_RATE, Float
from thcli.training.augment_speech import SNR_DB

LONGEST_MASK = 800
"""Most samples that are silenced: 50 ms."""
DECAY_SECONDS = (0.1, 0.5)
"""Shortest and longest time in seconds in which a room's reverberation falls by 60 dB."""
DIRECT_DB = (0.0, 12.0)
"""Least and largest level of the direct sound over the reverberation, dB."""
_QUIETEST = 1e-9
"""Least power of the noise, a guard against division by zero."""


def augment_waveform(
    samples: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator
) -> Float:
    """Augment samples [S] of speech at 16 kHz at random, and return [S] float32.

    The room's reverberation comes first, because it colours the voice and not the noise; the microphone colours both.

    others: recordings of at least S samples, from which noise is taken
    """
    x = samples
    if random.random() < options.reverberation:
        x = reverberant(x, random)
    if random.random() < options.noise:
        x = _noisy(x, others, options, random)
    x = coloured(x, random.uniform(-options.gain_db, options.gain_db), _tilt(options, random))
    if random.random() < options.mask:
        first = random.integers(0, len(x))
        x[first : first + random.integers(1, LONGEST_MASK + 1)] = 0
    return x.astype(np.float32)


def reverberant(x: Float, random: np.random.Generator) -> Float:
    """Add reverberation: convolve with an impulse and noise that decays exponentially."""
    from scipy.signal import fftconvolve

    seconds = random.uniform(*DECAY_SECONDS)
    time = np.arange(1, int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = random.normal(size=len(time)) * np.exp(-np.log(1000.0) * time / seconds)
    tail *= 10 ** (-random.uniform(*DIRECT_DB) / 20) / np.linalg.norm(tail)
    return np.asarray(fftconvolve(x, np.concatenate([[1.0], tail]))[: len(x)])


def _noisy(x: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator) -> Float:
    """Add another speaker's speech or coloured noise."""
    if random.random() < 0.5:
        source = others[int(random.integers(len(others)))]
        first = random.integers(0, len(source) - len(x) + 1)
        noise = source[first : first + len(x)]
    else:
        noise = coloured(random.normal(size=len(x)).astype(np.float32), 0.0, _tilt(options, random))
    power = max(float(np.square(noise).mean()), _QUIETEST)
    return x + noise * np.sqrt(np.square(x).mean() / power * 10 ** (-random.choice(SNR_DB) / 10))


def _tilt(options: SpeechAugment, random: np.random.Generator) -> float:
    """Random tilt of the spectrum, dB."""
    return float(random.uniform(-options.tilt_db, options.tilt_db))


def coloured(x: Float, gain_db: float, tilt_db: float) -> Float:
    """Amplify samples by ``gain_db``, and tilt the spectrum by ``tilt_db`` from end to end of the mel scale."""
    spectrum = np.fft.rfft(x)
    mel = np.log1p(np.linspace(0, SAMPLE_RATE / 2, len(spectrum)) / 700)
    spectrum *= 10 ** ((gain_db + tilt_db * (mel / mel[-1] - 0.5)) / 20)
    return np.asarray(np.fft.irfft(spectrum, len(x)))
