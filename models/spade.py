"""Spatially adaptive denormalisation (SPADE) of §4.3: features are scaled and shifted by maps γ and β of a condition.

The green box of Fig. 6 has dynamic weights θ, generated for the person; the orange boxes have fixed weights. Dynamic
convolutions are 1×1 here. Each frame of a batch has its own weights, and a 1×1 convolution is then one matrix product
on any runtime and batch size. Fixed convolutions before them take the neighbourhood into account.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .blocks import pixels_last


@dataclass(frozen=True)
class Theta:
    """θ^i of Eq. 7: weights of the 1×1 convolutions of one decoder layer, with the bias as last column.

    landmarks: [B, C, C' + 1] float32, θ_S of the landmark features φ_l, with C' channels of the next finer level
    gamma, beta: [B, C, C + 1] float32, θ_γ of the scale map and θ_β of the bias map
    """

    landmarks: Tensor
    gamma: Tensor
    beta: Tensor


def dynamic_convolution(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve [B, C, H, W] → [B, out, H, W] with each frame's own weights [B, out, C + 1], the bias last."""
    height, width = x.shape[-2:]
    mixed = torch.baddbmm(weight[..., -1].unsqueeze(1), pixels_last(x), weight[..., :-1].mT)
    return mixed.view(-1, height, width, weight.shape[1]).permute(0, 3, 1, 2)


def dynamic_spade(condition: Tensor, theta: Theta) -> Tensor:
    """Compute γ = θ_γ * φ_l and β = θ_β * φ_l (§4.3, green box of Fig. 6): φ_l [B, C, H, W] → [B, 2C, H, W]."""
    return dynamic_convolution(condition, torch.cat([theta.gamma, theta.beta], dim=1))


class Spade(nn.Module):
    """SPADE block that computes γ and β of a condition's features by fixed weights (§4.3, orange boxes of Fig. 6)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, 2 * channels, kernel, padding=kernel // 2)
        # β starts with the magnitude of x, so it carries the image from the start; γ starts small
        gain = torch.tensor([0.1, 1.5]).repeat_interleave(channels).view(-1, 1, 1, 1)
        nn.init.normal_(self.maps.weight, std=(channels * kernel**2) ** -0.5)
        with torch.no_grad():
            self.maps.weight.mul_(gain)

    def forward(self, condition: Tensor) -> Tensor:
        """Return γ and β [B, 2C, H, W] of a condition's features [B, C, H, W]."""
        return self.maps(condition)


def denormalise(x: Tensor, blocks: list[Tensor]) -> Tensor:
    """Return the mean over SPADE blocks of x (1 + γ) + β.

    x: [B, C, H, W], normalised features
    blocks: γ and β of each block, [B, 2C, H, W]

    The paper sums over blocks. The mean differs only by a factor, which keeps the magnitude of features. The blocks'
    maps are averaged first, which is equivalent and saves memory traffic.
    """
    total = blocks[0]
    for maps in blocks[1:]:
        total = total + maps
    share = 1 / len(blocks)
    gamma, beta = total.chunk(2, dim=1)
    return torch.addcmul(torch.add(x, beta, alpha=share), x, gamma, value=share)
