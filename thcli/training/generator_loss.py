"""What Θ is trained by (§4.4), and what is measured of it on held-out subjects.

Pictures are [B, 3, H, W] float32 in -1..1 here, weights of pixels [B, 1, H, W].
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

SSIM_SIGMA, SSIM_WINDOW = 1.5, 11
C1, C2 = 0.01**2, 0.03**2
"""As of Wang et al. (2004), for pictures in 0..1."""
DETAIL_WINDOW = 16
"""Pixels a side over which the detail of a picture is taken."""


def weighted_error(picture: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute difference."""
    return (weight * (picture - real).abs()).sum() / (3 * weight.sum())


def ssim(picture: Tensor, real: Tensor) -> Tensor:
    """Structural similarity at every pixel that has a whole 11×11 Gaussian around it, mean over channels: [B, 1, …]."""
    x, y = (picture.clamp(-1, 1) + 1) / 2, (real + 1) / 2
    mean_x, mean_y = _smooth(x), _smooth(y)
    var_x, var_y = _smooth(x * x) - mean_x**2, _smooth(y * y) - mean_y**2
    covariance = _smooth(x * y) - mean_x * mean_y
    likeness = ((2 * mean_x * mean_y + C1) * (2 * covariance + C2)) / (
        (mean_x**2 + mean_y**2 + C1) * (var_x + var_y + C2)
    )
    return likeness.mean(dim=1, keepdim=True)


def detail_error(picture: Tensor, photograph: Tensor, real: Tensor, weight: Tensor) -> Tensor:
    """How far the strength of fine detail, over small windows, is from the real picture's.

    Errors of pixels are least for a picture that is soft wherever it is not sure; this one is not: it asks for
    as much detail as there is, wherever that lies to the pixel.

    photograph: the picture without what is painted; only what its own detail is of the picture's counts. A network
        that could paint detail itself would weave a pattern, which is sharp and shows nothing.
    """
    own = _laplacian(photograph.detach())
    made = _over_windows(_laplacian(picture) * own) / _root(_over_windows(own.square()))
    true = _root(_over_windows(_laplacian(real).square()))
    weight = _over_windows(weight)
    return (weight * (made - true).abs()).sum() / weight.sum()


def _over_windows(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, DETAIL_WINDOW, DETAIL_WINDOW // 2)


def _root(x: Tensor) -> Tensor:
    return (x + 1e-6).sqrt()  # of flat windows as well


def roughness(shares: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, of shares [B, N, H, W]; 0 of none."""
    if not shares.shape[1]:
        return shares.sum()
    return shares.diff(dim=-1).abs().mean() + shares.diff(dim=-2).abs().mean()


def temporal_error(picture: Tensor, real: Tensor, weight: Tensor, window: int) -> Tensor:
    """How far the change from frame to frame is from the real one; frames of a window lie together."""
    made, true, weight = (x.view(-1, window, *x.shape[1:]) for x in (picture, real, weight))
    return weighted_error(made.diff(dim=1).flatten(0, 1), true.diff(dim=1).flatten(0, 1), weight[:, 1:].flatten(0, 1))


def sharpness(picture: Tensor, weight: Tensor) -> Tensor:
    """Variance of the Laplacian of the luminance where the weight is above a half, [B]."""
    edges = _laplacian(picture)
    inside = (weight > 0.5).float()
    count = inside.sum(dim=(1, 2, 3)).clamp(min=1)
    mean = (inside * edges).sum(dim=(1, 2, 3)) / count
    return (inside * edges.square()).sum(dim=(1, 2, 3)) / count - mean.square()


def _laplacian(picture: Tensor) -> Tensor:
    """Of the luminance, [B, 1, H, W]."""
    grey = picture.mean(dim=1, keepdim=True)
    kernel = grey.new_tensor([[0, 1, 0], [1, -4, 1], [0, 1, 0]]).view(1, 1, 3, 3)
    return F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel)


def _smooth(x: Tensor) -> Tensor:
    """Gaussian means, [B, C, H - 10, W - 10]."""
    steps = torch.arange(SSIM_WINDOW, device=x.device, dtype=x.dtype) - SSIM_WINDOW // 2
    bell = torch.exp(-0.5 * (steps / SSIM_SIGMA) ** 2)
    bell = (bell / bell.sum()).expand(x.shape[1], 1, 1, -1)
    x = F.conv2d(x, bell, groups=x.shape[1])
    return F.conv2d(x, bell.transpose(2, 3), groups=x.shape[1])
