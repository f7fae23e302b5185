"""The matting network: which part of an image is the person, with hair, clothes and whatever is worn.

The paper warps the whole image with the head (§4.1). Here the background stays where it is, and the person moves before
it, so every reference needs an opacity of the person. The network is a U-Net of plain convolutions, run once on each
reference.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .detection import convolution


@dataclass(frozen=True)
class MattingDims:
    """Sizes of the matting network.

    size: side of the square input in pixels, a multiple of 2 to the power of the number of widths
    widths: channels at a half, a quarter … of the size
    last: channels at full size
    """

    size: int = 256
    widths: tuple[int, ...] = (12, 18, 36, 80, 112)
    last: int = 4


class MattingNetwork(nn.Module):
    """Image [B, 3, S, S] float32 in 0..1 → opacity [B, 1, S, S] in 0..1 of the person, soft along hair."""

    def __init__(self, dims: MattingDims) -> None:
        super().__init__()
        self.dims = dims
        widths = dims.widths
        self.downs = nn.ModuleList(
            convolution(channels, width, stride=2) for channels, width in zip((3, *widths), widths, strict=False)
        )
        self.bottom = nn.Sequential(*(convolution(widths[-1], widths[-1]) for _ in range(2)))
        finer = (*widths[-2::-1], dims.last)
        self.ups = nn.ModuleList(
            convolution(coarse + fine, out)
            for coarse, fine, out in zip(widths[::-1], (*widths[-2::-1], 3), finer, strict=True)
        )
        self.head = nn.Conv2d(dims.last, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(image))

    def logits(self, image: Tensor) -> Tensor:
        """Return the logits [B, 1, S, S] of the opacity."""
        features = (image - 0.5) * 4
        levels = []
        for down in self.downs:
            levels.append(features)
            features = down(features)
        features = self.bottom(features)
        for up, level in zip(self.ups, reversed(levels), strict=True):
            wide = F.interpolate(features, scale_factor=2.0, mode="bilinear", align_corners=False)
            features = up(torch.cat([wide, level], 1))
        return self.head(features).float()
