"""Filling, blurring, resizing and sampling of images, as tensors: in PyTorch, or where that is quicker by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli import planes


def fill(values: Tensor, weight: Tensor) -> Tensor:
    """Fill unknown pixels smoothly from known ones (pull-push over a pyramid, a fast membrane interpolation).

    values: [B, C, H, W]
    weight: [B, 1, H, W] in 0..1, 1 where a value is known, 0 where it is not

    Returns [B, C, H, W] with unknown values filled in and known values unchanged.
    """
    if max(values.shape[-2:]) < 2:
        return values * weight / weight.clamp(min=1e-6)
    pooled = averaged(weight, 2)
    coarse = averaged(values * weight, 2) / pooled.clamp(min=1e-6)
    coarse = fill(coarse, (4 * pooled).clamp(max=1))
    wide = resized_to(coarse, (values.shape[-2], values.shape[-1]))
    return torch.lerp(wide, values, weight)


FEW = 8
"""Largest radius in px of a blur that is a sum of shifted images; beyond it a product of matrices is faster.

A convolution of single channels is several times slower than both.
"""


def blur(image: Tensor, sigma: float) -> Tensor:
    """Blur images [B, C, H, W] with a Gaussian of standard deviation ``sigma`` px; the border is repeated."""
    radius = max(1, int(3 * sigma))
    steps = torch.arange(-radius, radius + 1, device=image.device)
    kernel = torch.exp(-0.5 * (steps.to(image.dtype) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    if planes.fits(image):
        return planes.smooth(image, kernel.numpy())
    if radius > FEW:
        rows, columns = (_smoothing(size, kernel, steps) for size in image.shape[-2:])
        return rows @ (image @ columns.mT)
    height, width = image.shape[-2:]
    padded = F.pad(image, (radius, radius, radius, radius), mode="replicate")
    across = _weighted([padded[..., i : i + width] for i in range(len(steps))], kernel)
    return _weighted([across[..., i : i + height, :] for i in range(len(steps))], kernel)


def _smoothing(size: int, kernel: Tensor, steps: Tensor) -> Tensor:
    """Return the matrix [size, size] that applies a kernel to a column of ``size`` pixels; the ends are repeated."""
    places = (torch.arange(size, device=kernel.device)[:, None] + steps).clamp(0, size - 1)
    return kernel.new_zeros(size, size).scatter_add_(1, places, kernel.expand(size, -1))


def _weighted(images: list[Tensor], weights: Tensor) -> Tensor:
    """Sum of images, each times its weight."""
    first, *rest = weights.tolist()
    total = images[0] * first
    for image, weight in zip(images[1:], rest, strict=True):
        total.add_(image, alpha=weight)
    return total


Share = TypeVar("Share", Tensor, NDArray[np.floating])


def smoothstep(share: Share) -> Share:
    """Ease a ramp in 0..1, so that it begins and ends level."""
    return share * share * (3 - 2 * share)


def ramp(value: Share, zero: float, one: float) -> Share:
    """Ease values from 0 at ``zero`` and before to 1 at ``one`` and beyond; ``one`` may be the smaller of the two."""
    return smoothstep(((value - zero) / (one - zero)).clip(0, 1))


def widened(mask: Tensor, reach: float) -> Tensor:
    """Return a mask [B, 1, H, W], widened by ``reach`` px, rounded, to all sides."""
    steps = round(reach)
    if planes.fits(mask):
        return planes.widen(mask, steps)
    across = F.max_pool2d(mask, (1, 2 * steps + 1), 1, (0, steps))
    return F.max_pool2d(across, (2 * steps + 1, 1), 1, (steps, 0))


def extent(used: Tensor) -> tuple[int, int]:
    """Return the first place in use of [N] bool, of which at least one is, and the one after the last."""
    places = torch.nonzero(used)[:, 0]
    return int(places[0]), int(places[-1]) + 1


def averaged(images: Tensor, factor: int) -> Tensor:
    """Reduce images [B, C, H, W] by a whole factor; every pixel is the mean of a square, which the border may cut."""
    if factor == 1:
        return images
    if planes.fits(images) and not any(side % factor for side in images.shape[-2:]):
        return planes.average(images, factor)
    return F.avg_pool2d(images, factor, ceil_mode=True)


def resized(images: Tensor, size: int) -> Tensor:
    """Resize images or maps [B, C, S, S] to [B, C, size, size] with anti-aliasing."""
    if images.shape[-1] <= size:
        return resized_to(images, (size, size))  # enlarging needs no anti-aliasing
    return F.interpolate(images, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def resized_to(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images or maps [B, C, h, w] to [B, C, *size] bilinearly, without anti-aliasing."""
    if tuple(images.shape[-2:]) == tuple(size):
        return images
    if planes.fits(images):
        return planes.resize(images, size)
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


def sampled(images: Tensor, places: Tensor, of: Sequence[int] | None = None, cubic: bool = False) -> Tensor:
    """Sample images [K, C, H, W] at places [P, 2, h, w] (x, y), px of the images: [P, C, h, w].

    of: P numbers of the images that are sampled; None for those in order
    cubic: whether values are interpolated by cubics, which may overshoot them a little, and not linearly

    The border is repeated. The top left pixel's centre lies at (0.5, 0.5).
    """
    of = range(len(images)) if of is None else of
    if planes.fits(images, places):
        return planes.sample(images, places, of, cubic)
    size = places.new_tensor([images.shape[-1], images.shape[-2]]).view(2, 1, 1)
    where = (places * (2 / size) - 1).permute(0, 2, 3, 1)
    mode = "bicubic" if cubic else "bilinear"
    return F.grid_sample(images[list(of)], where, mode=mode, padding_mode="border", align_corners=False)
