"""Losses that Θ is trained with (§4.4), and figures that are measured on held-out subjects.

Images are [B, 3, H, W] float32 in -1..1, weights of pixels [B, 1, H, W].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_SIGMA = 1.5
"""Standard deviation of SSIM's Gaussian window, px."""
SSIM_WINDOW = 11
"""Side of SSIM's Gaussian window, px."""
C1, C2 = 0.01**2, 0.03**2
"""Constants of SSIM by Wang et al. (2004), for images in 0..1."""
DETAIL_WINDOW = 16
"""Side of the windows in which ``detail_error`` compares the strength of detail, px."""


def weighted_error(image: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of the absolute difference between images."""
    return (weight * (image - real).abs()).sum() / (3 * weight.sum())


def ssim(image: Tensor, real: Tensor) -> Tensor:
    """Structural similarity at every pixel with a whole window around it, over all channels: [B, 1, H - 10, W - 10]."""
    x, y = (image.clamp(-1, 1) + 1) / 2, (real + 1) / 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    likeness = ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)) / (
        (mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2)
    )
    return likeness.mean(dim=1, keepdim=True)


def detail_error(image: Tensor, photograph: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean error of the strength of fine detail, compared with the real image's in small windows.

    Errors of pixels are least for an image that is soft wherever the network is unsure. This error is not: it asks for
    as much detail as the real image has, without asking for its exact position.

    photograph: the image without the decoder's change. Only detail of the image that agrees with the photograph's own
        counts, because a network that could paint detail itself would weave a sharp pattern that shows nothing.
    """
    own = _laplacian(photograph.detach())
    made = _over_windows(_laplacian(image) * own) / _root(_over_windows(own.square()))
    true = _root(_over_windows(_laplacian(real).square()))
    weight = _over_windows(weight)
    return (weight * (made - true).abs()).sum() / weight.sum()


def _over_windows(x: Tensor) -> Tensor:
    """Means in windows of ``DETAIL_WINDOW`` px that overlap by half."""
    return F.avg_pool2d(x, DETAIL_WINDOW, DETAIL_WINDOW // 2)


def _root(x: Tensor) -> Tensor:
    return (x + 1e-6).sqrt()  # the gradient is finite in flat windows too


def roughness(shares: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels of shares [B, N, H, W]; 0 where N is 0."""
    if not shares.shape[1]:
        return shares.sum()
    return shares.diff(dim=-1).abs().mean() + shares.diff(dim=-2).abs().mean()


def temporal_error(image: Tensor, real: Tensor, weight: Tensor, window: int) -> Tensor:
    """Weighted mean error of the change from frame to frame; each ``window`` frames in sequence belong together."""
    made, true, weight = (x.view(-1, window, *x.shape[1:]) for x in (image, real, weight))
    return weighted_error(made.diff(dim=1).flatten(0, 1), true.diff(dim=1).flatten(0, 1), weight[:, 1:].flatten(0, 1))


def sharpness(image: Tensor, weight: Tensor) -> Tensor:
    """Variance [B] of the Laplacian of the grey image where the weight is above 0.5."""
    edges = _laplacian(image)
    inside = (weight > 0.5).float()
    count = inside.sum(dim=(1, 2, 3)).clamp(min=1)
    mean = (inside * edges).sum(dim=(1, 2, 3)) / count
    return (inside * edges.square()).sum(dim=(1, 2, 3)) / count - mean.square()


def _laplacian(image: Tensor) -> Tensor:
    """Laplacian of the grey image, the mean of the channels: [B, 1, H, W]."""
    grey = image.mean(dim=1, keepdim=True)
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)


def _smooth(x: Tensor) -> Tensor:
    """Means over SSIM's Gaussian windows: [B, C, H - 10, W - 10]."""
    steps = torch.arange(SSIM_WINDOW, device=x.device, dtype=x.dtype) - SSIM_WINDOW // 2
    bell = torch.exp(-0.5 * (steps / SSIM_SIGMA) ** 2)
    bell = (bell / bell.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(x, bell, groups=x.shape[1])
    return F.conv2d(x, bell.transpose(2, 3), groups=x.shape[1])
