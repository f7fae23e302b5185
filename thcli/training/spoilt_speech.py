"""Speech as the world spoils it: noise of every kind, rooms and narrow lines, as raw samples (§3.2).

``augment_waveform`` changes speech a little, so that Ψ does not learn its recordings by heart; this spoils it as much
as a listener still understands, so that the speech encoder's adapter learns to hear through it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from thcli.configs.sections import SpeechSpoiling
from thcli.records import SAMPLE_RATE, Float
from thcli.training.augment_waveform import coloured, reverberant

BABBLE = 5
"""Voices that speak at once in babble."""
TILT_DB = 20.0
"""Largest tilt of coloured noise from end to end of the mel scale, dB."""
LOWEST_HZ, HIGHEST_HZ = (60.0, 450.0), (2500.0, 7000.0)
"""Ranges of the lowest and the highest frequency that a narrow line passes."""
BEAT_SECONDS = (0.25, 0.7)
"""Shortest and longest time from one beat of music to the next."""
OVERTONES = 5
"""Partials of a note."""
_QUIETEST = 1e-9
"""Least effective value of noise, a guard against division by zero."""


def spoilt(samples: Float, voices: Sequence[Float], options: SpeechSpoiling, random: np.random.Generator) -> Float:
    """Spoil samples [S] of speech at 16 kHz at random, or leave them as they are, and return [S] float32.

    voices: recordings of other speakers, from which noise is taken
    """
    if random.random() < options.clean:
        return samples
    x = samples
    if random.random() < options.room:
        x = reverberant(x, random)
    if random.random() < options.noise:
        kind = _KINDS[int(random.choice(len(_KINDS), p=_SHARES))]
        other = kind(len(x), voices, random)
        lowest, highest = options.decibels
        level = 10 ** (-random.uniform(lowest, highest) / 20)
        x = x + other * (x.std() * level / max(float(other.std()), _QUIETEST))
    if random.random() < options.narrow:
        x = _narrow(x, random)
    return np.asarray(x, np.float32)


def white(count: int, voices: Sequence[Float], random: np.random.Generator) -> Float:
    """Return noise that is as strong at all frequencies."""
    return random.normal(size=count).astype(np.float32)


def tilted(count: int, voices: Sequence[Float], random: np.random.Generator) -> Float:
    """Return noise whose spectrum is tilted, as that of traffic, fans and wind."""
    return coloured(white(count, voices, random), 0.0, float(random.uniform(-TILT_DB, TILT_DB)))


def voice(count: int, voices: Sequence[Float], random: np.random.Generator) -> Float:
    """Return a piece of another speaker's recording, which is repeated where it is too short."""
    chosen = voices[int(random.integers(len(voices)))]
    first = int(random.integers(max(len(chosen) - count, 0) + 1))
    return np.resize(chosen[first : first + count], count)


def babble(count: int, voices: Sequence[Float], random: np.random.Generator) -> Float:
    """Return ``BABBLE`` voices at once."""
    return np.sum([voice(count, voices, random) for _ in range(BABBLE)], axis=0)


def music(count: int, voices: Sequence[Float], random: np.random.Generator) -> Float:
    """Return random chords of notes with overtones, one a bar, with or without a drum on the beats."""
    beat = int(random.uniform(*BEAT_SECONDS) * SAMPLE_RATE)
    time = np.arange(count) / SAMPLE_RATE
    played, bar = np.zeros(count), beat * int(random.integers(1, 9))
    for first in range(0, count, bar):
        there = time[first : first + bar]
        for pitch in random.uniform(36, 84, random.integers(1, 5)):
            hertz = 440 * 2 ** ((pitch - 69) / 12)
            for k in range(1, OVERTONES + 1):
                played[first : first + bar] += np.sin(2 * np.pi * (hertz * k * there + random.random())) / k
    fading = np.exp(-random.uniform(5, 60) * (np.arange(count) % beat) / SAMPLE_RATE)
    return np.asarray(played + random.uniform(0, 4) * fading * random.normal(size=count), np.float32)


def _narrow(x: Float, random: np.random.Generator) -> Float:
    """Return what a telephone or another narrow line passes."""
    from scipy.signal import butter, sosfiltfilt

    band = random.uniform(*LOWEST_HZ), random.uniform(*HIGHEST_HZ)
    order = int(random.integers(2, 7))
    return np.asarray(sosfiltfilt(butter(order, band, "bandpass", fs=SAMPLE_RATE, output="sos"), x))


_KINDS: tuple[Callable[[int, Sequence[Float], np.random.Generator], Float], ...] = (white, tilted, voice, babble, music)
_SHARES = (0.3, 0.2, 0.2, 0.1, 0.2)
"""Kinds of noise, and how often each is chosen."""
