"""Filling in and smoothing of images [B, C, H, W], in torch: what both the warp and the composition need."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fill(values: Tensor, weight: Tensor) -> Tensor:
    """Spread values smoothly to where nothing is known (pull-push over a pyramid, a fast membrane).

    values: [B, C, H, W]; weight: [B, 1, H, W] in 0..1, 1 where a value is known, 0 where it is not.
    Returns values with the unknown ones filled in; known ones stay as they are.
    """
    values = values * weight
    if max(values.shape[-2:]) < 2:
        return values / weight.clamp(min=1e-6)
    pooled = F.avg_pool2d(weight, 2, ceil_mode=True)
    coarse = F.avg_pool2d(values, 2, ceil_mode=True) / pooled.clamp(min=1e-6)
    coarse = fill(coarse, (4 * pooled).clamp(max=1))
    wide = F.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
    return values + (1 - weight) * wide


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of images [B, C, H, W]; the border is repeated."""
    radius = max(1, int(3 * sigma))
    steps = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (steps / sigma) ** 2)
    kernel = kernel / kernel.sum()
    batch, channels, height, width = image.shape
    flat = image.reshape(batch * channels, 1, height, width)
    flat = F.pad(flat, (radius, radius, radius, radius), mode="replicate")
    flat = F.conv2d(F.conv2d(flat, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
    return flat.view(batch, channels, height, width)
