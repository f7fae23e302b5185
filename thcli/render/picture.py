"""The geometric picture: references warped onto the target mesh, and the windows of mouth and eyes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.face_model import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE, FaceModel
from thcli.mouth_interior import MouthInterior
from thcli.pyramid import blur
from thcli.records import CROP_SIZE, Float
from thcli.render.attachment import Attachment
from thcli.render.mouth_interior import InteriorPainter
from thcli.render.rasterize import Fragments, interpolate, rasterize
from thcli.render.warp import head_flow, pixel_grid, sample

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
    """A part of the pictures from references of its own; see ``thcli.synthesis.compose.Part``.

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
        masks = interpolate(fragments, self.faces, self.parts.expand(len(target), -1, -1))
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
        several = weights.reshape(-1, *weights.shape[-2:])
        pairs: list[tuple[int, int]] = []
        flows = []
        for b in range(len(target)):
            used = np.flatnonzero((several[:, b] > 0).any(axis=0))
            one, row = target[b : b + 1], slice(b, b + 1)
            seen = Fragments(fragments.face[row], fragments.barycentric[row], fragments.depth[row])
            sources = torch.cat([self.source(one, int(k)) for k in used])
            flows.append(head_flow(seen, self.faces, one, sources) * attached[b])
            pairs += [(b, int(k)) for k in used]
        flow, size = torch.cat(flows), self.images.shape[-1]
        picture = torch.zeros(*several.shape[:-1], *self.images.shape[1:], device=target.device)
        step = min(TOGETHER, max(1, TOGETHER_PIXELS // size**2))
        for first in range(0, len(pairs), step):
            some = pairs[first : first + step]
            pulled = sample(self.images[[k for _, k in some]], flow[first : first + step])
            for (b, k), image in zip(some, pulled, strict=True):
                for n in np.flatnonzero(several[:, b, k]):
                    picture[n, b].add_(image, alpha=float(several[n, b, k]))
        return picture.view(*weights.shape[:-1], *self.images.shape[1:])

    def _window(
        self, target: Tensor, fragments: Fragments, mask: Tensor, weights: Float, painter: InteriorPainter | None
    ) -> Window | None:
        """The part under ``mask`` [B, 1, H, W] alone, in the smallest window that holds it in all frames."""
        rows_used, columns_used = (mask.amax((0, 1, axis)) > 0 for axis in (3, 2))
        if not bool(rows_used.any()):
            return None
        top, bottom = _ends(rows_used)
        left, right = _ends(columns_used)
        cut = (slice(None), slice(top, bottom), slice(left, right))
        inside = Fragments(fragments.face[cut], fragments.barycentric[cut], fragments.depth[cut])
        size, out = self.images.shape[-1], self.images.shape[-1] / CROP_SIZE
        box = [round(edge * out) for edge in (top, bottom, left, right)]
        shape = (box[1] - box[0], box[3] - box[2])
        grid = pixel_grid(size, target.device)[:, box[0] : box[1], box[2] : box[3]]
        image = torch.zeros(*weights.shape[:-1], 3, *shape, device=target.device)
        for k, rows, share in _used(weights, target.device):
            some = Fragments(inside.face[rows], inside.barycentric[rows], inside.depth[rows])
            moved = interpolate(some, self.faces, (self.source(target[rows], k) - target[rows])[..., :2])
            flow = _resized(moved, shape)
            where = ((grid + flow) / (CROP_SIZE / 2) - 1).permute(0, 2, 3, 1)
            image[..., rows, :, :, :] += share * _sample_smoothly(self.images[k : k + 1], where)
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


def _used(weights: Float, device: torch.device) -> list[tuple[int, Tensor, Tensor]]:
    """For each reference in use, of [B, K] or [N, B, K]: its index, the rows of B that use it, and by how much,
    [n, 1, 1, 1] or [N, n, 1, 1, 1]."""
    used = []
    in_use = np.asarray((weights > 0).any(axis=tuple(range(weights.ndim - 2))))
    for k in np.flatnonzero(in_use.any(axis=0)):
        rows = np.flatnonzero(in_use[:, k])
        share = torch.from_numpy(np.ascontiguousarray(weights[..., rows, k]))[..., None, None, None]
        used.append((int(k), torch.from_numpy(rows).to(device), share.to(device)))
    return used


def _sample_smoothly(source: Tensor, where: Tensor) -> Tensor:
    """Pictures [B, 3, h, w] from one reference [1, 3, S, S] at ``where`` [B, h, w, 2], without aliasing where it is
    squeezed."""
    size = source.shape[-1]
    down = F.pad(where[:, 1:] - where[:, :-1], (0, 0, 0, 0, 0, 1))
    right = F.pad(where[:, :, 1:] - where[:, :, :-1], (0, 0, 0, 1))
    squeeze = torch.maximum(down.norm(dim=-1), right.norm(dim=-1)) * (size / 2)
    depth = torch.log2((squeeze / HARMLESS).clamp(1, 2 ** len(LEVELS)))
    depth = blur(depth[:, None], size / CROP_SIZE)
    source, where = _cut(source, where)
    image = torch.zeros(len(where), source.shape[1], *where.shape[1:3], device=where.device)
    for i, sigma in enumerate((0.0, *LEVELS)):
        share = (1 - (depth - i).abs()).clamp(min=0)
        if bool((share > 0).any()):
            level = (blur(source, sigma) if sigma else source).expand(len(where), -1, -1, -1)
            image += share * F.grid_sample(level, where, mode="bicubic", padding_mode="border", align_corners=False)
    return image.clamp(0, 1)


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
