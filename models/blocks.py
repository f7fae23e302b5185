"""Layers that the parts of Θ share.

All convolutions keep the size of what they see (He's initialisation), so that features need no normalisation on
their way. None here depends on the batch, on other pixels of the frame by statistics, or on the picture's size: a
frame comes out the same alone and in a batch, and what is learned at 128² holds at 256².
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Of leaky ReLUs below 0."""
EPSILON = 1e-4
"""Keeps the norm of an empty pixel finite; large enough for bfloat16."""


def convolution(
    channels: int, out: int, kernel: int = 3, stride: int = 1, *, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """A convolution [B, C, H, W] → [B, out, H / stride, W / stride], initialised to keep the size of features."""
    layer = nn.Conv2d(channels, out, kernel, stride, padding=(kernel - stride + 1) // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def activation() -> nn.LeakyReLU:
    """The activation of all parts."""
    return nn.LeakyReLU(SLOPE)


def stem(channels: int, out: int, stride: int) -> nn.Sequential:
    """First layer of an encoder: picture [B, C, H, W] → [B, out, H / stride, W / stride]; sees every pixel."""
    kernel = 3 if stride == 1 else 2 * stride
    return nn.Sequential(convolution(channels, out, kernel, stride), activation())


def down(channels: int, out: int) -> nn.Sequential:
    """[B, C, H, W] → [B, out, H/2, W/2]."""
    return nn.Sequential(convolution(channels, out, 3, 2), activation())


def up(channels: int, out: int) -> nn.ConvTranspose2d:
    """[B, C, H, W] → [B, out, 2 H, 2 W], a transposed convolution whose kernel is a multiple of its stride."""
    layer = nn.ConvTranspose2d(channels, out, 4, 2, padding=1)
    # each output pixel hears 2 x 2 positions of the input
    nn.init.normal_(layer.weight, std=(2 / (1 + SLOPE**2) / (4 * channels)) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pyramid(channels: int, widths: tuple[int, ...], stride: int) -> nn.ModuleList:
    """A stem, then one ``down`` for every further width; the outputs of all are the levels."""
    layers: list[nn.Module] = [stem(channels, widths[0], stride)]
    layers += [down(before, after) for before, after in pairwise(widths)]
    return nn.ModuleList(layers)


def bottleneck(channels: int, middle: int, out: int, *, bias: bool = True) -> nn.Sequential:
    """Two 1×1 convolutions, [B, C, H, W] → [B, out, H, W]."""
    return nn.Sequential(convolution(channels, middle, 1), activation(), convolution(middle, out, 1, bias=bias))


class Residual(nn.Module):
    """x + two 3×3 convolutions of x, [B, C, H, W]; the second starts at a tenth, so that depth does not add up."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = convolution(channels, channels)
        with torch.no_grad():
            last.weight.mul_(0.1)
        self.body = nn.Sequential(activation(), convolution(channels, channels), activation(), last)

    def forward(self, x: Tensor) -> Tensor:
        """x: [B, C, H, W]."""
        return x + self.body(x)


def pixel_norm(x: Tensor) -> Tensor:
    """Features [B, C, H, W] brought to a mean square of 1 over the channels of each pixel.

    SPADE's own norm takes statistics of the frame or batch: with them what moves in one corner changes all the
    picture, which shows as flicker, and frames would depend on their batch.
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


def pixels_last(x: Tensor) -> Tensor:
    """[B, C, H, W] → [B, H·W, C]; no copy where x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Maps [B, C, h, w] enlarged to [B, C, *size], bilinear."""
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=False)
