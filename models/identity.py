"""MobileFaceNet, an identity network whose layers serve as perceptual features (§4.4), for training only.

It is foamliu's variant, trained with ArcFace's loss, with batch norms folded into the convolutions as in its export.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from .perceptual import IMAGENET

SIDE = 112
"""Side in px of the images that it was trained on, in which faces are aligned to ArcFace's five points."""
_STAGES = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
"""Stages of blocks: expansion, channels, number of blocks, and stride of the first block."""


class MobileFaceNet(nn.Module):
    """Face images → features of five depths, the last of which is the identity."""

    weights: tuple[float, ...] = (0.2, 0.2, 0.2, 0.2, 0.2)
    """Weight of the features of each depth in the perceptual loss."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 64, 3, 2, 1), nn.ReLU6(), nn.Conv2d(64, 64, 3, 1, 1, groups=64), nn.ReLU(),
            nn.Conv2d(64, 64, 1), nn.ReLU(),
        )  # fmt: skip
        blocks: list[nn.Module] = []
        ends, channels = [], 64
        for expansion, out, count, stride in _STAGES:
            for i in range(count):
                blocks.append(_Block(channels, out, expansion * channels, stride if i == 0 else 1))
                channels = out
            ends.append(len(blocks))
        self.blocks = nn.ModuleList(blocks)
        # the last features at 1/4, 1/8 and 1/16 of the image's size, which stages 2 and 3, and 4 and 5, share
        self.taken = (ends[0], ends[2], ends[4])
        self.head = nn.Sequential(
            nn.Conv2d(channels, 512, 1), nn.ReLU6(), nn.Conv2d(512, 512, 7, groups=512), nn.Conv2d(512, 128, 1)
        )
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return features [B, 64, 56, 56], [B, 64, 28, 28], [B, 128, 14, 14], [B, 128, 7, 7] and [B, 128, 1, 1].

        images: aligned faces [B, 3, 112, 112] float32 in -1..1
        """
        x = self.stem(((images + 1) / 2 - self.mean) / self.deviation)
        features = [x]
        for first, end in pairwise((0, *self.taken)):
            for block in self.blocks[first:end]:
                x = block(x)
            features.append(x)
        return [*features, self.head(x)]

    def convolutions(self) -> list[nn.Conv2d]:
        """Return all convolutions in the order of the forward pass, which is that of the exported file."""
        return [layer for layer in self.modules() if isinstance(layer, nn.Conv2d)]


class _Block(nn.Module):
    """Inverted residual block: widen, filter each channel, narrow; the input is added where the shapes are equal."""

    def __init__(self, channels: int, out: int, hidden: int, stride: int) -> None:
        super().__init__()
        self.added = stride == 1 and channels == out
        self.layers = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden), nn.ReLU6(),
            nn.Conv2d(hidden, out, 1),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block: [B, C, H, W] → [B, out, H / stride, W / stride]."""
        y = self.layers(x)
        return x + y if self.added else y
