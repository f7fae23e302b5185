"""Drawing of new lips into a filmed frame: the frame itself, moved with the jaw, and a mouth out of other frames.

The base is the frame. Its lower face, and what lies around it, is moved from the filmed mesh to the target mesh, by a
flow that fades to nothing on the neck and beside the cheeks: where the chin rises, the neck is drawn up behind it, and
no second outline is left. Over it lies a patch of lips and mouth warped from references, in the light of the frame. Θ
mends both where they meet. What is returned is a change of the frame, 0 wherever nothing is new.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.face_model import LANDMARKS_68, LIPS, FaceModel
from thcli.images import blur, fill, resized, smoothstep
from thcli.records import CROP_SIZE, Float
from thcli.render.compose import LARGEST_CORRECTION, LIGHT, Patch
from thcli.render.frames import keep_detail
from thcli.render.generator import PART_STEP, PartGenerator
from thcli.render.geometric import RenderModels
from thcli.render.head_weights import CHIN, FOREHEAD, prior_head_weights
from thcli.render.landmark_maps import draw_features, draw_landmarks
from thcli.render.rasterize import Fragments, interpolate
from thcli.render.warp import pixel_grid, side_by_side
from thcli.render.warped import MOUTH_REACH, ReferenceWarper
from thgen_models.generator import Frames

REST, FREE = 0.12, 0.33
"""Heights on the canonical face, from which on downward it begins to move, and is free to: the base of the nose and the
upper lip."""
LIP_REACH = (0.08, 0.3)
"""Distances from the lips up to which their filmed shape is dropped, and from which on the filmed shape is kept."""
BELOW = (0.4, 0.62)
"""Heights on the canonical face of the lips' middle and lower edge, between which the patch of the mouth grows."""
CHIN_REACH = (0.15, 0.36)
"""``MOUTH_REACH`` below the lips."""
FADE = 0.45
"""Distance from the face at which nothing moves any more, over the distance of the outer eye corners."""
NOSE = 2
"""Vertex at the base of the nose, above which nothing moves beside the face."""
COARSE = 4
"""Pixels of the crop of which one is made where distances from the face are measured."""
LEAST, SURE = 0.04, 0.16
"""Movements, px of the crop, up to which a place rests, and from which on it moves as far as it should."""
PAINT_ROOM = 8
"""Least distance of what Θ may change from the border of the part that it renders, px of the crop, as it sees less
there; where the part ends at the border of the crop there is none."""
PAINT_BLUR = 5.0
"""Standard deviation of the soft border of what Θ may change, px of the crop."""
LIGHT_RANGE = (0.6, 1.7)
"""Least and largest factor by which a reference is brought to the light of the frame."""
SMALL = 64
"""Least side, px, of the images on which the light of a patch is compared."""
EVEN = 2
"""Corners and sides of changes are multiples of this, as chroma has half the size."""


def lower_weight(model: FaceModel) -> Float:
    """Return how far each vertex [V, 1] follows the new expression: 1 on the lower face, 0 from the nose upward."""
    share = np.clip((model.canonical[:, 1:2] - REST) / (FREE - REST), 0, 1)
    return smoothstep(share).astype(np.float32)


def _far_from_lips(model: FaceModel) -> Float:
    """Return the distance [V] of each vertex of the canonical face from the nearest of the lips."""
    gaps = model.canonical[:, None] - model.canonical[None, list(LIPS)]
    return np.asarray(np.linalg.norm(gaps, axis=-1).min(axis=1))


def lip_weight(model: FaceModel) -> Float:
    """Return how far the filmed shape of each vertex [V, 1] is dropped: 1 at the lips, falling to 0 around them."""
    share = np.clip((LIP_REACH[1] - _far_from_lips(model)) / (LIP_REACH[1] - LIP_REACH[0]), 0, 1)
    return (smoothstep(share)[:, None] * lower_weight(model)).astype(np.float32)


class Part(NamedTuple):
    """A rectangle of a window: corner and size, px, all even."""

    top: int
    left: int
    height: int
    width: int


class Window(Protocol):
    """A square of a frame, of ``side`` px."""

    @property
    def side(self) -> int: ...

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the square as RGB [3, height, width] float32 in 0..1."""

    def reduced(self, size: int, part: Part) -> Tensor:
        """Return a part of the square reduced to ``size`` px, as RGB [3, height, width] float32 in 0..1."""


def patch_weight(model: FaceModel) -> Float:
    """Return how far the patch of the mouth covers each vertex [V, 1]: 1 around the lips, and further down the chin.

    Below a mouth that was filmed wide open lies its lower lip, which must not shine through.
    """
    far = _far_from_lips(model)
    down = smoothstep(np.clip((model.canonical[:, 1] - BELOW[0]) / (BELOW[1] - BELOW[0]), 0, 1))
    near, end = (above + down * (below - above) for above, below in zip(MOUTH_REACH, CHIN_REACH, strict=True))
    return smoothstep(np.clip((end - far) / (end - near), 0, 1))[:, None].astype(np.float32)


@dataclass(frozen=True)
class Drawn:
    """A change of a window.

    change: [3, h, w] float32, to be added to RGB in 0..1
    top, left: place of its corner in the window, px, even
    """

    change: Tensor
    top: int
    left: int


class LowerFaceRenderer:
    """Renderer of one person's lower face.

    images: [K, 3, S, S] float32 in 0..1, windows of the references
    meshes: [K, V, 3] float32, their meshes, px of the window resized to ``CROP_SIZE``
    theta: Θ; None to leave it out
    """

    def __init__(
        self, models: RenderModels, images: Tensor, meshes: Float, theta: PartGenerator | None = None
    ) -> None:
        model = models.face_model
        there = torch.from_numpy(meshes)
        self.warper = ReferenceWarper(images, there, model, prior_head_weights(), models.device, models.mouth_interior)
        self.warper.parts = torch.from_numpy(patch_weight(model)).to(self.warper.images.device)
        self.faces, self.device = self.warper.faces, self.warper.images.device
        self.lower = torch.from_numpy(lower_weight(model)).to(self.device)
        self.grid = pixel_grid(CROP_SIZE, self.device)
        self.theta = theta
        if theta is not None:
            self.images = resized(self.warper.images, CROP_SIZE) * 2 - 1
            self.maps = _maps(there).to(self.device)
            self.embedding = theta.embed(self.images, self.maps)

    @torch.inference_mode()
    def draw(self, window: Window, filmed: Float, target: Float, weights: Float, gain: Float, share: float) -> Drawn:
        """Draw a target into a window.

        window: a square of the frame
        filmed, target: [V, 3], meshes, px of the window resized to ``CROP_SIZE``
        weights: [K], weights of the references for the mouth
        gain: [3], factors that bring the references to the light of the frame
        share: opacity of what is drawn, 0..1
        """
        there, wanted = (torch.from_numpy(mesh)[None].to(self.device) for mesh in (filmed, target))
        patch, fragments = self.warper.mouth(wanted, weights[None], window.side)
        flow = self._flow(fragments, there, wanted)
        paint = self._paintable(fragments) if self.theta is not None else None
        box = _box(flow, paint, patch, window.side)
        around = _around(box, flow, window.side)
        surrounding = window.part(*around).to(self.device)
        top, left = box.top - around.top, box.left - around.left
        base = surrounding[:, top : top + box.height, left : left + box.width]
        moved = _moved(surrounding, around, flow, box, window.side)
        if patch is not None:
            lit = (patch.image * torch.from_numpy(gain).to(self.device).view(1, 3, 1, 1)).clamp(0, 1)
            lay_over(moved, Patch(lit, patch.mask, patch.top - box.top, patch.left - box.left))
        if paint is not None:
            moved += _enlarged(self._mended(window, moved - base, box, wanted, weights, paint), box, window.side)
            moved.clamp_(0, 1)
        return Drawn((share * (moved - base)).cpu(), box.top, box.left)

    def _flow(self, fragments: Fragments, filmed: Tensor, target: Tensor) -> Tensor:
        """Return the flow [1, 2, 256, 256] from the target to the filmed frame, px of the crop."""
        moved = side_by_side(fragments, self.faces, target, filmed)
        mask = fragments.mask[:, None].float()
        unit = (filmed[0, 33, :2] - filmed[0, 263, :2]).norm().clamp(min=20.0)
        reach = int(FADE * float(unit) / COARSE)
        near = F.max_pool2d(F.max_pool2d(mask, COARSE), 2 * reach + 1, 1, reach)
        beside = torch.maximum(1 - F.interpolate(near, scale_factor=COARSE), self._above(target))
        known = torch.maximum(mask, beside)
        flow = fill(moved * mask, known)
        length = torch.hypot(flow[:, :1], flow[:, 1:])
        return flow * smoothstep(((length - LEAST) / (SURE - LEAST)).clamp(0, 1))

    def _above(self, target: Tensor) -> Tensor:
        """Return 1 where a pixel lies higher than the base of the nose of a mesh [1, V, 3]: [1, 1, 256, 256]."""
        top, chin, nose = (target[0, vertex, :2] for vertex in (FOREHEAD, CHIN, NOSE))
        height = torch.einsum("i,ihw->hw", chin - top, self.grid - nose.view(2, 1, 1))
        return (height < 0).float()[None, None]

    def _paintable(self, fragments: Fragments) -> Tensor:
        """Return where Θ may change the image: [1, 1, 256, 256] in 0..1, the lower face with a soft border."""
        weight = interpolate(fragments, self.faces, self.lower[None]).contiguous()
        return blur(weight, PAINT_BLUR) * (weight > 0)

    def _mended(
        self, window: Window, change: Tensor, box: Part, target: Tensor, weights: Float, paint: Tensor
    ) -> Tensor:
        """Return Θ's change [1, 3, 256, 256], where it may paint, of a window that has changed [3, h, w] in a part."""
        assert self.theta is not None
        whole = paint.new_zeros(1, 3, CROP_SIZE, CROP_SIZE)
        part = _part_around(paint)
        if part is None:
            return whole
        cut = (..., slice(part.top, part.top + part.height), slice(part.left, part.left + part.width))
        seen = window.reduced(CROP_SIZE, part).to(self.device)[None]
        geometric = (seen + _reduced_change(change, box, window.side, part)).clamp(0, 1)
        matched, target_map = int(weights.argmax()), _maps(target.cpu()).to(self.device)
        given = geometric * 2 - 1
        frames = Frames(given, given, self.images[matched][cut][None], self.maps[matched][cut][None], target_map[cut])
        image = (self.theta.render_part(frames, self.embedding, target_map, (part.top, part.left)) + 1) / 2
        features = draw_features(target[:, LANDMARKS_68].cpu(), CROP_SIZE, CROP_SIZE)[cut].to(self.device)
        whole[cut] = keep_detail(image - geometric, geometric, features, CROP_SIZE) * paint[cut]
        return whole


def light_gain(there: Float, frame: Float) -> Float:
    """Return the factors [3] that bring a reference, whose skin has the colours [P, 3], to those in the frame."""
    ratio = np.median((frame + 8.0) / (there + 8.0), axis=0)
    return np.clip(ratio, *LIGHT_RANGE).astype(np.float32)


def _maps(meshes: Tensor) -> Tensor:
    """Draw landmark maps [B, 1, 256, 256] of meshes [B, V, 3]."""
    return draw_landmarks(meshes[:, LANDMARKS_68].contiguous(), CROP_SIZE, CROP_SIZE)


def lay_over(image: Tensor, patch: Patch) -> None:
    """Lay a patch over an image [3, H, W], in place, with its light matched along its soft border as in ``compose``.

    Light changes slowly, so the difference is measured on reduced images.
    """
    height, width = patch.image.shape[-2:]
    there = image[None, :, patch.top : patch.top + height, patch.left : patch.left + width]
    factor = max(1, min(height, width) // SMALL)
    border = (4 * patch.mask * (1 - patch.mask)).clamp(0, 1)
    weighted = torch.cat([(there - patch.image) * border, border], 1)
    if factor > 1:
        weighted = F.avg_pool2d(weighted, factor, ceil_mode=True)
    weighted = blur(weighted, max(1.0, weighted.shape[-1] / LIGHT))
    known = weighted[:, 3:]
    difference = (weighted[:, :3] / known.clamp(min=1e-3)).clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)
    correction = fill(difference, (2 * known).clamp(max=1))
    if factor > 1:
        correction = F.interpolate(correction, scale_factor=factor, mode="bilinear", align_corners=False)
    lit = (patch.image + correction[..., :height, :width]).clamp(0, 1)
    there += patch.mask * (lit - there)


def _box(flow: Tensor, paint: Tensor | None, patch: Patch | None, size: int) -> Part:
    """Return the part that may change of a window of ``size`` px."""
    touched = flow.abs().amax((0, 1)) > 0
    if paint is not None:
        touched = touched | (paint[0, 0] > 0)
    ends: list[int] = []
    for axis in (1, 0):
        used = torch.nonzero(touched.any(axis))[:, 0]
        first, last = (int(used[0]) - 1, int(used[-1]) + 2) if len(used) else (CROP_SIZE // 2, CROP_SIZE // 2 + 2)
        low, high = first * size / CROP_SIZE, last * size / CROP_SIZE
        if patch is not None:
            begin = patch.top if axis == 1 else patch.left
            low, high = min(low, begin), max(high, begin + patch.image.shape[-2 if axis == 1 else -1])
        ends += [max(int(low) // EVEN * EVEN, 0), min(-(-int(np.ceil(high)) // EVEN) * EVEN, size)]
    return Part(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def _part_around(paint: Tensor) -> Part | None:
    """Return the part of the crop that Θ renders to change it where ``paint`` [1, 1, 256, 256] is above 0."""
    ends: list[int] = []
    for axis in (1, 0):
        used = torch.nonzero((paint[0, 0] > 0).any(axis))[:, 0]
        if not len(used):
            return None
        first, end = int(used[0]) - PAINT_ROOM, int(used[-1]) + 1 + PAINT_ROOM
        ends += [max(first // PART_STEP * PART_STEP, 0), min(-(-end // PART_STEP) * PART_STEP, CROP_SIZE)]
    return Part(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def _around(box: Part, flow: Tensor, size: int) -> Part:
    """Return the part of a window of ``size`` px from which a part is taken whose content moves by a flow."""
    reach = (int(float(flow.abs().max()) * size / CROP_SIZE) + 4) // EVEN * EVEN
    top, left = max(box.top - reach, 0), max(box.left - reach, 0)
    bottom, right = min(box.top + box.height + reach, size), min(box.left + box.width + reach, size)
    return Part(top, left, bottom - top, right - left)


def _moved(surrounding: Tensor, around: Part, flow: Tensor, box: Part, size: int) -> Tensor:
    """Return a part [3, h, w] of a window whose content is moved by a flow [1, 2, 256, 256], out of one around it."""
    shift = _enlarged(flow, box, size)[None] * (size / CROP_SIZE)
    steps = [torch.arange(n, device=flow.device) + 0.5 for n in (box.height, box.width)]
    y, x = torch.meshgrid(*steps, indexing="ij")
    place = torch.stack([x + (box.left - around.left), y + (box.top - around.top)])[None] + shift
    half = place.new_tensor([around.width / 2, around.height / 2]).view(1, 2, 1, 1)
    where = (place / half - 1).permute(0, 2, 3, 1)
    moved = F.grid_sample(surrounding[None], where, mode="bicubic", padding_mode="border", align_corners=False)
    return moved[0].clamp(0, 1)


def _enlarged(values: Tensor, box: Part, size: int) -> Tensor:
    """Return the part [C, h, w] of a map [1, C, 256, 256] of a window of ``size`` px, enlarged to its pixels."""
    scale = CROP_SIZE / size
    steps = [
        (torch.arange(first, first + count, device=values.device) + 0.5) * scale / (CROP_SIZE / 2) - 1
        for first, count in ((box.top, box.height), (box.left, box.width))
    ]
    y, x = torch.meshgrid(*steps, indexing="ij")
    where = torch.stack([x, y], -1)[None]
    return F.grid_sample(values, where, padding_mode="border", align_corners=False)[0]


def _reduced_change(change: Tensor, box: Part, size: int, part: Part) -> Tensor:
    """Return a change [3, h, w] of ``box`` in a window of ``size`` px, in a part of the window reduced to 256²."""
    factor = max(1, int(size / CROP_SIZE))
    small = F.avg_pool2d(change[None], factor, ceil_mode=True, count_include_pad=False)
    rows, columns = (
        (torch.arange(first, first + count, device=change.device) + 0.5) * (size / CROP_SIZE)
        for first, count in ((part.top, part.height), (part.left, part.width))
    )
    x = (columns - box.left) / (factor * small.shape[-1] / 2) - 1
    y = (rows - box.top) / (factor * small.shape[-2] / 2) - 1
    down, across = torch.meshgrid(y, x, indexing="ij")
    where = torch.stack([across, down], -1)[None]
    return F.grid_sample(small, where, padding_mode="zeros", align_corners=False)
