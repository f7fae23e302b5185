"""Augmentation of face crops, from which the tracker's networks learn to cope with imprecise crops and poor images.

Everything is done for a whole batch at a time, in PyTorch on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.faces.builtin import FACE_CROP_MARGIN

MISSED = 0.12
"""Share of the crops that miss the face on purpose."""
BESIDE, WIDE, PIECE, BROKEN = 1, 2, 3, 4
"""Ways to miss a face: a crop beside it, far too wide, so close that a piece of it fills the crop, or broken up."""


@dataclass(frozen=True)
class Views:
    """Random crops of faces, with what the network is to answer.

    crops: [B, 3, S, S] float32 in 0..1
    mesh: [B, V, 3] float32 in units of the crop's side, from its top left corner
    face: [B] float32, 1 where the crop holds a face as a tracker would place it, 0 where it misses the face
    """

    crops: Tensor
    mesh: Tensor
    face: Tensor


def random_views(
    images: Tensor, meshes: Tensor, mirror: Tensor, size: int, generator: torch.Generator, missed: float = MISSED
) -> Views:
    """Cut crops around faces as a tracker would, imprecisely, and degrade them as cameras do.

    images: [B, 3, H, W] uint8
    meshes: [B, V, 3] float32, pixels of the images
    mirror: [V], the vertex that each vertex becomes in a mirror
    size: side S of the crops, px
    missed: share of the crops that miss the face on purpose, in one of the ways named ``BESIDE`` to ``BROKEN``
    """
    batch = len(images)

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(batch, generator=generator)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    low, high = meshes[..., :2].amin(1), meshes[..., :2].amax(1)
    side = FACE_CROP_MARGIN * (high - low).amax(1)
    miss = _misses(batch, missed, generator)
    angle = torch.where(uniform(0, 1) < 0.6, 0.12 * normal(batch), uniform(-math.pi / 4, math.pi / 4))
    angle = angle - _roll(meshes)
    shift = (0.06 * normal(batch, 2)).clamp(-0.15, 0.15)
    direction = uniform(0, 2 * math.pi)
    away = torch.stack([direction.cos(), direction.sin()], -1)
    shift = torch.where((miss == BESIDE)[:, None], away * uniform(0.5, 0.9)[:, None], shift)
    shift = torch.where((miss == PIECE)[:, None], away * uniform(0.0, 0.5)[:, None], shift)
    centre = (low + high) / 2 + shift * side[:, None]
    zoom = torch.exp((0.12 * normal(batch)).clamp(-0.35, 0.35))
    zoom = torch.where(miss == WIDE, uniform(2.2, 3.5), zoom)
    zoom = torch.where(miss == PIECE, uniform(0.08, 0.3), zoom)
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    # The columns of ``axes`` are the crop's x and y axes, in pixels of the image.
    cos, sin = angle.cos(), angle.sin()
    axes = torch.stack([torch.stack([cos * flip, -sin], -1), torch.stack([sin * flip, cos], -1)], 1)
    axes = axes * (side * zoom)[:, None, None]

    crops = cut(images, centre, axes, size)
    mesh = torch.cat(
        [
            (meshes[..., :2] - centre[:, None]) @ torch.linalg.inv(axes).mT + 0.5,
            meshes[..., 2:] / (side * zoom)[:, None, None],
        ],
        -1,
    )
    mesh = torch.where((flip < 0)[:, None, None], mesh[:, mirror], mesh)
    broken = torch.nonzero(miss == BROKEN)[:, 0]
    crops[broken] = _break(crops[broken], generator)
    crops = spoil(crops, generator, occluded=0.3, smallest=1 / 6)
    return Views(crops, mesh, (miss == 0).float())


def tracked_crops(
    images: Tensor, meshes: Tensor, size: int, generator: torch.Generator
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Cut upright crops as a tracker places them by the mesh of the frame before, with an error of 3 % of the side.

    Returns crops [B, 3, S, S] float32 in 0..1, and the function that maps points [B, V, 2] in units of the crop to
    pixels of the image.

    images, meshes, size: as for ``random_views``
    """
    low, high = meshes[..., :2].amin(1), meshes[..., :2].amax(1)
    side = FACE_CROP_MARGIN * (high - low).amax(1)
    centre = (low + high) / 2 + 0.03 * side[:, None] * torch.randn(len(meshes), 2, generator=generator)
    cos, sin = _roll(meshes).cos(), -_roll(meshes).sin()
    axes = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], 1) * side[:, None, None]
    return cut(images, centre, axes, size), lambda points: (points - 0.5) @ axes.mT + centre[:, None]


def _misses(batch: int, share: float, generator: torch.Generator) -> Tensor:
    """Choose how each crop misses its face: [B], 0 where it does not, else one of ``BESIDE`` to ``BROKEN``."""
    ways = torch.multinomial(torch.tensor([0.35, 0.2, 0.25, 0.2]), batch, replacement=True, generator=generator) + 1
    return torch.where(torch.rand(batch, generator=generator) < share, ways, 0)


def _break(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Shuffle the squares of crops [B, 3, S, S], or replace a crop by coarse noise in its colours half of the time."""
    batch, channels, size, _ = crops.shape
    if not batch:
        return crops
    count = 4
    order = torch.randperm(count * count, generator=generator)
    tiles = crops.reshape(batch, channels, count, size // count, count, size // count).permute(0, 1, 2, 4, 3, 5)
    tiles = tiles.reshape(batch, channels, count * count, size // count, size // count)[:, :, order]
    tiles = tiles.view(batch, channels, count, count, size // count, size // count).permute(0, 1, 2, 4, 3, 5)
    shuffled = tiles.reshape(batch, channels, size, size)
    coarse = int(torch.randint(2, 25, (1,), generator=generator))
    noise = F.interpolate(torch.randn(batch, channels, coarse, coarse, generator=generator), size=(size, size))
    mean, deviation = crops.mean((-1, -2), keepdim=True), crops.flatten(2).std(-1)[..., None, None]
    plain = (torch.rand(batch, 1, 1, 1, generator=generator) < 0.5).float()
    return shuffled + (mean + deviation * noise - shuffled) * plain


def _roll(meshes: Tensor) -> Tensor:
    """Angle [B], rad, by which meshes [B, V, 3] are turned in the image, from the line of the outer eye corners."""
    eyes = meshes[:, 263, :2] - meshes[:, 33, :2]
    return -torch.atan2(eyes[:, 1], eyes[:, 0])


def cut(images: Tensor, centre: Tensor, axes: Tensor, size: int) -> Tensor:
    """Cut crops [B, C, S, S] float32 in 0..1 out of images [B, C, H, W] uint8, whose border is repeated.

    centre: [B, 2], of the crops, px of the images
    axes: [B, 2, 2], whose columns are the crops' x and y axes, px of the images
    """
    steps = (torch.arange(size) + 0.5) / size - 0.5
    grid_y, grid_x = torch.meshgrid(steps, steps, indexing="ij")
    grid = torch.stack([grid_x, grid_y], -1).view(1, -1, 2)
    where = (centre[:, None] + grid @ axes.mT).view(-1, size, size, 2)
    scale = torch.tensor([images.shape[-1], images.shape[-2]])
    return F.grid_sample(images.float() / 255, where / scale * 2 - 1, padding_mode="border", align_corners=False)


def spoil(crops: Tensor, generator: torch.Generator, occluded: float, smallest: float) -> Tensor:
    """Change light and colour of crops [B, 3, S, S], blur, compress and partly cover them, and add noise.

    The crops that are passed are changed as well.

    occluded: share of the crops that are partly covered
    smallest: least side, as a part of S, to which a quarter of the crops is reduced before it is enlarged again; the
        largest is four times that
    """
    batch = len(crops)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(batch, *(shape or (1, 1, 1)), generator=generator)

    def some(share: float) -> Tensor:
        return torch.nonzero(torch.rand(batch, generator=generator) < share)[:, 0]

    chosen = some(occluded)
    crops[chosen] = _occlude(crops[chosen], generator)
    chosen = some(0.25)
    reduced = smallest * min(4.0, 1 / smallest) ** float(torch.rand((), generator=generator))
    crops[chosen] = _shrink(crops[chosen], round(reduced * crops.shape[-1]))
    chosen = some(0.15)
    crops[chosen] = crops[chosen].mean(1, keepdim=True)
    chosen = some(0.5)
    crops[chosen] = crops[chosen].clamp(1e-4, 1) ** torch.exp(uniform(-0.5, 0.5)[chosen])
    crops = crops * (uniform(0.75, 1.25) * uniform(0.9, 1.1, 3, 1, 1)) + uniform(-0.1, 0.1)
    chosen = some(0.15)
    crops[chosen] = crops[chosen] * uniform(0.15, 0.6)[chosen]
    chosen = some(0.25)
    crops[chosen] = _compress(crops[chosen], uniform(0.01, 0.12)[chosen])
    chosen = some(0.3)
    noise = torch.randn(crops[chosen].shape, generator=generator)
    crops[chosen] = crops[chosen] + noise * uniform(0.005, 0.06)[chosen]
    return crops.clamp(0, 1)


def _occlude(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Lay an ellipse of another crop of the batch, or of plain colour, over each crop."""
    batch, _, size, _ = crops.shape
    steps = (torch.arange(size) + 0.5) / size
    centre = torch.rand(batch, 2, 1, 1, generator=generator)
    radius = 0.06 + 0.2 * torch.rand(batch, 2, 1, 1, generator=generator)
    distance = ((steps[None, None, :] - centre[:, 0]) / radius[:, 0]) ** 2
    distance = distance + ((steps[None, :, None] - centre[:, 1]) / radius[:, 1]) ** 2
    inside = (distance < 1)[:, None]
    other = crops[torch.randperm(batch, generator=generator)]
    plain = torch.rand(batch, 3, 1, 1, generator=generator).expand_as(crops)
    cover = torch.where(torch.rand(batch, 1, 1, 1, generator=generator) < 0.5, other, plain)
    return torch.where(inside, cover, crops)


def _shrink(crops: Tensor, size: int) -> Tensor:
    """Blur crops: reduce them to a side of ``size`` px and enlarge them again."""
    small = F.interpolate(crops, size=(size, size), mode="bilinear", antialias=True)
    return F.interpolate(small, size=crops.shape[-2:], mode="bilinear")


def _compress(crops: Tensor, step: Tensor) -> Tensor:
    """Quantise the cosine transform of blocks of 8 x 8 pixels, as JPEG and video codecs do."""
    n = torch.arange(8, dtype=torch.float32)
    basis = torch.cos((2 * n[None, :] + 1) * n[:, None] * math.pi / 16) / 2
    basis[0] /= math.sqrt(2)
    batch, channels, height, width = crops.shape
    blocks = crops.view(batch, channels, height // 8, 8, width // 8, 8).permute(0, 1, 2, 4, 3, 5)
    quantum = step[..., None, None] * (1 + (n[:, None] + n[None, :]) / 2)
    blocks = basis.T @ ((basis @ blocks @ basis.T / quantum).round() * quantum) @ basis
    return blocks.permute(0, 1, 2, 4, 3, 5).reshape(batch, channels, height, width)
