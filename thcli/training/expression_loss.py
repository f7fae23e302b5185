"""Loss that Ψ is trained with (§3.2)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from thcli.configs.sections import ExpressionConfig
from thcli.face_model import FACE_OVAL, INNER_LIPS, OUTER_LIPS, FaceModel

CLOSED = 0.025
"""Opening below which lips are closed, over the distance of the outer eye corners."""
CHIN = FACE_OVAL[12:25]
"""Vertices of the chin."""


class ExpressionLoss(nn.Module):
    """Error of positions rather than coefficients, in which lips and chin weigh most, and of the lip gap's movement.

    With a squared error alone the mouth hardly moves, like the mean of all movements that would fit the speech. The
    concordance correlation of the lip gap over a window is 1 only where both movement and its size are right. With
    unseen voices the network is less sure and moves less, so in training it is asked for somewhat more movement than
    there is (``ExpressionConfig.movement``).

    root: [20, 20], maps errors of coefficients to errors whose sum of squares is that of the weighted positions, scaled
    gap: [20], change of the lip gap per coefficient
    """

    root: Tensor
    gap: Tensor

    def __init__(self, model: FaceModel, config: ExpressionConfig) -> None:
        super().__init__()
        weight = np.full(len(model.canonical), config.face_weight, np.float32)
        weight[list(CHIN)] = 1
        weight[list(OUTER_LIPS + INNER_LIPS)] = config.lip_weight
        moves = model.basis.reshape(len(model.basis), -1) * np.sqrt(np.repeat(weight, 3))
        gram = moves @ moves.T
        gram *= len(gram) / np.trace(gram)
        self.register_buffer("root", torch.from_numpy(np.linalg.cholesky(gram + 1e-6 * np.eye(len(gram)))).float())
        self.register_buffer("gap", torch.from_numpy(model.lip_gap).float())
        self.config = config

    def forward(self, predicted: Tensor, target: Tensor, tracked: Tensor) -> dict[str, Tensor]:
        """Return ``total`` and its parts for predictions and targets [B, T, 20], counting tracked [B, T] frames."""
        error = ((predicted - target) * tracked[..., None]) @ self.root
        position = error.square().mean()
        velocity = (error[:, 1:] - error[:, :-1]).square().mean()
        concordance = 1 - _concordance(predicted @ self.gap, target @ self.gap * self.config.movement, tracked)
        total = position + self.config.velocity_weight * velocity + self.config.concordance_weight * concordance
        return {"total": total, "position": position, "velocity": velocity, "concordance": concordance}


def closure_loss(logits: Tensor, opening: Tensor, tracked: Tensor, rarity: float) -> Tensor:
    """Return the cross entropy of predicted closures of the lips with true ones, over tracked frames.

    logits, opening, tracked: [B, T]; lips with an opening below ``CLOSED`` are closed
    rarity: weight of a frame with closed lips, which are rarer than open ones
    """
    closed = (opening < CLOSED).float()
    weight = tracked * (1 + (rarity - 1) * closed)
    return (binary_cross_entropy_with_logits(logits, closed, reduction="none") * weight).mean()


def _concordance(x: Tensor, y: Tensor, tracked: Tensor) -> Tensor:
    """Lin's concordance correlation of x and y [B, T] over time, pooled over the batch, with the means removed."""
    weight = tracked / tracked.sum(dim=1, keepdim=True).clamp_min(1)
    x, y = x - (weight * x).sum(dim=1, keepdim=True), y - (weight * y).sum(dim=1, keepdim=True)
    scale = (weight * y * y).sum(dim=1) + 1e-4
    together = 2 * (weight * x * y).sum(dim=1) / scale
    apart = ((weight * x * x).sum(dim=1) + (weight * y * y).sum(dim=1)) / scale
    return together.mean() / apart.mean()
