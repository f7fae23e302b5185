"""Spatially adaptive denormalisation (SPADE) of §4.3: features are scaled and shifted by maps γ and β of a condition.

The green box of Fig. 6 has dynamic weights θ, generated for the person; the orange boxes have fixed weights. Dynamic
convolutions are 1×1 here. Each frame of a batch has its own weights, and a 1×1 convolution is then one matrix product
on any runtime and batch size. Fixed convolutions before them take the neighbourhood into account.
"""

from __future__ import annotations

from collections.abc import Sequence
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


class Spade(nn.Module):
    """SPADE block that computes γ and β of a condition's features by fixed weights (§4.3, orange boxes of Fig. 6)."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.maps = nn.Conv2d(channels, 2 * channels, kernel, padding=kernel // 2)
        # β starts with the magnitude of x, so it carries the image from the start; γ starts small
        gain = torch.tensor([0.1, 1.5]).repeat_interleave(channels).view(-1, 1, 1, 1)
        nn.init.normal_(self.maps.weight, std=(channels * kernel**2) ** -0.5)
        with torch.no_grad():
            self.maps.weight.mul_(gain)

    @property
    def bias(self) -> Tensor:
        """Bias [2C] of γ and β."""
        assert self.maps.bias is not None
        return self.maps.bias


def spade_maps(landmarks: Tensor, theta: Theta, blocks: Sequence[Spade], images: Sequence[Tensor]) -> Tensor:
    """Sum γ and β [B, 2C, H, W] of all SPADE blocks of a layer (§4.3): of landmarks by θ, of images by fixed weights.

    landmarks: [B, C, H, W], φ_l; its block is the green box of Fig. 6, γ = θ_γ * φ_l and β = θ_β * φ_l
    images: [B, C, H, W] each, features of the images, which ``blocks`` take

    Blocks with a kernel of 1 are matrix products, which are added up as they are computed: that saves a pass over the
    maps for every block.
    """
    height, width = landmarks.shape[-2:]
    weight = torch.cat([theta.gamma, theta.beta], dim=1)
    pairs = list(zip(blocks, images, strict=True))
    products = [(block, image) for block, image in pairs if block.kernel == 1]
    bias = weight[..., -1]
    for block, _ in products:
        bias = bias + block.bias
    total = torch.baddbmm(bias.unsqueeze(1), pixels_last(landmarks), weight[..., :-1].mT)
    rows = total.flatten(0, 1)
    for block, image in products:
        rows = torch.addmm(rows, pixels_last(image).flatten(0, 1), block.maps.weight.flatten(1).mT)
    maps = rows.view(-1, height, width, weight.shape[1]).permute(0, 3, 1, 2)
    for block, image in pairs:
        if block.kernel != 1:
            maps = maps + block.maps(image)
    return maps


def denormalise(x: Tensor, maps: Tensor, blocks: int) -> Tensor:
    """Return the mean over a number of SPADE blocks of x (1 + γ) + β.

    x: [B, C, H, W], normalised features
    maps: [B, 2C, H, W], sum of the blocks' γ and β

    The paper sums over blocks. The mean differs only by a factor, which keeps the magnitude of features.
    """
    gamma, beta = maps.chunk(2, dim=1)
    return torch.addcmul(torch.add(x, beta, alpha=1 / blocks), x, gamma, value=1 / blocks)
