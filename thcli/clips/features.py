"""What the networks hear: log-mel steps of 10 ms, four a video frame, and where there is speech.

Step s is centred on sample 160 s + 80 of the recording, with a Hann window of 25 ms around it, so the four
steps of frame t lie inside the frame's 40 ms and their windows reach 7.5 ms beyond it.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from thcli.records import SAMPLE_RATE, SAMPLES_PER_FRAME, Float, Speech

STEPS_PER_FRAME = 4
HOP = SAMPLES_PER_FRAME // STEPS_PER_FRAME
WINDOW = SAMPLE_RATE * 25 // 1000
N_FFT = 512
N_MELS = 80
LOW_HZ, HIGH_HZ = 55.0, 7600.0
CHUNK_STEPS = 1024

FLOOR = -12.0
"""Lowest feature, in nepers of power below the speech level (-52 dB): what lies deeper is noise, not speech."""
LOUD = 99.0
"""Percentile of the step levels taken for the loudest speech; a click shorter than 1 % of the time does not move it."""
GATE_NEPERS = 20.0 / 10.0 * np.log(10.0)
"""Steps within 20 dB of the loudest count as speech when its level is measured; pauses and noise do not."""
_TINY = 1e-20
_LOWEST_LEVEL = -23.0
"""Natural log of mel power, about -84 dBFS: recordings below it are silence, not quiet speech."""

# Speech activity: thresholds in dB and lengths in steps of 10 ms.
_NOISE_WINDOW, _NOISE_PERCENTILE = 400, 10
_NOISE_CEILING = -20.0
_OPEN, _CLOSE = 0.5, 0.3
_SHORTEST_BURST, _LONGEST_GAP = 4, 12
_STEADY_RANGE = 6.0
_QUIETEST_POWER = 1e-8

SPEECH_HZ = (200.0, 4000.0)
VOWEL_HZ, VOICE_HZ, VOICE_WEIGHT = (1500.0, 4200.0), (0.0, 450.0), 0.5
"""An open mouth lets the upper formants out; hummed and closed sounds (m, b) are as loud below. See ``openness``."""


def log_mel(speech: Speech, chunk_steps: int = CHUNK_STEPS) -> Float:
    """Log-mel features: [T, 4, 80] float32, natural log of power over the recording's speech level, -12 at least.

    Loud and quiet recordings of the same speech give the same features: the level that is taken off is the mean
    log power (over the mel bands) of those steps that lie within 20 dB of the 99th percentile of all steps, so
    neither clicks nor long pauses nor background noise shift it. ``chunk_steps`` bounds the memory of the
    spectrum and changes nothing in the result. T is ``speech.n_frames``; beyond the ends there is silence.
    """
    power = _mel_power(speech.samples, speech.n_frames * STEPS_PER_FRAME, chunk_steps)
    level = _speech_level(power)
    np.log(np.maximum(power, _TINY, out=power), out=power)
    np.maximum(power - np.float32(level), np.float32(FLOOR), out=power)
    features: Float = power.reshape(-1, STEPS_PER_FRAME, N_MELS)
    return features


def framed(speech: Speech) -> Float:
    """The samples frame by frame: [T, 640] float32 at 16 kHz; after the end there is silence."""
    missing = speech.n_frames * SAMPLES_PER_FRAME - len(speech.samples)
    samples = np.pad(speech.samples, (0, missing)) if missing else speech.samples
    return np.asarray(samples, np.float32).reshape(-1, SAMPLES_PER_FRAME)


def speech_activity(speech: Speech) -> Float:
    """How much of each frame is speech: [T] float32 in 0..1, multiples of a quarter.

    An energy gate between 200 and 4000 Hz: it opens half-way (in dB) between the noise floor, a low percentile of
    the four seconds around, and the speech level, and closes at 30 % of the way; bursts shorter than 40 ms are
    dropped, gaps up to 120 ms filled. Silence below about -60 dBFS and steady noise count as no speech.
    """
    power = _mel_power(speech.samples, speech.n_frames * STEPS_PER_FRAME, CHUNK_STEPS)
    band = power[:, _bands(*SPEECH_HZ)].mean(axis=1)
    nothing = np.zeros(speech.n_frames, np.float32)
    if np.percentile(band, LOUD) < _QUIETEST_POWER:
        return nothing
    level = 10.0 * np.log10(np.maximum(band, _TINY)) - 10.0 / np.log(10.0) * _speech_level(band[:, None])
    if np.percentile(level, 95) - np.percentile(level, 5) < _STEADY_RANGE and len(level) > _NOISE_WINDOW // 8:
        return nothing
    active = _hysteresis(level, _noise_floor(level))
    share: Float = active.reshape(-1, STEPS_PER_FRAME).mean(axis=1, dtype=np.float32)
    return share


def openness(features: Float) -> Float:
    """How open the mouth sounds: [T] float32, nepers, from log-mel features [T, 4, 80].

    Mean level between 1.5 and 4.2 kHz, less half of that below 450 Hz. Over 97 training clips it goes with the mouth's
    opening at 0.43 in the mean where the two are in step; the loudness of all bands does at 0.28.
    """
    level = features.mean(axis=1)
    upper, lower = (level[:, _bands(*limits)].mean(axis=1) for limits in (VOWEL_HZ, VOICE_HZ))
    return np.asarray(upper - VOICE_WEIGHT * lower, np.float32)


def _mel_power(samples: Float, n_steps: int, chunk_steps: int) -> Float:
    """Mel power [n_steps, 80] float32 of a recording, computed a chunk of steps at a time."""
    bank, window = _mel_bank(), np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    margin = (WINDOW - HOP) // 2
    power = np.empty((n_steps, N_MELS), np.float32)
    for first in range(0, n_steps, chunk_steps):
        last = min(first + chunk_steps, n_steps)
        begin, end = first * HOP - margin, (last - 1) * HOP - margin + WINDOW
        piece = samples[max(begin, 0) : end]
        padded = np.pad(piece, (max(-begin, 0), max(end - max(begin, 0) - len(piece), 0)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        spectrum = np.fft.rfft(frames * window, N_FFT)
        power[first:last] = (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ bank
    return power


def _speech_level(power: Float) -> float:
    """Mean log power of the steps in which someone speaks; power is [steps, bands]."""
    loudness = np.log(np.maximum(power.mean(axis=1), _TINY))
    speaking = loudness > np.percentile(loudness, LOUD) - GATE_NEPERS
    return max(float(loudness[speaking].mean()), _LOWEST_LEVEL)


def _noise_floor(level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Slowly moving floor [steps] in dB, never so high that speech without pauses would be taken for noise."""
    from scipy.ndimage import percentile_filter, uniform_filter1d

    floor = percentile_filter(level, _NOISE_PERCENTILE, size=min(_NOISE_WINDOW, len(level)), mode="nearest")
    smooth = uniform_filter1d(floor, size=_NOISE_WINDOW // 4, mode="nearest")
    ceiling: NDArray[np.floating] = np.minimum(smooth, _NOISE_CEILING)
    return ceiling


def _hysteresis(level: NDArray[np.floating], floor: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Steps above the lower threshold whose run somewhere exceeds the upper one; level 0 is that of speech."""
    runs = _runs(level > floor * (1.0 - _CLOSE))
    opened = level > floor * (1.0 - _OPEN)
    runs = [(begin, end) for begin, end in runs if end - begin >= _SHORTEST_BURST and opened[begin:end].any()]
    active = np.zeros(len(level), bool)
    for i, (begin, end) in enumerate(runs):
        follows = i > 0 and begin - runs[i - 1][1] <= _LONGEST_GAP
        active[runs[i - 1][1] if follows else begin : end] = True
    return active


def _runs(mask: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Half-open intervals where the mask holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], mask, [False]]).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


@lru_cache(maxsize=1)
def _mel_bank() -> Float:
    """librosa's Slaney filter bank, [N_FFT / 2 + 1, 80] float32, for a window of unit gain.

    The triangles peak at 1: wide bands gather more power, which offsets the fall of speech toward high frequencies.
    """
    from librosa.filters import mel  # 1 s of import, numba and scipy.signal, hence here

    bank = mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=LOW_HZ, fmax=HIGH_HZ, norm=None)
    return np.ascontiguousarray(bank.T / np.float32(WINDOW / 2) ** 2, dtype=np.float32)


def _bands(low: float, high: float) -> slice:
    """Mel bands whose centre lies from ``low`` to below ``high``, Hz."""
    centre = _mel_bank().argmax(axis=0) * SAMPLE_RATE / N_FFT
    return slice(int(np.searchsorted(centre, low)), int(np.searchsorted(centre, high)))
