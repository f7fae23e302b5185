"""Layers that the parts of Θ share.

All convolutions are initialised to keep the magnitude of features (He's initialisation), so that features need no
normalisation on their way. No layer uses statistics of the batch or the frame, or depends on the image size: a frame
gives the same result alone and in a batch, and a network that was trained at 128² works at 256².
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
"""Slope of leaky ReLUs below 0."""
EPSILON = 1e-4
"""Constant added to mean squares, which keeps the norm of an empty pixel finite; large enough for bfloat16."""


def convolution(
    channels: int, out: int, kernel: int = 3, stride: int = 1, *, groups: int = 1, bias: bool = True
) -> nn.Conv2d:
    """Convolution [B, C, H, W] → [B, out, H / stride, W / stride], initialised to keep the magnitude of features."""
    layer = nn.Conv2d(channels, out, kernel, stride, padding=(kernel - stride + 1) // 2, groups=groups, bias=bias)
    nn.init.kaiming_normal_(layer.weight, SLOPE)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def activation() -> nn.LeakyReLU:
    """Activation function of all parts of Θ."""
    return nn.LeakyReLU(SLOPE)


def stem(channels: int, out: int, stride: int) -> nn.Sequential:
    """First layer of an encoder: image [B, C, H, W] → [B, out, H / stride, W / stride]; it covers every pixel."""
    kernel = 3 if stride == 1 else 2 * stride
    return nn.Sequential(convolution(channels, out, kernel, stride), activation())


def down(channels: int, out: int) -> nn.Sequential:
    """Strided convolution and activation, [B, C, H, W] → [B, out, H / 2, W / 2]."""
    return nn.Sequential(convolution(channels, out, 3, 2), activation())


def up(channels: int, out: int) -> nn.ConvTranspose2d:
    """Transposed convolution [B, C, H, W] → [B, out, 2 H, 2 W], whose kernel is a multiple of its stride."""
    layer = nn.ConvTranspose2d(channels, out, 4, 2, padding=1)
    # each output pixel depends on 2 x 2 positions of the input
    nn.init.normal_(layer.weight, std=(2 / (1 + SLOPE**2) / (4 * channels)) ** 0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def pyramid(channels: int, widths: tuple[int, ...], stride: int) -> nn.ModuleList:
    """Encoder of a stem and one ``down`` for every further width; the outputs of its layers are the levels."""
    layers: list[nn.Module] = [stem(channels, widths[0], stride)]
    layers += [down(before, after) for before, after in pairwise(widths)]
    return nn.ModuleList(layers)


def bottleneck(channels: int, middle: int, out: int, *, bias: bool = True) -> nn.Sequential:
    """Two 1×1 convolutions with an activation between them, [B, C, H, W] → [B, out, H, W]."""
    return nn.Sequential(convolution(channels, middle, 1), activation(), convolution(middle, out, 1, bias=bias))


class Residual(nn.Module):
    """Residual block of two 3×3 convolutions; the second starts at a tenth, so that deep stacks keep the magnitude."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        last = convolution(channels, channels)
        with torch.no_grad():
            last.weight.mul_(0.1)
        self.body = nn.Sequential(activation(), convolution(channels, channels), activation(), last)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features [B, C, H, W]."""
        return x + self.body(x)


def pixel_norm(x: Tensor) -> Tensor:
    """Normalise features [B, C, H, W] to a mean square of 1 over the channels of each pixel.

    SPADE's own normalisation uses statistics of the frame or batch. With these, movement in one corner changes the
    whole image, which is visible as flicker, and frames depend on their batch.
    """
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPSILON)


def pixels_last(x: Tensor) -> Tensor:
    """Flatten features [B, C, H, W] to [B, H·W, C], without a copy where x is channels-last."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps [B, C, h, w] to [B, C, *size] bilinearly.

    On the CPU this takes three times as long where the few channels of a map are stored last.
    """
    if tuple(x.shape[-2:]) == size:
        return x
    return F.interpolate(x.contiguous(), size=size, mode="bilinear", align_corners=False)


def reduced(images: Tensor, factor: int) -> Tensor:
    """Make images [B, C, H, W] smaller by a whole factor: every pixel is the mean of a square.

    On the CPU this takes a fifth of the time of ``avg_pool2d``.
    """
    if factor == 1:
        return images
    rows = images[:, :, ::factor]
    for i in range(1, factor):
        rows = rows + images[:, :, i::factor]
    total = rows[..., ::factor]
    for i in range(1, factor):
        total = total + rows[..., i::factor]
    return total / factor**2
