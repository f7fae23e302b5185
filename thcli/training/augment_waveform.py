"""Speech as other microphones and rooms would have it: changes of raw samples, §3.2."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thcli.config import SpeechAugment
from thcli.records import SAMPLE_RATE, Float
from thcli.training.augment_speech import SNR_DB

LONGEST_MASK = 800
"""Samples silenced at a time: 50 ms."""
DECAY_SECONDS = (0.1, 0.5)
"""In which a room's sound falls by 60 dB."""
DIRECT_DB = (0.0, 12.0)
"""By how much the direct sound is louder than the room's."""
_QUIETEST = 1e-9


def augment_waveform(
    samples: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator
) -> Float:
    """samples: [N] at 16 kHz; others: sounds of at least N samples to take noise from; returns [N] float32.

    The room comes first, as it colours the voice and not the noise; the microphone's colour falls on both.
    """
    x = samples
    if random.random() < options.reverberation:
        x = _reverberant(x, random)
    if random.random() < options.noise:
        x = _noisy(x, others, options, random)
    x = _coloured(x, random.uniform(-options.gain_db, options.gain_db), _tilt(options, random))
    if random.random() < options.mask:
        first = random.integers(0, len(x))
        x[first : first + random.integers(1, LONGEST_MASK + 1)] = 0
    return x.astype(np.float32)


def _reverberant(x: Float, random: np.random.Generator) -> Float:
    """With the sound of a room: an impulse and noise that decays exponentially."""
    from scipy.signal import fftconvolve

    seconds = random.uniform(*DECAY_SECONDS)
    time = np.arange(1, int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tail = random.normal(size=len(time)) * np.exp(-np.log(1000.0) * time / seconds)
    tail *= 10 ** (-random.uniform(*DIRECT_DB) / 20) / np.linalg.norm(tail)
    return np.asarray(fftconvolve(x, np.concatenate([[1.0], tail]))[: len(x)])


def _noisy(x: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator) -> Float:
    """With another speaker's sound or coloured noise."""
    if random.random() < 0.5:
        source = others[int(random.integers(len(others)))]
        first = random.integers(0, len(source) - len(x) + 1)
        noise = source[first : first + len(x)]
    else:
        noise = _coloured(random.normal(size=len(x)).astype(np.float32), 0.0, _tilt(options, random))
    power = max(float(np.square(noise).mean()), _QUIETEST)
    return x + noise * np.sqrt(np.square(x).mean() / power * 10 ** (-random.choice(SNR_DB) / 10))


def _tilt(options: SpeechAugment, random: np.random.Generator) -> float:
    return float(random.uniform(-options.tilt_db, options.tilt_db))


def _coloured(x: Float, gain_db: float, tilt_db: float) -> Float:
    """Louder by ``gain_db``, with a spectrum that rises by ``tilt_db`` from end to end of the mel scale."""
    spectrum = np.fft.rfft(x)
    mel = np.log1p(np.linspace(0, SAMPLE_RATE / 2, len(spectrum)) / 700)
    spectrum *= 10 ** ((gain_db + tilt_db * (mel / mel[-1] - 0.5)) / 20)
    return np.asarray(np.fft.irfft(spectrum, len(x)))
