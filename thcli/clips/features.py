"""Audio features for the networks: log-mel steps of 10 ms, four per video frame, and speech activity.

Step s is centred on sample 160 s + 80 of the recording, with a Hann window of 25 ms around it, so the four
steps of frame t lie inside the frame's 40 ms and their windows reach 7.5 ms beyond it.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from thcli.mel_scale import columns, mel_corners, mel_triangles
from thcli.records import LOG_MEL_SILENCE, SAMPLE_RATE, SAMPLES_PER_FRAME, AudioFeatures, Float, Speech
from thcli.runs import runs_of
from thcli.smoothing import averaged_over, percentile_around

STEPS_PER_FRAME = 4
"""Log-mel steps per video frame."""
HOP = SAMPLES_PER_FRAME // STEPS_PER_FRAME
"""Samples from one step to the next: 10 ms."""
WINDOW = SAMPLE_RATE * 25 // 1000
"""Samples of the window of a step: 25 ms."""
N_FFT = 512
"""Samples of the Fourier transform; the window is padded with zeros."""
N_MELS = 80
"""Mel bands of a step."""
LOW_HZ, HIGH_HZ = 55.0, 7600.0
"""Lowest and highest frequency of the mel bands, Hz."""
CHUNK_STEPS = 1024
"""Steps whose spectrum is computed at a time, by default."""

LOUD = 99.0
"""Percentile of the step levels taken as the loudest speech; a click shorter than 1 % of the time does not move it."""
GATE_NEPERS = 20.0 / 10.0 * np.log(10.0)
"""Distance from the loudest level, nepers of power (20 dB), within which a step counts as speech when the speech level
is measured; pauses and noise lie below."""
_TINY = 1e-20
"""Least power of which a logarithm is taken."""
_LOWEST_LEVEL = -23.0
"""Lowest speech level, natural log of mel power (about -84 dBFS); recordings below it are silence, not quiet speech."""

# Speech activity: thresholds in dB and lengths in steps of 10 ms.
_NOISE_WINDOW, _NOISE_PERCENTILE = 400, 10
"""Steps around a step, and percentile of their levels, that give the noise floor."""
_NOISE_CEILING = -20.0
"""Highest noise floor, dB from the speech level."""
_OPEN, _CLOSE = 0.5, 0.3
"""Levels at which the gate opens and closes, as shares of the way from the noise floor to the speech level in dB."""
_SHORTEST_BURST, _LONGEST_GAP = 4, 12
"""Least steps of a burst that is kept, and most steps of a gap that is filled."""
_STEADY_RANGE = 6.0
"""Range in dB from the 5th to the 95th percentile below which a recording is steady noise."""
_QUIETEST_POWER = 1e-8
"""Power of the loudest speech below which a recording is silent, about -60 dBFS."""

SPEECH_HZ = (200.0, 4000.0)
"""Band whose level decides about speech activity, Hz."""
VOWEL_HZ, VOICE_HZ, VOICE_WEIGHT = (1500.0, 4200.0), (0.0, 450.0), 0.5
"""Bands of the upper formants and of the voice, Hz, and weight of the voice's band in ``openness``.

An open mouth lets the upper formants out; hummed and closed sounds (m, b) are as loud in the band of the voice.
"""


def audio_features(speech: Speech | None, frames: int | None = None) -> AudioFeatures:
    """Compute the features of the first ``frames`` frames of a recording, or of all; of no frames for no recording."""
    if speech is None:
        none = np.zeros((0, STEPS_PER_FRAME, N_MELS), np.float32)
        return AudioFeatures(none, np.zeros((0, SAMPLES_PER_FRAME), np.float32))
    return AudioFeatures(log_mel(speech)[:frames], framed(speech)[:frames])


def log_mel(speech: Speech, chunk_steps: int = CHUNK_STEPS) -> Float:
    """Compute log-mel features [T, 4, 80] float32: natural log of power over the recording's speech level.

    Loud and quiet recordings of the same speech give the same features: the level that is subtracted is the mean
    log power (over the mel bands) of the steps within ``GATE_NEPERS`` of percentile ``LOUD`` of all steps, so
    neither clicks nor long pauses nor background noise shift it. Features are at least ``LOG_MEL_SILENCE``. T is
    ``speech.n_frames``; beyond the ends there is silence.

    chunk_steps: steps computed at a time; it bounds the memory of the spectrum and does not change the result
    """
    power = np.empty((speech.n_frames * STEPS_PER_FRAME, N_MELS), np.float32)
    for first, piece in _mel_power(speech.samples, len(power), chunk_steps):
        power[first : first + len(piece)] = piece
    level = _speech_level(power)
    np.log(np.maximum(power, _TINY, out=power), out=power)
    power -= np.float32(level)
    np.maximum(power, np.float32(LOG_MEL_SILENCE), out=power)
    features: Float = power.reshape(-1, STEPS_PER_FRAME, N_MELS)
    return features


def framed(speech: Speech) -> Float:
    """Return the samples frame by frame: [T, 640] float32 at 16 kHz; after the end there is silence."""
    missing = speech.n_frames * SAMPLES_PER_FRAME - len(speech.samples)
    samples = np.pad(speech.samples, (0, missing)) if missing else speech.samples
    return np.asarray(samples, np.float32).reshape(-1, SAMPLES_PER_FRAME)


def speech_activity(speech: Speech) -> Float:
    """Compute the share of each frame that is speech: [T] float32 in 0..1, multiples of a quarter.

    An energy gate on the band ``SPEECH_HZ`` opens half-way (in dB) from the noise floor, a low percentile of the four
    seconds around, to the speech level, and closes at 30 % of the way. Bursts shorter than 40 ms are dropped, and gaps
    up to 120 ms filled. Silence below about -60 dBFS and steady noise count as no speech.
    """
    steps, bands = speech.n_frames * STEPS_PER_FRAME, _bands(*SPEECH_HZ)
    pieces = _mel_power(speech.samples, steps, CHUNK_STEPS)
    band = np.concatenate([power[:, bands].mean(axis=1) for _, power in pieces])
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
    """Estimate how open the mouth is from log-mel features [T, 4, 80]: [T] float32, nepers.

    It is the mean level between 1.5 and 4.2 kHz, less half of that below 450 Hz. Over 97 training clips its mean
    correlation with the mouth's opening is 0.43 where audio and video are in step; that of the loudness of all bands
    is 0.28.
    """
    level = features.mean(axis=1)
    upper, lower = (level[:, _bands(*limits)].mean(axis=1) for limits in (VOWEL_HZ, VOICE_HZ))
    return np.asarray(upper - VOICE_WEIGHT * lower, np.float32)


def _mel_power(samples: Float, n_steps: int, chunk_steps: int) -> Iterator[tuple[int, Float]]:
    """Yield the mel power of a recording in pieces: first step, and [n, 80] float32 with n up to ``chunk_steps``."""
    bank, window = mel_bank(), np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    margin = (WINDOW - HOP) // 2
    for first in range(0, n_steps, chunk_steps):
        last = min(first + chunk_steps, n_steps)
        begin, end = first * HOP - margin, (last - 1) * HOP - margin + WINDOW
        piece = samples[max(begin, 0) : end]
        padded = np.pad(piece, (max(-begin, 0), max(end - max(begin, 0) - len(piece), 0)))
        frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
        spectrum = np.fft.rfft(frames * window, N_FFT)
        yield first, (spectrum.real**2 + spectrum.imag**2).astype(np.float32) @ bank


def _speech_level(power: Float) -> float:
    """Return the mean log power of the steps of power [steps, bands] in which someone speaks."""
    loudness = np.log(np.maximum(power.mean(axis=1), _TINY))
    speaking = loudness > np.percentile(loudness, LOUD) - GATE_NEPERS
    return max(float(loudness[speaking].mean()), _LOWEST_LEVEL)


def _noise_floor(level: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the slowly moving noise floor [steps] in dB, never so high that speech without pauses counts as noise."""
    floor = percentile_around(level, _NOISE_PERCENTILE, min(_NOISE_WINDOW, len(level)))
    smooth = averaged_over(floor, _NOISE_WINDOW // 4)
    ceiling: NDArray[np.floating] = np.minimum(smooth, _NOISE_CEILING)
    return ceiling


def _hysteresis(level: NDArray[np.floating], floor: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return the steps above the lower threshold whose run exceeds the upper one somewhere; speech has level 0 dB."""
    runs = runs_of(level > floor * (1.0 - _CLOSE))
    opened = level > floor * (1.0 - _OPEN)
    runs = [(begin, end) for begin, end in runs if end - begin >= _SHORTEST_BURST and opened[begin:end].any()]
    active = np.zeros(len(level), bool)
    for i, (begin, end) in enumerate(runs):
        follows = i > 0 and begin - runs[i - 1][1] <= _LONGEST_GAP
        active[runs[i - 1][1] if follows else begin : end] = True
    return active


@lru_cache(maxsize=1)
def mel_bank() -> Float:
    """Return triangular filters on Slaney's mel scale, [N_FFT / 2 + 1, 80] float32, for a window of unit gain.

    The triangles peak at 1: wide bands gather more power, which offsets the fall of speech toward high frequencies.
    """
    triangles = mel_triangles(mel_corners(N_MELS, LOW_HZ, HIGH_HZ), N_FFT).astype(np.float32)
    return columns(triangles / np.float32(WINDOW / 2) ** 2)


def _bands(low: float, high: float) -> slice:
    """Return the mel bands whose centre lies from ``low`` to below ``high``, Hz."""
    centre = mel_bank().argmax(axis=0) * SAMPLE_RATE / N_FFT
    return slice(int(np.searchsorted(centre, low)), int(np.searchsorted(centre, high)))
