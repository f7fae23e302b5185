"""Expressions of a whole speech with Psi (§3.2), in chunks, so that memory does not grow with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from thcli.checkpoints import find_weights, load_checkpoint, load_weights
from thcli.config import make_dims
from thcli.records import Float
from thgen_models.expression import ExpressionDims, ExpressionLearner

WEIGHTS = "expression.safetensors"
CHUNK = 1000
"""Frames predicted at a time."""
SILENCE = -12.0
"""Log-mel of silence, the lowest feature there is; before and after the recording there is silence."""
SPEAKING = -6.0
"""Mean log-mel above which a step counts as speech."""
USUAL_MEAN, USUAL_DEVIATION = -3.6, 2.3
"""Of a band's log-mel in speech, on average over bands and recordings."""
TRUST = 100
"""So many steps of speech (a second) say as much about a recording as is known beforehand."""


def load_expression_learner(weights: Path | None = None, device: str = "cpu") -> ExpressionLearner:
    """Psi with its weights from the folder ``weights``, else those shipped; ``WeightsError`` where that fails."""
    path = find_weights(WEIGHTS, weights)
    checkpoint = load_checkpoint(path, "expression")
    network = ExpressionLearner(make_dims(ExpressionDims, checkpoint.header.dims, str(path)))
    load_weights(network, checkpoint, path)
    return network.to(device).eval()


def predict_expression(
    features: Float, reference: Float, weights: Path | None = None, device: str = "cpu", chunk: int = CHUNK
) -> Float:
    """The expression [T, 20] of every frame of a speech.

    features: [T, 4, 80] log-mel, ``clips.features``
    reference: [20] expression of the reference face, best the median over the reference clip
    weights: folder in which to look first for Psi's weights
    """
    return predict(load_expression_learner(weights, device), features, reference, chunk)


def equalised(features: Float) -> Float:
    """Log-mel features [T, 4, 80] as Psi hears them: every band with the same mean and deviation in all recordings.

    Microphones, rooms and voices colour a recording as a whole, which says nothing of how the mouth moves. The
    figures are those of the steps with speech; the less speech there is, the nearer they are to the usual ones, so
    that mere silence stays as it is. Departure from the paper, whose network hears the samples themselves (§3.2).
    """
    steps = features.reshape(-1, features.shape[-1])
    speech = steps[steps.mean(axis=1) > SPEAKING]
    mean, deviation = np.float32(USUAL_MEAN), np.float32(USUAL_DEVIATION)
    if len(speech):
        known = len(speech) / (len(speech) + TRUST)
        mean = known * speech.mean(axis=0) + (1 - known) * mean
        deviation = np.sqrt(known * speech.var(axis=0) + (1 - known) * deviation**2)
    equal = (features - mean) / deviation * USUAL_DEVIATION + USUAL_MEAN
    return np.clip(equal, SILENCE, -SILENCE).astype(np.float32)


def predict(network: ExpressionLearner, features: Float, reference: Float, chunk: int = CHUNK) -> Float:
    """``predict_expression`` with a network at hand, on its device; ``chunk`` changes nothing in the result."""
    features = equalised(features)
    reach = network.dims.reach
    device = next(network.parameters()).device
    origin = torch.from_numpy(np.asarray(reference, np.float32)).to(device)[None]
    parts = []
    with torch.no_grad():
        for first in range(0, len(features), chunk):
            last = min(first + chunk, len(features))
            piece = features[max(first - reach, 0) : last + reach]
            margins = (max(reach - first, 0), max(last + reach - len(features), 0))
            piece = np.pad(piece, (margins, (0, 0), (0, 0)), constant_values=SILENCE)
            parts.append(network(torch.from_numpy(piece).to(device)[None], origin)[0].cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros((0, network.dims.coefficients), np.float32)
