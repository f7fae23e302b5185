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


def predict(network: ExpressionLearner, features: Float, reference: Float, chunk: int = CHUNK) -> Float:
    """``predict_expression`` with a network at hand, on its device; ``chunk`` changes nothing in the result."""
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
