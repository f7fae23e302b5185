"""Warping of a real frame onto a target mesh: a dense flow that follows the face exactly, and fades around it.

Flows are backward: the image at x comes from the source at x + flow(x), in pixels of the square crop, so one
flow serves any resolution. Meshes are [B, V, 3] torch tensors in pixels of the crop (``records.CROP_SIZE``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import fill, resized_to, sampled
from thcli.records import CROP_SIZE
from thcli.render.rasterize import Fragments, interpolate

SKIN = slice(0, 468)
"""Vertices on the skin; those of the irises turn with the gaze and not with the head."""
EARS = [234, 454]
"""Vertices before the two ears, which are as far back as the outline of the hair."""
FALLS_BACK = 2.0
"""Weight, over that of a pixel of the mesh, with which all of the image beside the mesh is as far back as the ears; it
sets how soon the head's surface falls back. Were it to fall at once, strands that cross from the brow to the side would
bend where it does."""


def pixel_grid(size: int, device: torch.device | None = None) -> Tensor:
    """Return the pixel centres of the crop at a resolution of ``size``: [2, size, size] (x, y), pixels of the crop."""
    steps = (torch.arange(size, device=device) + 0.5) * (CROP_SIZE / size)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack([x, y])


def head_flow(fragments: Fragments, faces: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Compute the flow of an image that moves with the head as a whole, px of the crop.

    On the mesh the flow is exact. Around the mesh it is the movement of a rigid head in depth, whose surface falls back
    from the mesh to the depth of the ears, plus the difference from the mesh's own movement at its border, spread
    smoothly. Hair beside the face therefore moves less than the face where the head turns, as it lies further back.

    fragments: fragments of the target meshes, at the resolution of the result
    target: [B, V, 3]
    source: [B, n, V, 3], n sources of each target, or [1, n, V, 3], those of all targets

    Returns the flows to the n sources of each target one after the other: [B n, 2, H, W].
    """
    size = fragments.face.shape[-1]
    moved = side_by_side(fragments, faces, target, source)
    rigid = _rigid_flow(target[:, SKIN], source[:, :, SKIN, :2], _head_depth(fragments, target))
    inside = fragments.mask[:, None].to(moved.dtype)
    return fill(moved.sub_(rigid), inside).add_(rigid).view(-1, 2, size, size)


def _head_depth(fragments: Fragments, target: Tensor) -> Tensor:
    """Return the depth [B, 1, H, W], px of the crop, of heads whose meshes [B, V, 3] were rasterized to fragments."""
    inside = fragments.mask[:, None]
    back = target[:, EARS, 2].mean(1).view(-1, 1, 1, 1)
    known = torch.where(inside, 1.0, FALLS_BACK / inside.shape[-1] ** 2)
    return fill(torch.where(inside, fragments.depth[:, None], back), known)


def side_by_side(fragments: Fragments, faces: Tensor, target: Tensor, source: Tensor) -> Tensor:
    """Return the mesh's own movement to n sources as channels [B, 2 n, H, W], 0 beside the mesh; see ``head_flow``."""
    moves = (source - target[:, None])[..., :2]
    return interpolate(fragments, faces, moves.transpose(1, 2).flatten(2)).contiguous()


def _rigid_flow(target: Tensor, source: Tensor, depth: Tensor) -> Tensor:
    """Return flows [B, 2 n, H, W] of the least-squares maps of points [B, P, 3] in space to those of sources.

    source: [B or 1, n, P, 2]
    depth: [B, 1, H, W], depth of each pixel, px of the crop

    Rigid movements under orthographic projection are affine maps from space to the image.
    """
    batch, _, height, width = depth.shape
    points = F.pad(target, (0, 1), value=1.0)
    affine = torch.linalg.solve(points.mT @ points, points.mT @ source.transpose(1, 2).flatten(2))
    grid = pixel_grid(width, target.device).to(target.dtype).expand(batch, -1, -1, -1)
    place = torch.cat([grid, depth, torch.ones_like(depth)], 1).flatten(2)
    moved = (affine.mT @ place).view(batch, -1, 2, height, width)
    return moved.sub_(grid[:, None]).flatten(1, 2)


def sample(images: Tensor, flow: Tensor, of: Sequence[int] | None = None, cubic: bool = False) -> Tensor:
    """Sample images [K, C, S, S] through flows [P, 2, h, h], px of the crop: [P, C, S, S]; the border is repeated.

    of, cubic: as for ``images.sampled``

    The flow may be coarser than the images: it is smooth, and is enlarged to their resolution.
    """
    size = images.shape[-1]
    places = pixel_grid(size, flow.device) + resized_to(flow, (size, size))
    return sampled(images, places.mul_(size / CROP_SIZE), of, cubic)
