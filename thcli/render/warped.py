"""Warping of a person's references onto target meshes: the whole image, and the patches of mouth and eyes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.face_model import LEFT_EYE, LIPS, RIGHT_EYE, FaceModel
from thcli.images import blur, extent, smoothstep
from thcli.records import CROP_SIZE, Float
from thcli.render.compose import Patch
from thcli.render.head_weights import HeadWeightMap
from thcli.render.mouth_interior import InteriorPainter, MouthInterior
from thcli.render.rasterize import Fragments, interpolate, rasterize
from thcli.render.transition import dissolve
from thcli.render.warp import head_flow, pixel_grid, sample, side_by_side

MOUTH_REACH = (0.05, 0.26)
"""Distances from the lips at which the mouth patch begins to fade and has faded out, canonical face units."""
EYE_REACH = (0.04, 0.17)
"""Distances from the lids at which the eye patch begins to fade and has faded out, canonical face units."""
LEVELS = (1.0, 2.2)
"""Standard deviations, px of the image, of the blur of the references where closing lids or lips squeeze two, and four,
lines into one."""
HARMLESS = 1.25
"""Squeeze, in px of the reference per px of the image, up to which nothing is blurred; without this limit, mouths that
are hardly warped lose a tenth of their sharpness."""
SNAP = 16
"""Spacing, px of the crop, of the places at which patches begin and end."""
BORDER = 0.1
"""Distance from the border of what the references show, over the image's side, from which the image moves freely.

Nearer to the border it moves ever less, and the border itself rests: beyond it the references show nothing, and a
border that moved inward would leave streaks. Where the image is part of a larger frame, the frame continues there
without a seam.
"""
FLOW_SIZE = CROP_SIZE // 2
"""Side, px, of the grid on which flows of whole images are computed; they are smooth, and a finer one shows no more."""
TOGETHER = 8
"""Most references sampled at a time; a processor's cores share them evenly."""
TOGETHER_PIXELS = TOGETHER * 512 * 512
"""Most pixels of references sampled at a time, so that memory does not grow with their size times their number."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
"""Left, top, right and bottom edge of what a reference without empty borders shows, over its side."""


class ReferenceWarper:
    """Warps the references of one person onto target meshes.

    images: [K, 3, S, S] float32 in 0..1, the references at the size of the output
    meshes: [K, V, 3] float32, their meshes, px of the references resized to ``records.CROP_SIZE``
    interior: mean inside painted into mouths that open further than any reference's; without it they are stretched
    shown: left, top, right and bottom edge of what the references show, over their side; they are empty beyond it
    """

    def __init__(
        self,
        images: Tensor,
        meshes: Tensor,
        model: FaceModel,
        head_weights: HeadWeightMap,
        device: str = "cpu",
        interior: MouthInterior | None = None,
        shown: tuple[float, float, float, float] = WHOLE,
    ):
        self.images, self.meshes = images.to(device), meshes.to(device)
        self.faces = torch.from_numpy(model.faces).long().to(device)
        self.head_weights = HeadWeightMap(head_weights.weight.to(device))
        self.painter = None
        if interior is not None:
            self.painter = InteriorPainter(interior, self.images, self.meshes, self.faces)
        self.held = _border(device, shown)
        self.parts = torch.stack([_closeness(model, *region) for region in _REGIONS], -1).to(device)

    def warp(
        self, target: Tensor, base: Float, mouth: Float, eyes: Float, dissolved: Sequence[bool] = ()
    ) -> tuple[Tensor, list[Patch]]:
        """Warp the references to meshes [B, V, 3] px of the crop: images [B, 3, S, S], and patches of mouth and eyes.

        base, mouth, eyes: [B, K], weights of the references for each part, rows sum to 1; or [N, B, K], for N images
            [N, B, 3, S, S] of each mesh, for which a reference is warped once
        dissolved: whether each of the N images dissolves from one reference to another where its weights do; the others
            are blends
        """
        target = target.to(self.images.device)
        fragments = rasterize(target, self.faces, CROP_SIZE, CROP_SIZE)
        image = self._whole(target, base, dissolved)
        masks = interpolate(fragments, self.faces, self.parts.expand(len(target), -1, -1)).contiguous()
        patches = [
            self._patch(target, fragments, masks[:, i : i + 1], weights, painter)
            for i, (weights, painter) in enumerate(((mouth, self.painter), (eyes, None)))
        ]
        return image, [patch for patch in patches if patch is not None]

    def mouth(
        self, target: Tensor, weights: Float, size: int, part: tuple[int, int, int, int], also: Tensor
    ) -> tuple[Patch | None, Fragments, Tensor]:
        """Warp the patch of the mouth alone to meshes [B, V, 3], for images of ``size`` px.

        weights: [B, K], weights of the references, rows sum to 1
        part: top, left, height and width of the part of the crop that holds the patch, multiples of ``SNAP``
        also: [B, V, C], further attributes of the vertices

        Also returns the fragments of that part, and the attributes at each of its pixels, [B, C, height, width].
        """
        target, (top, left, height, width) = target.to(self.images.device), part
        fragments = rasterize(target - target.new_tensor([left, top, 0]), self.faces, height, width)
        attributes = torch.cat([self.parts[:, :1].expand(len(target), -1, -1), also], -1)
        mask, values = interpolate(fragments, self.faces, attributes).contiguous().tensor_split([1], dim=1)
        return self._patch(target, fragments, mask, weights, self.painter, size, (top, left)), fragments, values

    def source(self, target: Tensor, reference: int) -> Tensor:
        """Return where the vertices of target meshes [B, V, 3] lie in a reference: [1 or B, V, 3], px of the crop."""
        return self.meshes[reference : reference + 1]

    def _whole(self, target: Tensor, weights: Float, dissolved: Sequence[bool]) -> Tensor:
        """Warp whole images without patches: references that move with the head, by weights [B, K] or [N, B, K]."""
        scale = FLOW_SIZE / CROP_SIZE
        fragments = rasterize(target * target.new_tensor([scale, scale, 1.0]), self.faces, FLOW_SIZE, FLOW_SIZE)
        head_weight = self.head_weights.at(target, FLOW_SIZE) * self.held
        flows = [
            head_flow(_rows(fragments, b), self.faces, one, sources) * head_weight[b]
            for b, one, sources in self._moves(target, weights)
        ]
        flow, place = torch.cat(flows), {pair: i for i, pair in enumerate(_pairs(weights))}
        image = target.new_zeros(*weights.shape[:-1], *self.images.shape[1:])
        images, blended = image.view(-1, len(target), *image.shape[-3:]), weights.copy()
        several = blended.reshape(-1, *weights.shape[-2:])
        for i in np.flatnonzero(dissolved):
            between = np.flatnonzero((several[i] > 0).sum(axis=1) > 1)
            self._dissolve(images[i], several[i], between, flow, place)
            several[i, between] = 0
        pairs, step = _pairs(blended), min(TOGETHER, max(1, TOGETHER_PIXELS // self.images[0, 0].numel()))
        for first in range(0, len(pairs), step):
            some = pairs[first : first + step]
            sampled = sample(self.images[[k for _, k in some]], flow[[place[pair] for pair in some]])
            _add(image, sampled, some, blended)
        return image

    def _dissolve(
        self,
        images: Tensor,
        weights: Float,
        between: NDArray[np.intp],
        flow: Tensor,
        place: Mapping[tuple[int, int], int],
    ) -> None:
        """Set those of images [B, 3, S, S] that lie between two references, by weights [B, K].

        between: numbers of these images
        flow, place: flows [P, 2, F, F], and the place among them of that of a frame and a reference
        """
        step = max(1, TOGETHER_PIXELS // (2 * images[0, 0].numel()))
        for first in range(0, len(between), step):
            frames = between[first : first + step]
            # Where changes follow each other so fast that three references have a weight, the least is left out.
            two = np.sort(np.argsort(-weights[frames], axis=1, kind="stable")[:, :2], axis=1)
            used = np.take_along_axis(weights[frames], two, axis=1)
            share = torch.from_numpy(used[:, 1] / used.sum(axis=1)).to(images)
            rows = torch.tensor([[place[int(b), int(k)] for k in row] for b, row in zip(frames, two, strict=True)])
            images[torch.from_numpy(frames)] = dissolve(
                self.images[torch.from_numpy(two)], flow[rows], share, self.held
            )

    def _moves(self, target: Tensor, weights: Float) -> Iterator[tuple[int, Tensor, Tensor]]:
        """Yield, for each of B frames, its index, its mesh [1, V, 3] and those of the references it uses, [n, V, 3]."""
        for b, used in enumerate(_in_use(weights)):
            one = target[b : b + 1]
            yield b, one, torch.cat([self.source(one, k) for k in used])

    def _patch(
        self,
        target: Tensor,
        fragments: Fragments,
        mask: Tensor,
        weights: Float,
        painter: InteriorPainter | None,
        size: int | None = None,
        corner: tuple[int, int] = (0, 0),
    ) -> Patch | None:
        """Warp the part under ``mask`` [B, 1, H, W] alone, as a patch that holds it in all frames; None without any.

        size: side of the images that the patch is for, px; None for that of the references
        corner: top and left edge of the fragments in the crop, multiples of ``SNAP``
        """
        seen = (mask > 0).any(0)[0]
        if not bool(seen.any()):
            return None
        top, bottom = _ends(seen.any(1))
        left, right = _ends(seen.any(0))
        cut = (slice(None), slice(top, bottom), slice(left, right))
        inside = Fragments(fragments.face[cut], fragments.barycentric[cut], fragments.depth[cut])
        size = size or self.images.shape[-1]
        out = size / CROP_SIZE
        down, along = corner
        box = [round(edge * out) for edge in (down + top, down + bottom, along + left, along + right)]
        shape = (box[1] - box[0], box[3] - box[2])
        moved = [
            side_by_side(_rows(inside, b), self.faces, one, sources)[0].view(-1, 2, bottom - top, right - left)
            for b, one, sources in self._moves(target, weights)
        ]
        grid = pixel_grid(size, target.device)[:, box[0] : box[1], box[2] : box[3]]
        where = _resized(torch.cat(moved), shape).add_(grid).mul_(2 / CROP_SIZE).sub_(1).permute(0, 2, 3, 1)
        pairs = _pairs(weights)
        image = target.new_zeros(*weights.shape[:-1], 3, *shape)
        _add(image, _sample_smoothly(self.images, [k for _, k in pairs], where), pairs, weights)
        if painter is not None and weights.ndim > 2:
            several = zip(image, weights, strict=True)
            image = torch.stack([painter.paint(one, inside, target, its) for one, its in several])
        elif painter is not None:
            image = painter.paint(image, inside, target, weights)
        return Patch(image, _resized(mask[..., top:bottom, left:right], shape), box[0], box[2])


_REGIONS = (([*LIPS], MOUTH_REACH), ([*RIGHT_EYE, *LEFT_EYE], EYE_REACH))


def _closeness(model: FaceModel, seeds: list[int], reach: tuple[float, float]) -> Tensor:
    """Return how much each vertex [V] belongs to the part around the vertices ``seeds``: 1 near them, falling to 0."""
    distance = np.linalg.norm(model.canonical[:, None] - model.canonical[None, seeds], axis=-1).min(axis=1)
    share = np.clip((reach[1] - distance) / (reach[1] - reach[0]), 0, 1)
    # The vertices of the inner mouth and of the eyes lie among the seeds; the smooth step leaves no edge.
    return torch.from_numpy(smoothstep(share).astype(np.float32))


def _border(device: str, shown: tuple[float, float, float, float]) -> Tensor:
    """Return how freely the image moves, [FLOW_SIZE, FLOW_SIZE]: 0 at the border of what is shown, 1 inside."""
    place = pixel_grid(FLOW_SIZE, torch.device(device)) / CROP_SIZE
    first, last = (torch.tensor(shown, device=device).view(2, 2, 1, 1)[i] for i in range(2))
    share = (torch.minimum(place - first, last - place).amin(0) / BORDER).clamp(0, 1)
    return smoothstep(share)


def _in_use(weights: Float) -> list[list[int]]:
    """Return the references that each of B frames uses, by weights [B, K] or [N, B, K]."""
    in_use = np.atleast_2d((weights > 0).reshape(-1, *weights.shape[-2:]).any(axis=0))
    return [np.flatnonzero(row).tolist() for row in in_use]


def _pairs(weights: Float) -> list[tuple[int, int]]:
    """Return all pairs (frame, reference) in use, frame by frame."""
    return [(b, k) for b, used in enumerate(_in_use(weights)) for k in used]


def _add(images: Tensor, sampled: Tensor, pairs: Sequence[tuple[int, int]], weights: Float) -> None:
    """Add sampled references [P, ...], one of each pair, to images [B, ...] or [N, B, ...] by their weights."""
    several = weights.reshape(-1, *weights.shape[-2:])
    for image, shares in zip(images.view(len(several), -1, *sampled.shape[1:]), several, strict=True):
        for (b, k), one in zip(pairs, sampled, strict=True):
            if shares[b, k] > 0:
                image[b].add_(one, alpha=float(shares[b, k]))


def _rows(fragments: Fragments, b: int) -> Fragments:
    """Return the fragments of frame ``b`` alone."""
    row = slice(b, b + 1)
    return Fragments(fragments.face[row], fragments.barycentric[row], fragments.depth[row])


def _sample_smoothly(images: Tensor, references: Sequence[int], where: Tensor) -> Tensor:
    """Sample one of the references [K, 3, S, S] for each of P patches, without aliasing where it is squeezed.

    references: P indices of references
    where: [P, h, w, 2], places in -1..1 as for ``grid_sample``

    Returns [P, 3, h, w] in 0..1.
    """
    size = images.shape[-1]
    down = F.pad(where[:, 1:] - where[:, :-1], (0, 0, 0, 0, 0, 1))
    right = F.pad(where[:, :, 1:] - where[:, :, :-1], (0, 0, 0, 1))
    squeeze = torch.maximum(torch.hypot(*down.unbind(-1)), torch.hypot(*right.unbind(-1))) * (size / 2)
    depth = blur(torch.log2((squeeze / HARMLESS).clamp(1, 2 ** len(LEVELS)))[:, None], size / CROP_SIZE)
    patches = where.new_zeros(len(where), images.shape[1], *where.shape[1:3])
    for k in sorted(set(references)):
        rows = [i for i, reference in enumerate(references) if reference == k]
        source, places = _cut(images[k : k + 1], where[rows])
        patch = _share(depth[rows], 0) * _bicubic(source.expand(len(rows), -1, -1, -1), places)
        for i, sigma in enumerate(LEVELS, 1):
            share = _share(depth[rows], i)
            seen = (share > 0).any(0)[0]
            if bool(seen.any()):  # only in a small part
                high, wide = (slice(*extent(seen.any(axis))) for axis in (1, 0))
                near, there = _cut(source, places[:, high, wide])
                blurred = blur(near, sigma).expand(len(rows), -1, -1, -1)
                patch[..., high, wide] += share[..., high, wide] * _bicubic(blurred, there)
        patches[rows] = patch
    return patches.clamp_(0, 1)


def _share(depth: Tensor, level: int) -> Tensor:
    """Return the weight of a level of blur at fractional depths, linear between levels."""
    return (1 - (depth - level).abs()).clamp(min=0)


def _bicubic(source: Tensor, where: Tensor) -> Tensor:
    return F.grid_sample(source, where, mode="bicubic", padding_mode="border", align_corners=False)


def _cut(source: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """Return the part of an image [1, 3, H, W] that is sampled, with room for its blur, and the places in that part."""
    size, room = where.new_tensor([source.shape[-1], source.shape[-2]]), 3 * math.ceil(max(LEVELS)) + 2
    place = (where + 1) * (size / 2)
    (left, top), (right, bottom) = (
        torch.minimum(ends.clamp(min=0), size).int().tolist()
        for ends in (place.amin((0, 1, 2)) - room, place.amax((0, 1, 2)) + room + 1)
    )
    corner, extent = place.new_tensor([left, top]), place.new_tensor([right - left, bottom - top])
    return source[..., top:bottom, left:right], (place - corner) / (extent / 2) - 1


def _ends(used: Tensor) -> tuple[int, int]:
    """Return the first place in use and the one after the last, rounded outward to multiples of ``SNAP``.

    Few sizes of patches save memory, because the libraries keep some for every size.
    """
    first, end = extent(used)
    return first // SNAP * SNAP, min(-(-end // SNAP) * SNAP, CROP_SIZE)


def _resized(image: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == shape:
        return image
    return F.interpolate(image, size=shape, mode="bilinear", align_corners=False)
