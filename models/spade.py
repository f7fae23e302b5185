"""Spatially adaptive denormalisation (SPADE) of §4.3: features are scaled and shifted by maps γ and β of a condition.

The green box of Fig. 6 has weights made for the person (θ), the orange ones fixed weights. Dynamic convolutions here
are 1×1: each frame of a batch has weights of its own, and then that is one product of matrices, on any runtime and
batch size; what they see of the neighbourhood comes from fixed convolutions before them.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .blocks import pixels_last


@dataclass(frozen=True)
class Theta:
    """θ^i of Eq. 7: weights of one decoder layer, of 1×1 convolutions; their last column is the bias.

    landmarks: θ_S, [B, C, C' + 1] float32, of the landmark features φ_l; C' channels of the level above
    gamma, beta: θ_γ and θ_β, [B, C, C + 1] float32, of the scale and of the bias map
    """

    landmarks: Tensor
    gamma: Tensor
    beta: Tensor


def dynamic_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """[B, C, H, W] → [B, out, H, W] by weights [B, out, C + 1] of each frame's own, the last column being the bias."""
    height, width = x.shape[-2:]
    mixed = pixels_last(x) @ weight[..., :-1].mT
    mixed = mixed + weight[..., -1].unsqueeze(1).to(mixed.dtype)
    return mixed.view(-1, height, width, weight.shape[1]).permute(0, 3, 1, 2)


def dynamic_spade(condition: Tensor, theta: Theta) -> Tensor:
    """γ = θ_γ * φ_l and β = θ_β * φ_l (§4.3, green box of Fig. 6): φ_l [B, C, H, W] → [B, 2C, H, W]."""
    return dynamic_convolution(condition, torch.cat([theta.gamma, theta.beta], dim=1))


class Spade(nn.Module):
    """γ and β by fixed weights of a condition's features (§4.3, orange boxes of Fig. 6)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, 2 * channels, kernel, padding=kernel // 2)
        # β carries the image from the start, as strong as x; γ learns to matter
        gain = torch.tensor([0.1, 1.5]).repeat_interleave(channels).view(-1, 1, 1, 1)
        nn.init.normal_(self.maps.weight, std=(channels * kernel**2) ** -0.5)
        with torch.no_grad():
            self.maps.weight.mul_(gain)

    def forward(self, condition: Tensor) -> Tensor:
        """condition: [B, C, H, W]; returns [B, 2C, H, W]."""
        return self.maps(condition)


def denormalise(x: Tensor, blocks: list[Tensor]) -> Tensor:
    """The mean over SPADE blocks of x (1 + γ) + β: normalised x [B, C, H, W], blocks' γ and β [B, 2C, H, W] each.

    The paper sums them; the mean is that but for a factor, which keeps the size of features. The blocks' maps are
    averaged first, which is the same and spares passes over memory.
    """
    total = blocks[0]
    for maps in blocks[1:]:
        total = total + maps
    gamma, beta = (total / len(blocks)).chunk(2, dim=1)
    return torch.addcmul(beta, x, 1 + gamma)
