"""Expressions of a whole speech with Psi (§3.2), in chunks, so that memory does not grow with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from thcli.checkpoints import find_weights, load_checkpoint, load_weights
from thcli.config import make_dims
from thcli.motion.raw_sound import resampled, speech_level
from thcli.records import Float
from thgen_models.expression import ExpressionDims, ExpressionNetwork, make_expression_learner

WEIGHTS = "expression.safetensors"
CHUNK = {"log_mel": 1000, "raw": 100}
"""Frames predicted at a time, by front end."""
SILENCE = -12.0
"""Log-mel of silence, the lowest feature there is; before and after the recording there is silence."""
SPEAKING = -6.0
"""Mean log-mel above which a step counts as speech."""
USUAL_MEAN, USUAL_DEVIATION = -3.6, 2.3
"""Of a band's log-mel in speech, on average over bands and recordings."""
PART = 8192
"""Steps looked at together."""
TRUST = 100
"""So many steps of speech (a second) say as much about a recording as is known beforehand."""


@dataclass(frozen=True)
class Sound:
    """A recording as Psi may hear it.

    features: [T, 4, 80] log-mel, ``clips.features.log_mel``
    samples: [T, 640] at 16 kHz, ``clips.features.framed``
    """

    features: Float
    samples: Float

    def __len__(self) -> int:
        return len(self.features)


def load_expression_learner(weights: Path | None = None, device: str = "cpu") -> ExpressionNetwork:
    """Psi with its weights from the folder ``weights``, else those shipped; ``WeightsError`` where that fails."""
    path = find_weights(WEIGHTS, weights)
    checkpoint = load_checkpoint(path, "expression")
    network = make_expression_learner(make_dims(ExpressionDims, checkpoint.header.dims, str(path)))
    load_weights(network, checkpoint, path)
    return network.to(device).eval()


def predict_expression(network: ExpressionNetwork, sound: Sound, reference: Float, chunk: int | None = None) -> Float:
    """The expression [T, 20] of every frame of a speech, by a network on its device.

    sound: the network's front end takes of it the features or the samples
    reference: [20] expression of the reference face, best the median over the reference clip
    """
    heard = sound.samples if network.dims.front_end == "raw" else sound.features
    return predict(network, heard, reference, chunk)


def equalised(features: Float) -> Float:
    """Log-mel features [T, 4, 80] as Psi hears them: every band with the same mean and deviation in all recordings.

    Microphones, rooms and voices colour a recording as a whole, which says nothing of how the mouth moves. The
    figures are those of the steps with speech; the less speech there is, the nearer they are to the usual ones, so
    that mere silence stays as it is. Departure from the paper, whose network hears the samples themselves (§3.2).
    """
    steps = features.reshape(-1, features.shape[-1])
    count, mean, deviation = _moments_of_speech(steps)
    known = count / (count + TRUST)
    middle: Float = (known * mean + (1 - known) * USUAL_MEAN).astype(np.float32)
    spread: Float = np.sqrt(known * deviation**2 + (1 - known) * USUAL_DEVIATION**2).astype(np.float32)
    equal: Float = features - middle  # and on in place: recordings may be long
    equal /= spread
    equal *= np.float32(USUAL_DEVIATION)
    equal += np.float32(USUAL_MEAN)
    return np.clip(equal, SILENCE, -SILENCE, out=equal)


def _moments_of_speech(steps: Float) -> tuple[int, NDArray[np.float64], NDArray[np.float64]]:
    """How many of the steps [S, 80] are speech, and mean and deviation [80] of their bands."""
    count, total, squares = 0, np.zeros(steps.shape[-1]), np.zeros(steps.shape[-1])
    for first in range(0, len(steps), PART):
        part = steps[first : first + PART]
        speech = part[part.mean(axis=1) > SPEAKING].astype(np.float64)
        count, total, squares = count + len(speech), total + speech.sum(axis=0), squares + (speech**2).sum(axis=0)
    mean = total / max(count, 1)
    return count, mean, np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 0))


def predict(network: ExpressionNetwork, sound: Float, reference: Float, chunk: int | None = None) -> Float:
    """``predict_expression`` of the one that the network takes; ``chunk`` changes nothing in the result.

    sound: what the network's front end takes of a ``Sound``, log-mel features or samples
    """
    dims = network.dims
    hear = _hear_samples(sound) if dims.front_end == "raw" else _hear_features(sound)
    chunk = chunk or CHUNK[dims.front_end]
    device = next(network.parameters()).device
    origin = torch.from_numpy(np.asarray(reference, np.float32)).to(device)[None]
    parts = []
    with torch.no_grad():
        for first in range(0, len(sound), chunk):
            piece = hear(first - dims.reach, min(first + chunk, len(sound)) + dims.reach)
            parts.append(network(torch.from_numpy(piece).to(device)[None], origin)[0].cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, dims.coefficients), np.float32)


def _hear_features(features: Float) -> Callable[[int, int], Float]:
    """What gives the features of some frames, which may lie beyond the ends."""
    features = equalised(features)
    return lambda first, last: _cut(features, first, last, SILENCE)


def _hear_samples(samples: Float) -> Callable[[int, int], Float]:
    """What gives the samples of some frames at 50 kHz, [N, 2000], which may lie beyond the ends."""
    gain = np.float32(1 / speech_level(samples))
    return lambda first, last: resampled(_cut(samples, first - 1, last + 1, 0.0) * gain)


def _cut(frames: Float, first: int, last: int, silence: float) -> Float:
    """frames[first:last], with silence beyond the ends."""
    margins = (max(-first, 0), max(last - len(frames), 0))
    piece = frames[max(first, 0) : last]
    return np.pad(piece, (margins, *((0, 0),) * (frames.ndim - 1)), constant_values=silence)
