"""Patches of mouth and eyes: where they lie in an image, and what the references show there, without aliasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import blur, extent, ramp, resized_to, sampled
from thcli.records import CROP_SIZE, Float
from thcli.render.compose import Patch
from thcli.render.flows import Flows, add_weighted, pairs_of
from thcli.render.mouth_interior import InteriorPainter
from thcli.render.openings import MIXED, Slides
from thcli.render.rasterize import Fragments
from thcli.render.warp import pixel_grid

LEVELS = (1.0, 2.2)
"""Standard deviations, px of the image, of the blur of the references where closing lids or lips squeeze two, and four,
lines into one."""
HARMLESS = 1.25
"""Squeeze, in px of the reference per px of the image, up to which nothing is blurred; without this limit, mouths that
are hardly warped lose a tenth of their sharpness."""
SNAP = 16
"""Spacing, px of the crop, of the places at which patches begin and end."""


@dataclass(frozen=True)
class PatchPlace:
    """Where a patch lies in images of B target meshes, and where its pixels lie in the references.

    mask: [B, 1, h, w] in 0..1, opacity of the patch
    fragments: fragments of the target meshes under it
    moves: moves [P, 2, h, w] of the meshes to the references
    top, left: place of its corner in the crop, px; sides and corners are multiples of ``SNAP``
    slides: layers of the pairs whose mouth or eyes are less open than the reference's
    """

    mask: Tensor
    fragments: Fragments
    moves: Flows
    top: int
    left: int
    slides: Slides | None = None

    def show(
        self,
        images: Tensor,
        weights: Float,
        target: Tensor,
        painter: InteriorPainter | None,
        size: int | None = None,
        fine: bool = True,
    ) -> Patch:
        """Return the patch that references [K, 3, S, S] show by weights [B, K], for images of ``size`` px, or S.

        target: [B, V, 3], target meshes, px of the crop
        painter: paints the inside of the mouth where the references' mouths are too closed
        fine: whether insides keep their size (``slides``), and lines that are squeezed are blurred
        """
        size = size or images.shape[-1]
        out, (height, width) = size / CROP_SIZE, self.mask.shape[-2:]
        top, bottom, left, right = (
            round(edge * out) for edge in (self.top, self.top + height, self.left, self.left + width)
        )
        shape = (bottom - top, right - left)
        pairs = pairs_of(weights)
        grid = pixel_grid(size, target.device)[:, top:bottom, left:right]
        where = _places(resized_to(self.moves.of(pairs), shape), grid, images)
        if fine:
            shown = _sample_smoothly(images, [k for _, k in pairs], where)
            if self.slides is not None:
                _slide(shown, self.slides, images, pairs, where, grid)
        else:
            shown = sampled(images, where, [k for _, k in pairs], cubic=True).clamp_(0, 1)
        image = target.new_zeros(len(weights), 3, *shape)
        add_weighted(image, shown, pairs, weights)
        if painter is not None:
            image = painter.paint(image, self.fragments, target, weights)
        return Patch(image, resized_to(self.mask, shape), top, left)


def box_of(mask: Tensor) -> tuple[int, int, int, int] | None:
    """Return top, bottom, left and right of what a mask [B, 1, H, W] shows in any frame; None where it shows nothing.

    They are rounded outward as ``snapped`` does.
    """
    seen = (mask > 0).any(0)[0]
    if not bool(seen.any()):
        return None
    return *snapped(*extent(seen.any(1))), *snapped(*extent(seen.any(0)))


def snapped(first: float, end: float) -> tuple[int, int]:
    """Return the stretch of the crop, at least ``SNAP`` px long, that holds that from ``first`` to ``end``.

    Its ends are multiples of ``SNAP``: few sizes of patches save memory, of which the libraries keep some for each.
    """
    begin = min(max(int(first // SNAP) * SNAP, 0), CROP_SIZE - SNAP)
    return begin, min(max(-int(-end // SNAP) * SNAP, begin + SNAP), CROP_SIZE)


def _places(moves: Tensor, grid: Tensor, images: Tensor) -> Tensor:
    """Return where moves [P, 2, h, w] lead from a grid [2, h, w], both px of the crop: [P, 2, h, w], px of the images.

    images: [K, 3, S, S], of which S alone counts
    """
    return moves.add(grid).mul_(images.shape[-1] / CROP_SIZE)


def _slide(
    patches: Tensor, slides: Slides, images: Tensor, pairs: list[tuple[int, int]], where: Tensor, grid: Tensor
) -> None:
    """Show the layers of slides in patches [P, 3, h, w] sampled of references [K, 3, S, S] for pairs, in place.

    where: [P, 2, h, w], places in the references, px
    grid: [2, h, w], pixel centres of the patch, px of the crop
    """
    known = {pair: row for row, pair in enumerate(slides.pairs)}
    rows = [row for row, pair in enumerate(pairs) if pair in known]
    if not rows:
        return
    of, some = [pairs[row][1] for row in rows], [known[pairs[row]] for row in rows]
    used, window = sorted(set(of)), slides.window(grid)
    values = resized_to(slides.values[some], (grid.shape[-2], grid.shape[-1]))[window]
    above, below, height, inside = values.tensor_split([2, 4, 5], dim=1)
    grid = grid[window]
    layers = _sample_smoothly(slides.sealed(images, used), [used.index(k) for k in of], where[rows][window])
    within = _sample_smoothly(images, of, _places(below, grid, images))
    if slides.part.upper > 0:
        lower = ramp(height, slides.part.upper - MIXED, slides.part.upper + MIXED)
        within = torch.lerp(_sample_smoothly(images, of, _places(above, grid, images)), within, lower)
    layers += inside * slides.seen[some] * (within - layers)
    for row, shown, layer in zip(rows, slides.shown[some], layers, strict=True):
        part = patches[row][window]
        part += shown * (layer - part)


def _sample_smoothly(images: Tensor, references: Sequence[int], where: Tensor) -> Tensor:
    """Sample one of the references [K, 3, S, S] for each of P patches, without aliasing where it is squeezed.

    references: P indices of references
    where: [P, 2, h, w], places in the references, px

    Returns [P, 3, h, w] in 0..1.
    """
    patches = sampled(images, where, references, cubic=True)
    depth = _squeeze(where, images.shape[-1])
    if depth is None:
        return patches.clamp_(0, 1)
    used = sorted(set(references))
    patches *= _share(depth, 0)
    for level, sigma in enumerate(LEVELS, 1):
        share = _share(depth, level)
        seen = share[:, 0] > 0
        if bool(seen.any()):  # only in a small part of some
            rows = torch.nonzero(seen.any(2).any(1))[:, 0].tolist()
            high, wide = (slice(*extent(seen.any(0).any(axis))) for axis in (1, 0))
            near, there = _cut(images, where[rows][..., high, wide])
            of = [used.index(references[row]) for row in rows]
            blurred = sampled(blur(near[used], sigma), there, of, cubic=True)
            patches[rows, :, high, wide] += share[rows][..., high, wide] * blurred
    return patches.clamp_(0, 1)


def _squeeze(where: Tensor, size: int) -> Tensor | None:
    """Return how deeply references of ``size`` px are to be blurred: [P, 1, h, w], 0 for not at all; None for nowhere.

    where: as for ``_sample_smoothly``; how far it is squeezed is measured about once a pixel of the crop
    """
    step = max(1, size // CROP_SIZE)
    coarse = where[..., ::step, ::step]
    down = F.pad(coarse[..., 1:, :] - coarse[..., :-1, :], (0, 0, 0, 1))
    right = F.pad(coarse[..., 1:] - coarse[..., :-1], (0, 1))
    squeeze = torch.maximum(torch.hypot(*down.unbind(1)), torch.hypot(*right.unbind(1))) / step
    depth = torch.log2((squeeze / HARMLESS).clamp(1, 2 ** len(LEVELS)))[:, None]
    if not bool(depth.any()):
        return None
    return resized_to(blur(depth, size / CROP_SIZE / step), (where.shape[2], where.shape[3]))


def _share(depth: Tensor, level: int) -> Tensor:
    """Return the weight of a level of blur at fractional depths, linear between levels."""
    return (1 - (depth - level).abs()).clamp(min=0)


def _cut(images: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return the part of images [K, 3, H, W] that is sampled, with room for its blur, and the places in that part.

    where: [P, 2, h, w], places in the images, px
    """
    size, room = where.new_tensor([images.shape[-1], images.shape[-2]]), 3 * math.ceil(max(LEVELS)) + 2
    (left, top), (right, bottom) = (
        torch.minimum(ends.clamp(min=0), size).int().tolist()
        for ends in (where.amin((0, 2, 3)) - room, where.amax((0, 2, 3)) + room + 1)
    )
    return images[..., top:bottom, left:right], where - where.new_tensor([left, top]).view(2, 1, 1)
