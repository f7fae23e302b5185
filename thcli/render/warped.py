"""The geometric picture: references warped onto the target mesh, and the windows of mouth and eyes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.face_model import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FaceModel
from thcli.images import blur
from thcli.records import CROP_SIZE, Float
from thcli.render.head_weights import Attachment
from thcli.render.mouth_interior import InteriorPainter
from thcli.render.mouth_texture import MouthInterior
from thcli.render.rasterize import Fragments, interpolate, rasterize
from thcli.render.warp import head_flow, pixel_grid, sample, side_by_side

MOUTH_REACH = (0.05, 0.26)
EYE_REACH = (0.04, 0.17)
"""Distance from the lips and the lids at which the part begins to fade and has faded out, canonical units."""
LEVELS = (1.0, 2.2)
"""Blur, in pixels of the picture, of the references where lids or lips close and squeeze two, and four, lines into
one."""
HARMLESS = 1.25
"""Squeeze up to which nothing is blurred: without it, mouths that are hardly warped lose a tenth of their sharpness."""
SNAP = 16
"""Windows begin and end at multiples of this many pixels of the crop."""
BORDER = 0.1
"""Distance from the border, over the picture's side, from which it moves freely, and ever less toward the border, which
rests: beyond it the references show nothing, and a border that moved inward would leave streaks. Where the picture is
part of a larger frame, the frame goes on there without a seam."""
TOGETHER = 8
"""References sampled at a time: a processor's cores share them out whole."""
TOGETHER_PIXELS = TOGETHER * 512 * 512
"""Fewer are where they are large, so that memory does not grow with their size times their number."""
WHOLE = (0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Window:
    """A part of the pictures from references of its own; see ``thcli.render.compose.Part``.

    image: [B, 3, h, w] or [N, B, 3, h, w], as the pictures are; mask: [B, 1, h, w], that of all N
    """

    image: Tensor
    mask: Tensor
    top: int
    left: int


class PictureRenderer:
    """Draws frames of one job.

    images: [K, 3, S, S] float32 in 0..1, the references' crops at the size of the output
    meshes: [K, V, 3] float32, pixels of the crop (``records.CROP_SIZE``)
    interior: what is painted into mouths that open further than any reference's; without it they are stretched
    shown: left, top, right and bottom end of what the references truly show, in shares of their side
    """

    def __init__(
        self,
        images: Tensor,
        meshes: Tensor,
        model: FaceModel,
        attachment: Attachment,
        device: str = "cpu",
        interior: MouthInterior | None = None,
        shown: tuple[float, float, float, float] = WHOLE,
    ):
        self.images, self.meshes = images.to(device), meshes.to(device)
        self.faces = torch.from_numpy(model.faces).long().to(device)
        self.attachment = Attachment(attachment.weight.to(device))
        self.painter = None
        if interior is not None:
            self.painter = InteriorPainter(interior, self.images, self.meshes, self.faces)
        self.held = _border(device, shown)
        self.parts = torch.stack([_closeness(model, *region) for region in _REGIONS], -1).to(device)

    def draw(self, target: Tensor, base: Float, mouth: Float, eyes: Float) -> tuple[Tensor, list[Window]]:
        """Pictures [B, 3, S, S] and the windows of mouth and eyes, for meshes [B, V, 3] px of the crop.

        base, mouth, eyes: [B, K], the references' weights for each part, rows sum to 1; or [N, B, K], for N pictures
            [N, B, 3, S, S] of each mesh, for which a reference is warped once
        """
        target = target.to(self.images.device)
        fragments = rasterize(target, self.faces, CROP_SIZE, CROP_SIZE)
        picture = self._whole(target, fragments, base)
        masks = interpolate(fragments, self.faces, self.parts.expand(len(target), -1, -1)).contiguous()
        windows = [
            self._window(target, fragments, masks[:, i : i + 1], weights, painter)
            for i, (weights, painter) in enumerate(((mouth, self.painter), (eyes, None)))
        ]
        return picture, [window for window in windows if window is not None]

    def source(self, target: Tensor, reference: int) -> Tensor:
        """Where the vertices of target meshes [B, V, 3] lie in a reference: [1 or B, V, 3], pixels of the crop."""
        return self.meshes[reference : reference + 1]

    def _whole(self, target: Tensor, fragments: Fragments, weights: Float) -> Tensor:
        """The pictures without their windows: references that move with the head, by weights [B, K] or [N, B, K]."""
        attached = self.attachment.at(target, CROP_SIZE) * self.held
        flows = [
            head_flow(_rows(fragments, b), self.faces, one, sources) * attached[b]
            for b, one, sources in self._moves(target, weights)
        ]
        flow, pairs = torch.cat(flows), _pairs(weights)
        picture = target.new_zeros(*weights.shape[:-1], *self.images.shape[1:])
        step = min(TOGETHER, max(1, TOGETHER_PIXELS // self.images[0, 0].numel()))
        for first in range(0, len(pairs), step):
            some = pairs[first : first + step]
            pulled = sample(self.images[[k for _, k in some]], flow[first : first + step])
            _add(picture, pulled, some, weights)
        return picture

    def _moves(self, target: Tensor, weights: Float) -> Iterator[tuple[int, Tensor, Tensor]]:
        """For each of B frames: its index, its mesh [1, V, 3], and that in the references it uses, [n, V, 3]."""
        for b, used in enumerate(_in_use(weights)):
            one = target[b : b + 1]
            yield b, one, torch.cat([self.source(one, k) for k in used])

    def _window(
        self, target: Tensor, fragments: Fragments, mask: Tensor, weights: Float, painter: InteriorPainter | None
    ) -> Window | None:
        """The part under ``mask`` [B, 1, H, W] alone, in the smallest window that holds it in all frames."""
        seen = (mask > 0).any(0)[0]
        if not bool(seen.any()):
            return None
        top, bottom = _ends(seen.any(1))
        left, right = _ends(seen.any(0))
        cut = (slice(None), slice(top, bottom), slice(left, right))
        inside = Fragments(fragments.face[cut], fragments.barycentric[cut], fragments.depth[cut])
        size, out = self.images.shape[-1], self.images.shape[-1] / CROP_SIZE
        box = [round(edge * out) for edge in (top, bottom, left, right)]
        shape = (box[1] - box[0], box[3] - box[2])
        moved = [
            side_by_side(_rows(inside, b), self.faces, one, sources)[0].view(-1, 2, bottom - top, right - left)
            for b, one, sources in self._moves(target, weights)
        ]
        grid = pixel_grid(size, target.device)[:, box[0] : box[1], box[2] : box[3]]
        where = ((grid + _resized(torch.cat(moved), shape)) / (CROP_SIZE / 2) - 1).permute(0, 2, 3, 1)
        pairs = _pairs(weights)
        image = target.new_zeros(*weights.shape[:-1], 3, *shape)
        _add(image, _sample_smoothly(self.images, [k for _, k in pairs], where), pairs, weights)
        if painter is not None and weights.ndim > 2:
            several = zip(image, weights, strict=True)
            image = torch.stack([painter.paint(one, inside, target, its) for one, its in several])
        elif painter is not None:
            image = painter.paint(image, inside, target, weights)
        return Window(image, _resized(mask[..., top:bottom, left:right], shape), box[0], box[2])


_REGIONS = (([*OUTER_LIPS, *INNER_LIPS], MOUTH_REACH), ([*RIGHT_EYE, *LEFT_EYE], EYE_REACH))


def _closeness(model: FaceModel, seeds: list[int], reach: tuple[float, float]) -> Tensor:
    """How much each vertex [V] belongs to the part around the vertices ``seeds``: 1 near them, falling to 0."""
    distance = np.linalg.norm(model.canonical[:, None] - model.canonical[None, seeds], axis=-1).min(axis=1)
    share = np.clip((reach[1] - distance) / (reach[1] - reach[0]), 0, 1)
    # the inner mouth's and the eyes' own vertices lie among the seeds; the smooth step leaves no edge
    return torch.from_numpy((share * share * (3 - 2 * share)).astype(np.float32))


def _border(device: str, shown: tuple[float, float, float, float]) -> Tensor:
    """How far the picture may move at each pixel: not at the border of what is shown, freely inside: [256, 256]."""
    place = pixel_grid(CROP_SIZE, torch.device(device)) / CROP_SIZE
    first, last = (torch.tensor(shown, device=device).view(2, 2, 1, 1)[i] for i in range(2))
    share = (torch.minimum(place - first, last - place).amin(0) / BORDER).clamp(0, 1)
    return share * share * (3 - 2 * share)


def _in_use(weights: Float) -> list[list[int]]:
    """The references that each of B frames uses, by weights [B, K] or [N, B, K]."""
    in_use = np.atleast_2d((weights > 0).reshape(-1, *weights.shape[-2:]).any(axis=0))
    return [np.flatnonzero(row).tolist() for row in in_use]


def _pairs(weights: Float) -> list[tuple[int, int]]:
    """All (frame, reference) in use, frame by frame."""
    return [(b, k) for b, used in enumerate(_in_use(weights)) for k in used]


def _add(pictures: Tensor, pulled: Tensor, pairs: Sequence[tuple[int, int]], weights: Float) -> None:
    """Add to pictures [B, ...] or [N, B, ...] those of pairs of frame and reference [P, ...], each by its weight."""
    several = weights.reshape(-1, *weights.shape[-2:])
    for picture, shares in zip(pictures.view(len(several), -1, *pulled.shape[1:]), several, strict=True):
        for (b, k), image in zip(pairs, pulled, strict=True):
            if shares[b, k] > 0:
                picture[b].add_(image, alpha=float(shares[b, k]))


def _rows(fragments: Fragments, b: int) -> Fragments:
    """Those of one frame."""
    row = slice(b, b + 1)
    return Fragments(fragments.face[row], fragments.barycentric[row], fragments.depth[row])


def _sample_smoothly(images: Tensor, references: Sequence[int], where: Tensor) -> Tensor:
    """Pictures [P, 3, h, w] from references of images [K, 3, S, S], one each, at ``where`` [P, h, w, 2], without
    aliasing where they are squeezed."""
    size = images.shape[-1]
    down = F.pad(where[:, 1:] - where[:, :-1], (0, 0, 0, 0, 0, 1))
    right = F.pad(where[:, :, 1:] - where[:, :, :-1], (0, 0, 0, 1))
    squeeze = torch.maximum(down.norm(dim=-1), right.norm(dim=-1)) * (size / 2)
    depth = blur(torch.log2((squeeze / HARMLESS).clamp(1, 2 ** len(LEVELS)))[:, None], size / CROP_SIZE)
    pictures = where.new_zeros(len(where), images.shape[1], *where.shape[1:3])
    for k in sorted(set(references)):
        rows = [i for i, reference in enumerate(references) if reference == k]
        source, places = _cut(images[k : k + 1], where[rows])
        own = source.expand(len(rows), -1, -1, -1)
        picture = _share(depth[rows], 0) * _bicubic(own, places)
        by_pixel = picture.permute(0, 2, 3, 1)
        for i, sigma in enumerate(LEVELS, 1):
            share = _share(depth[rows, 0], i)
            seen = share > 0  # few pixels
            if bool(seen.any()):
                looked_up = _bicubic(blur(source, sigma), places[seen][None, None])[0, :, 0].T
                by_pixel[seen] += share[seen][:, None] * looked_up
        pictures[rows] = picture
    return pictures.clamp_(0, 1)


def _share(depth: Tensor, level: int) -> Tensor:
    return (1 - (depth - level).abs()).clamp(min=0)


def _bicubic(source: Tensor, where: Tensor) -> Tensor:
    return F.grid_sample(source, where, mode="bicubic", padding_mode="border", align_corners=False)


def _cut(source: Tensor, where: Tensor) -> tuple[Tensor, Tensor]:
    """The part of a picture [1, 3, S, S] that is looked at, with room for its blur, and the places in it."""
    size, room = source.shape[-1], 3 * math.ceil(max(LEVELS)) + 2
    place = (where + 1) * (size / 2)
    (left, top), (right, bottom) = (
        [int(edge) for edge in ends.clamp(0, size)]
        for ends in (place.amin((0, 1, 2)) - room, place.amax((0, 1, 2)) + room + 1)
    )
    corner, extent = place.new_tensor([left, top]), place.new_tensor([right - left, bottom - top])
    return source[..., top:bottom, left:right], (place - corner) / (extent / 2) - 1


def _ends(used: Tensor) -> tuple[int, int]:
    """First and last place in use, rounded outward: the libraries keep memory for every size of window."""
    places = torch.nonzero(used)[:, 0]
    first, last = int(places[0]), int(places[-1]) + 1
    return first // SNAP * SNAP, min(-(-last // SNAP) * SNAP, CROP_SIZE)


def _resized(image: Tensor, shape: tuple[int, int]) -> Tensor:
    if tuple(image.shape[-2:]) == shape:
        return image
    return F.interpolate(image, size=shape, mode="bilinear", align_corners=False)
