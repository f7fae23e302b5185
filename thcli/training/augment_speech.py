"""Augmentation of speech as log-mel features: other microphones, noise and voices (§3.2)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from thcli.configs.sections import SpeechAugment
from thcli.records import LOG_MEL_SILENCE, Float

SNR_DB = np.arange(6, 31, 3)
"""Signal-to-noise ratios in dB, of which one is chosen for the noise that is mixed in (§3.2)."""
_NEPERS_A_DB = np.log(10.0) / 10.0
"""Nepers of power per dB."""


def augment_speech(
    features: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator
) -> Float:
    """Augment log-mel features [T, 4, 80] of speech at random, and return [T, 4, 80] float32.

    others: log-mel features of recordings of at least T frames, from which noise is taken
    """
    x = _warped(features, options, random)
    x = x + _colour(x.shape[-1], options, random)
    if random.random() < options.noise:
        x = _noisy(x, others, options, random)
    if random.random() < options.mask:
        width, first = random.integers(1, 13), random.integers(0, x.shape[-1])
        x[..., first : first + width] = LOG_MEL_SILENCE
    if random.random() < options.mask:
        width, first = random.integers(1, 6), random.integers(0, len(x))
        x[first : first + width] = LOG_MEL_SILENCE
    return np.maximum(x, LOG_MEL_SILENCE).astype(np.float32)


def _warped(features: Float, options: SpeechAugment, random: np.random.Generator) -> Float:
    """Move formants up or down by stretching the mel axis about its lower end."""
    bands = features.shape[-1]
    places = np.clip(np.arange(bands) * (1 + random.uniform(-options.warp, options.warp)), 0, bands - 1)
    low = np.minimum(places.astype(int), bands - 2)
    part = (places - low).astype(np.float32)
    warped: Float = features[..., low] * (1 - part) + features[..., low + 1] * part
    return warped


def _colour(bands: int, options: SpeechAugment, random: np.random.Generator) -> Float:
    """Random gain and tilt of the spectrum: [bands] float32, nepers."""
    tilt = random.uniform(-options.tilt_db, options.tilt_db) / 2 * np.linspace(-1, 1, bands)
    colour: Float = ((random.uniform(-options.gain_db, options.gain_db) + tilt) * _NEPERS_A_DB).astype(np.float32)
    return colour


def _noisy(x: Float, others: Sequence[Float], options: SpeechAugment, random: np.random.Generator) -> Float:
    """Add noise as power, which is right on average because speech and noise have no common phase."""
    if random.random() < 0.5:
        source = others[int(random.integers(len(others)))]
        first = random.integers(0, len(source) - len(x) + 1)
        noise = np.exp(source[first : first + len(x)])
    else:
        noise = random.exponential(size=x.shape) * np.exp(_colour(x.shape[-1], options, random))
    ratio = np.exp(-random.choice(SNR_DB) * _NEPERS_A_DB)
    level = np.exp(x).mean() / max(float(noise.mean()), 1e-9)
    noisy: Float = np.log(np.exp(x) + noise * (level * ratio))
    return noisy
