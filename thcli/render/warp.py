"""Warping of a real frame onto a target mesh: a dense flow that follows the face exactly, and fades around it.

Flows are backward: the image at x comes from the source at x + flow(x), in pixels of the square crop, so one
flow serves any resolution. Meshes are [B, V, 3] torch tensors in pixels of the crop (``records.CROP_SIZE``).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import fill
from thcli.records import CROP_SIZE
from thcli.render.rasterize import Fragments, interpolate

SKIN = slice(0, 468)
"""Vertices on the skin; those of the irises turn with the gaze and not with the head."""


def pixel_grid(size: int, device: torch.device | None = None) -> Tensor:
    """Return the pixel centres of the crop at a resolution of ``size``: [2, size, size] (x, y), pixels of the crop."""
    steps = (torch.arange(size, device=device) + 0.5) * (CROP_SIZE / size)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y])


def head_flow(fragments: Fragments, faces: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Compute the flow of an image that moves with the head as a whole: [B, 2, H, W], px of the crop.

    On the mesh the flow is exact. Around the mesh it is the similarity transform between the two meshes, plus the
    difference from the mesh's own movement at its border, spread smoothly.

    fragments: fragments of the target meshes, at the resolution of the result
    target, source: [B, V, 3]; one source may serve all targets, and one target all sources, which is much cheaper
    """
    size = fragments.face.shape[-1]
    moved = side_by_side(fragments, faces, target, source)
    rigid = _similarity(target[:, SKIN, :2], source[:, SKIN, :2], size).view_as(moved)
    inside = fragments.mask[:, None].to(moved.dtype)
    return fill(moved.sub_(rigid), inside).add_(rigid).view(-1, 2, size, size)


def side_by_side(fragments: Fragments, faces: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Return the mesh's own movement to n sources as channels [B, 2 n, H, W], 0 beside the mesh; see ``head_flow``."""
    moves = (source - target)[..., :2]
    beside = moves.reshape(len(target), -1, *moves.shape[1:]).transpose(1, 2).flatten(2)
    return interpolate(fragments, faces, beside).contiguous()


def _similarity(target: Tensor, source: Tensor, size: int) -> Tensor:
    """Return the flow [B, 2, size, size] of the least-squares similarity that maps points [B, P, 2] to the source's."""
    mean, source_mean = target.mean(1, keepdim=True), source.mean(1, keepdim=True)
    x, y = (target - mean).unbind(-1)
    u, v = (source - source_mean).unbind(-1)
    norm = (x * x + y * y).sum(1)
    a, b = (x * u + y * v).sum(1) / norm, (x * v - y * u).sum(1) / norm
    turn = torch.stack([a - 1, -b, b, a - 1], -1).view(-1, 2, 2)
    shift = (source_mean - mean).mT - turn @ mean.mT
    grid = pixel_grid(size, target.device).to(target.dtype).flatten(1)
    return torch.baddbmm(shift, turn, grid.expand(len(turn), -1, -1)).view(-1, 2, size, size)


def sample(images: Tensor, flow: Tensor, mode: str = "bicubic") -> Tensor:
    """Sample images [B, C, S, S] through flows [B, 2, H, W]: [B, C, S, S] in 0..1; the border is repeated.

    The flow may be coarser than the images: it is smooth, and is enlarged to their resolution.
    """
    size = images.shape[-1]
    if flow.shape[-1] != size:
        flow = F.interpolate(flow, size=(size, size), mode="bilinear", align_corners=False)
    where = torch.add(pixel_grid(size, flow.device) / (CROP_SIZE / 2) - 1, flow, alpha=2 / CROP_SIZE)
    pulled = F.grid_sample(images, where.permute(0, 2, 3, 1), mode=mode, padding_mode="border", align_corners=False)
    return pulled.clamp_(0, 1)
