"""Prediction of the expression of a whole speech by Ψ (§3.2), in chunks that limit the memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from thcli.motion.raw_sound import resampled, speech_level
from thcli.motion.speech_codes import Encoder, code_reader
from thcli.records import LOG_MEL_SILENCE, AudioFeatures, Float
from thgen_models.expression import ExpressionNetwork

Read = Callable[[int, int], Float]
"""Function that returns the input of Ψ for frames first..last - 1, also beyond the ends of the recording."""

CHUNK = {"log_mel": 1000, "encoder": 1000, "raw": 100}
"""Frames per chunk, by front end."""
SPEAKING = -6.0
"""Mean log-mel feature above which a step (10 ms) counts as speech."""
USUAL_MEAN, USUAL_DEVIATION = -3.6, 2.3
"""Prior mean and standard deviation of a band's log-mel features in speech: averages over bands and recordings."""
PART = 8192
"""Steps whose statistics are summed at a time."""
TRUST = 100
"""Steps of speech (one second) at which a recording's own statistics weigh as much as the prior."""


@dataclass(frozen=True)
class Prediction:
    """Expressions that Ψ predicts for a speech of T frames.

    expression: [T, 20] float32
    closure: [T] float32, probability that the lips are closed; zeros where the network does not say
    """

    expression: Float
    closure: Float


def predict_expression(
    network: ExpressionNetwork,
    audio: AudioFeatures,
    reference: Float,
    encoder: Encoder | None = None,
    chunk: int | None = None,
) -> Prediction:
    """Predict the expression of every frame of a speech with a network, on the network's device.

    audio: features of the speech, of which the network's front end takes the log-mel features or the samples
    reference: [20], expression of the reference face, ideally the median over the reference clip
    encoder: the speech encoder, for the front end ``encoder``
    chunk: frames per chunk, which does not change the result; ``CHUNK`` by default
    """
    front_end = network.dims.front_end
    if front_end == "raw":
        read = _read_samples(audio.samples)
    elif encoder is not None and front_end == "encoder":
        read = _read_codes(audio, encoder)
    else:
        read = _read_features(audio.log_mel, network.dims.mels)
    said = _predict(network, read, len(audio.log_mel), reference, chunk)
    count = network.dims.coefficients
    closure = 1 / (1 + np.exp(-said[:, count:])) if network.dims.closure else np.zeros((len(said), 1))
    return Prediction(said[:, :count], closure[:, 0].astype(np.float32))


def equalised(features: Float) -> Float:
    """Equalise log-mel features [T, 4, 80] for Ψ: every band has the same mean and deviation in all recordings.

    Microphones, rooms and voices colour a recording as a whole, which is unrelated to the mouth's movement. Means and
    deviations are measured over steps with speech; with less speech they are nearer to the prior, so that a silent
    recording does not change. This departs from the paper, whose network takes the samples themselves (§3.2).
    """
    steps = features.reshape(-1, features.shape[-1])
    count, mean, deviation = _moments_of_speech(steps)
    known = count / (count + TRUST)
    middle: Float = (known * mean + (1 - known) * USUAL_MEAN).astype(np.float32)
    spread: Float = np.sqrt(known * deviation**2 + (1 - known) * USUAL_DEVIATION**2).astype(np.float32)
    equal: Float = features - middle  # the rest is in place, because recordings may be long
    equal /= spread
    equal *= np.float32(USUAL_DEVIATION)
    equal += np.float32(USUAL_MEAN)
    return np.clip(equal, LOG_MEL_SILENCE, -LOG_MEL_SILENCE, out=equal)


def _moments_of_speech(steps: Float) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """Return how many of steps [S, 80] hold speech, and mean and standard deviation [80] of the bands over these."""
    count, total, squares = 0, np.zeros(steps.shape[-1]), np.zeros(steps.shape[-1])
    for first in range(0, len(steps), PART):
        part = steps[first : first + PART]
        speech = part[part.mean(axis=1) > SPEAKING].astype(np.float64)
        count, total, squares = count + len(speech), total + speech.sum(axis=0), squares + (speech**2).sum(axis=0)
    mean = total / max(count, 1)
    return count, mean, np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))


def predict(network: ExpressionNetwork, audio: Float, reference: Float, chunk: int | None = None) -> Float:
    """Predict the expression [T, 20] float32 as ``predict_expression`` does, from the input of the network's front end.

    audio: log-mel features [T, 4, 80], log-mel features with codes [T, 4, 80 + 384] (``with_codes``), or samples
        [T, 640]
    """
    raw = network.dims.front_end == "raw"
    read = _read_samples(audio) if raw else _read_features(audio, network.dims.mels)
    return _predict(network, read, len(audio), reference, chunk)[:, : network.dims.coefficients]


def with_codes(log_mel: Float, codes: Float) -> Float:
    """Return log-mel features [T, 4, 80], each with the code of 20 ms around it, of codes [T, 2, N]: [T, 4, 80 + N]."""
    return np.concatenate([log_mel, codes.repeat(log_mel.shape[1] // codes.shape[1], axis=1)], axis=2)


def _predict(network: ExpressionNetwork, read: Read, frames: int, reference: Float, chunk: int | None) -> Float:
    """Return the network's output [T, ...] for a speech of some frames, whose input ``read`` returns."""
    dims = network.dims
    chunk = chunk or CHUNK[dims.front_end]
    device = next(network.parameters()).device
    origin = torch.from_numpy(np.asarray(reference, np.float32)).to(device)[None]
    parts = []
    with torch.no_grad():
        for first in range(0, frames, chunk):
            piece = read(first - dims.reach, min(first + chunk, frames) + dims.reach)
            parts.append(network(torch.from_numpy(piece).to(device)[None], origin)[0].cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, dims.coefficients + dims.closure), np.float32)


def equalised_features(features: Float, mels: int) -> Float:
    """Return features [T, 4, N] whose first ``mels`` values, the log-mel features, are equalised; codes stay."""
    log_mel = equalised(features[..., :mels])
    return np.concatenate([log_mel, features[..., mels:]], axis=2) if features.shape[2] > mels else log_mel


def cut_features(features: Float, first: int, last: int, mels: int) -> Float:
    """Return frames first..last - 1 of features [T, 4, N]; beyond the ends there is silence, whose codes are 0."""
    piece = _cut(features, first, last, LOG_MEL_SILENCE)
    outside = np.r_[: max(-first, 0), len(piece) - max(last - len(features), 0) : len(piece)]
    if len(outside) and features.shape[2] > mels:
        piece[outside, :, mels:] = 0
    return piece


def _read_features(features: Float, mels: int) -> Read:
    """Return a function that reads the equalised features of frames first..last - 1, with silence beyond the ends."""
    features = equalised_features(features, mels)
    return lambda first, last: cut_features(features, first, last, mels)


def _read_codes(audio: AudioFeatures, encoder: Encoder) -> Read:
    """Return a function that reads equalised features with their codes, which are computed as they are asked for."""
    log_mel, codes = equalised(audio.log_mel), code_reader(encoder, audio.samples)

    def read(first: int, last: int) -> Float:
        low, high = max(first, 0), min(last, len(log_mel))
        inside = with_codes(log_mel[low:high], codes(low, high))
        return cut_features(inside, first - low, last - low, log_mel.shape[2])

    return read


def _read_samples(samples: Float) -> Read:
    """Return a function that reads frames first..last - 1 at 50 kHz, [N, 2000], with silence beyond the ends."""
    gain = np.float32(1 / speech_level(samples))
    return lambda first, last: resampled(_cut(samples, first - 1, last + 1, 0.0) * gain)


def _cut(frames: Float, first: int, last: int, silence: float) -> Float:
    """Return frames[first:last], padded with silence beyond the ends."""
    margins = (max(-first, 0), max(last - len(frames), 0))
    piece = frames[max(first, 0) : last]
    return np.pad(piece, (margins, *((0, 0),) * (frames.ndim - 1)), constant_values=silence)
