"""Drawing of new lips into a filmed frame: the frame itself, moved with the jaw, and a mouth out of other frames.

The base is the frame. Its lower face, and what lies around it, is moved from the filmed mesh to the target mesh, by a
flow that fades to nothing on the neck and beside the cheeks: where the chin rises, the neck is drawn up behind it, and
no second outline is left. Over it lies a patch of lips and mouth warped from references, in the light of the frame. Θ
mends both where they meet. What is returned is a change of the frame, 0 wherever nothing is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.face_model import LANDMARKS_68, LIPS, FaceModel
from thcli.images import blur, fill, resized, smoothstep
from thcli.records import CROP_SIZE, Float
from thcli.render.compose import Patch, compose
from thcli.render.frames import keep_detail
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import RenderModels
from thcli.render.head_weights import prior_head_weights
from thcli.render.landmark_maps import draw_features, draw_landmarks
from thcli.render.rasterize import Fragments, interpolate
from thcli.render.warp import pixel_grid, side_by_side
from thcli.render.warped import ReferenceWarper
from thgen_models.generator import Frames

REST, FREE = 0.12, 0.33
"""Heights on the canonical face, from which on downward it begins to move, and is free to: the base of the nose and the
upper lip."""
LIP_REACH = (0.08, 0.3)
"""Distances from the lips up to which their filmed shape is dropped, and from which on the filmed shape is kept."""
FADE = 0.55
"""Distance from the face at which nothing moves any more, over the distance of the outer eye corners."""
COARSE = 4
"""Pixels of the crop of which one is made where distances from the face are measured."""
LEAST = 0.02
"""Movement, px of the crop, below which a place counts as at rest."""
PAINT_BLUR = 5.0
"""Standard deviation of the soft border of what Θ may change, px of the crop."""
LIGHT_RANGE = (0.6, 1.7)
"""Least and largest factor by which a reference is brought to the light of the frame."""
EVEN = 2
"""Corners and sides of changes are multiples of this, as chroma has half the size."""


def lower_weight(model: FaceModel) -> Float:
    """Return how far each vertex [V, 1] follows the new expression: 1 on the lower face, 0 from the nose upward."""
    share = np.clip((model.canonical[:, 1:2] - REST) / (FREE - REST), 0, 1)
    return smoothstep(share).astype(np.float32)


def lip_weight(model: FaceModel) -> Float:
    """Return how far the filmed shape of each vertex [V, 1] is dropped: 1 at the lips, falling to 0 around them."""
    far = np.linalg.norm(model.canonical[:, None] - model.canonical[None, list(LIPS)], axis=-1).min(axis=1)
    share = np.clip((LIP_REACH[1] - far) / (LIP_REACH[1] - LIP_REACH[0]), 0, 1)
    return (smoothstep(share)[:, None] * lower_weight(model)).astype(np.float32)


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
        self, models: RenderModels, images: Tensor, meshes: Float, theta: FrameGenerator | None = None
    ) -> None:
        model = models.face_model
        there = torch.from_numpy(meshes)
        self.warper = ReferenceWarper(
            images, there, model, prior_head_weights(), models.device, models.mouth_interior
        )
        self.faces, self.device = self.warper.faces, self.warper.images.device
        self.lower = torch.from_numpy(lower_weight(model)).to(self.device)
        self.theta = theta
        if theta is not None:
            self.images = resized(self.warper.images, CROP_SIZE) * 2 - 1
            self.maps = _maps(there).to(self.device)
            self.embedding = theta.embed(self.images, self.maps)

    @torch.inference_mode()
    def draw(self, window: Tensor, filmed: Float, target: Float, weights: Float, gain: Float, share: float) -> Drawn:
        """Draw a target into a window.

        window: [3, S, S] float32 in 0..1, a square of the frame
        filmed, target: [V, 3], meshes, px of the window resized to ``CROP_SIZE``
        weights: [K], weights of the references for the mouth
        gain: [3], factors that bring the references to the light of the frame
        share: opacity of what is drawn, 0..1
        """
        window = window.to(self.device)
        size = window.shape[-1]
        there, wanted = (torch.from_numpy(mesh)[None].to(self.device) for mesh in (filmed, target))
        patch, fragments = self.warper.mouth(wanted, weights[None], size)
        flow, inside = self._flow(fragments, there, wanted)
        paint = self._paintable(fragments)
        top, bottom, left, right = _box(flow, paint if self.theta is not None else None, patch, size)
        place = (..., slice(top, bottom), slice(left, right))
        base = window[place]
        moved = _moved(window, flow, (top, bottom, left, right))
        if patch is not None:
            lit = (patch.image * torch.from_numpy(gain).to(self.device).view(1, 3, 1, 1)).clamp(0, 1)
            moved = compose(moved[None], [Patch(lit, patch.mask, patch.top - top, patch.left - left)])[0]
        if self.theta is not None:
            whole = window.clone()
            whole[place] = moved
            change = self._mended(whole, wanted, weights) * paint
            moved = (moved + _enlarged(change, (top, bottom, left, right), size)).clamp(0, 1)
        return Drawn((share * (moved - base)).cpu(), top, left)

    def _flow(self, fragments: Fragments, filmed: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the flow [1, 2, 256, 256] from the target to the filmed frame, px of the crop, and the mesh's mask."""
        moved = side_by_side(fragments, self.faces, target, filmed)
        mask = fragments.mask[:, None].float()
        unit = (filmed[0, 33, :2] - filmed[0, 263, :2]).norm().clamp(min=20.0)
        reach = int(FADE * float(unit) / COARSE)
        near = F.max_pool2d(F.max_pool2d(mask, COARSE), 2 * reach + 1, 1, reach)
        far = 1 - F.interpolate(near, scale_factor=COARSE)
        known = torch.maximum(mask, far)
        return fill(moved * mask, known), mask

    def _paintable(self, fragments: Fragments) -> Tensor:
        """Return where Θ may change the image: [1, 1, 256, 256] in 0..1, the lower face with a soft border."""
        weight = interpolate(fragments, self.faces, self.lower[None]).contiguous()
        return blur(weight, PAINT_BLUR) * (weight > 0)

    def _mended(self, whole: Tensor, target: Tensor, weights: Float) -> Tensor:
        """Return Θ's change [1, 3, 256, 256] of a window."""
        assert self.theta is not None
        geometric = resized(whole[None], CROP_SIZE)
        matched = [int(weights.argmax())]
        frames = Frames(
            geometric=geometric * 2 - 1,
            projected=geometric * 2 - 1,
            matched=self.images[matched],
            matched_map=self.maps[matched],
            target_map=_maps(target.cpu()).to(self.device),
        )
        image = (self.theta.render(frames, self.embedding) + 1) / 2
        features = draw_features(target[:, LANDMARKS_68].cpu(), CROP_SIZE, CROP_SIZE).to(self.device)
        return keep_detail(image - geometric, geometric, features)


def light_gain(there: Float, frame: Float) -> Float:
    """Return the factors [3] that bring a reference, whose skin has the colours [P, 3], to those in the frame."""
    ratio = np.median((frame + 8.0) / (there + 8.0), axis=0)
    return np.clip(ratio, *LIGHT_RANGE).astype(np.float32)


def _maps(meshes: Tensor) -> Tensor:
    """Draw landmark maps [B, 1, 256, 256] of meshes [B, V, 3]."""
    return draw_landmarks(meshes[:, LANDMARKS_68].contiguous(), CROP_SIZE, CROP_SIZE)


def _box(flow: Tensor, paint: Tensor | None, patch: Patch | None, size: int) -> tuple[int, int, int, int]:
    """Return top, bottom, left and right of what may change in a window of ``size`` px."""
    touched = flow.abs().amax((0, 1)) > LEAST
    if paint is not None:
        touched = touched | (paint[0, 0] > 0)
    ends: list[int] = []
    for axis in (1, 0):
        used = torch.nonzero(touched.any(axis))[:, 0]
        first, last = (int(used[0]), int(used[-1]) + 1) if len(used) else (CROP_SIZE // 2, CROP_SIZE // 2 + 2)
        low, high = first * size / CROP_SIZE, last * size / CROP_SIZE
        if patch is not None:
            begin = patch.top if axis == 1 else patch.left
            low, high = min(low, begin), max(high, begin + patch.image.shape[-2 if axis == 1 else -1])
        ends += [max(int(low) // EVEN * EVEN, 0), min(-(-int(np.ceil(high)) // EVEN) * EVEN, size)]
    return ends[0], ends[1], ends[2], ends[3]


def _moved(window: Tensor, flow: Tensor, box: Sequence[int]) -> Tensor:
    """Return a part [3, h, w] of a window [3, S, S] whose content is moved by a flow [1, 2, 256, 256]."""
    size = window.shape[-1]
    top, bottom, left, right = box
    grid = pixel_grid(size, window.device)[:, top:bottom, left:right]
    shift = F.grid_sample(flow, _where(grid[None]), padding_mode="border", align_corners=False)
    where = _where(grid[None] + shift)
    return F.grid_sample(window[None], where, mode="bicubic", padding_mode="border", align_corners=False)[0].clamp(0, 1)


def _enlarged(change: Tensor, box: Sequence[int], size: int) -> Tensor:
    """Return the part [3, h, w] in a window of ``size`` px of a change [1, 3, 256, 256]."""
    top, bottom, left, right = box
    grid = pixel_grid(size, change.device)[None, :, top:bottom, left:right]
    return F.grid_sample(change, _where(grid), mode="bicubic", padding_mode="border", align_corners=False)[0]


def _where(place: Tensor) -> Tensor:
    """Turn places [1, 2, h, w] in px of the crop into those of ``grid_sample``."""
    return (place / (CROP_SIZE / 2) - 1).permute(0, 2, 3, 1)
