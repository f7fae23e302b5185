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
    if max(values.shape[-2:]) < 2:
        return values * weight / weight.clamp(min=1e-6)
    pooled = F.avg_pool2d(weight, 2, ceil_mode=True)
    coarse = F.avg_pool2d(values * weight, 2, ceil_mode=True) / pooled.clamp(min=1e-6)
    coarse = fill(coarse, (4 * pooled).clamp(max=1))
    wide = F.interpolate(coarse, size=values.shape[-2:], mode="bilinear", align_corners=False)
    return torch.lerp(wide, values, weight)


FEW = 8
"""Up to this radius a blur is a sum of shifted images, beyond it a product of matrices: each where it is faster. A
convolution of single channels is several times slower than both.
"""


def blur(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of images [B, C, H, W]; the border is repeated."""
    radius = max(1, int(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (steps.to(image.dtype) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    if radius > FEW:
        rows, columns = (_smoothing(size, kernel, steps) for size in image.shape[-2:])
        return rows @ (image @ columns.mT)
    height, width = image.shape[-2:]
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    across = _weighted([padded[..., i : i + width] for i in range(len(steps))], kernel)
    return _weighted([across[..., i : i + height, :] for i in range(len(steps))], kernel)


def _smoothing(size: int, kernel: Tensor, steps: Tensor) -> Tensor:
    """What a kernel does to a column of ``size`` pixels, as a matrix [size, size]; the ends are repeated."""
    places = (torch.arange(size, device=kernel.device)[:, None] + steps).clamp(0, size - 1)
    return kernel.new_zeros(size, size).scatter_add_(1, places, kernel.expand(size, -1))


def _weighted(images: list[Tensor], weights: Tensor) -> Tensor:
    first, *rest = weights.tolist()
    total = images[0] * first
    for image, weight in zip(images[1:], rest, strict=True):
        total.add_(image, alpha=weight)
    return total
