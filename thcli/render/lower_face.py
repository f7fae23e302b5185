"""Drawing of new lips into a filmed frame: the frame itself, moved with the jaw, and a mouth out of other frames.

The base is the frame. Its lower face, and what lies around it, is moved from the filmed mesh to the target mesh, by a
flow that fades to nothing on the neck and beside the cheeks: where the chin rises, the neck is drawn up behind it, and
no second outline is left. Over it lies a patch of lips and mouth warped from references, in the light of the frame. Θ
mends both where they meet. What is returned is a change of the frame, 0 wherever nothing is new.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.face_model import LANDMARKS_68, LIPS, FaceModel
from thcli.images import blur, fill, ramp, resized, smoothstep, widened
from thcli.records import CROP_SIZE, Float
from thcli.render.compose import Patch, lay_over
from thcli.render.frames import keep_detail
from thcli.render.generator import PART_STEP, FrameGenerator
from thcli.render.geometric import RenderModels
from thcli.render.head_weights import CHIN, FOREHEAD, prior_head_weights
from thcli.render.landmark_maps import draw_features, draw_for
from thcli.render.layers import References
from thcli.render.rasterize import Fragments
from thcli.render.warp import pixel_grid
from thcli.render.warped import MOUTH_REACH, ReferenceWarper
from thcli.render.window import (
    Rectangle,
    Window,
    around,
    changed_box,
    enlarged_part,
    fitted,
    in_window,
    moved,
    part_around,
    reduced_part,
)
from thgen_models.blocks import reduced
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
PAINT_BLUR = 5.0
"""Standard deviation of the soft border of what Θ may change, px of the crop."""
LIGHT_RANGE = (0.6, 1.7)
"""Least and largest factor by which a reference is brought to the light of the frame."""


def lower_weight(model: FaceModel) -> Float:
    """Return how far each vertex [V, 1] follows the new expression: 1 on the lower face, 0 from the nose upward."""
    return ramp(model.canonical[:, 1:2], REST, FREE).astype(np.float32)


def _far_from_lips(model: FaceModel) -> Float:
    """Return the distance [V] of each vertex of the canonical face from the nearest of the lips."""
    gaps = model.canonical[:, None] - model.canonical[None, list(LIPS)]
    return np.asarray(np.linalg.norm(gaps, axis=-1).min(axis=1))


def lip_weight(model: FaceModel) -> Float:
    """Return how far the filmed shape of each vertex [V, 1] is dropped: 1 at the lips, falling to 0 around them."""
    near = ramp(_far_from_lips(model), *LIP_REACH[::-1])
    return (near[:, None] * lower_weight(model)).astype(np.float32)


def patch_weight(model: FaceModel) -> Float:
    """Return how far the patch of the mouth covers each vertex [V, 1]: 1 around the lips, and further down the chin.

    Below a mouth that was filmed wide open lies its lower lip, which must not shine through.
    """
    far = _far_from_lips(model)
    down = ramp(model.canonical[:, 1], *BELOW)
    near, end = (above + down * (below - above) for above, below in zip(MOUTH_REACH, CHIN_REACH, strict=True))
    return smoothstep(np.clip((end - far) / (end - near), 0, 1))[:, None].astype(np.float32)


@dataclass(frozen=True)
class LowerFace:
    """What is to be drawn into one frame.

    window: a square of the frame
    filmed, target: [V, 3], meshes, px of the window resized to ``CROP_SIZE``
    weights: [K], weights of the references for the mouth
    gain: [3], factors that bring the references to the light of the frame
    share: opacity of what is drawn, 0..1
    """

    window: Window
    filmed: Float
    target: Float
    weights: Float
    gain: Float
    share: float


@dataclass(frozen=True)
class Drawn:
    """A change of a window.

    change: [3, h, w] float32, to be added to RGB in 0..1
    top, left: place of its corner in the window, px, even
    """

    change: Tensor
    top: int
    left: int


@dataclass(frozen=True)
class _Laid:
    """A lower face without Θ: what was filmed in ``box`` and what is drawn there, [3, h, w], and where Θ may paint."""

    box: Rectangle
    filmed: Tensor
    drawn: Tensor
    paint: Tensor


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
            References(images), there, model, prior_head_weights(), models.device, models.mouth_interior
        )
        self.warper.parts = torch.from_numpy(patch_weight(model)).to(self.warper.images.device)
        self.faces, self.device = self.warper.faces, self.warper.images.device
        self.lower = torch.from_numpy(lower_weight(model)).to(self.device)
        self.grid = pixel_grid(CROP_SIZE, self.device)
        self.theta = theta
        if theta is not None:
            self.images = resized(self.warper.images, theta.size) * 2 - 1
            self.maps = draw_for(theta, there[:, LANDMARKS_68]).to(self.device)
            self.embedding = theta.embed(reduced(self.images, theta.reduction), self.maps)

    @torch.inference_mode()
    def draw(self, faces: Sequence[LowerFace]) -> list[Drawn]:
        """Draw the lower faces of some frames, which Θ renders together; of none where no frame shows the face."""
        if not faces:
            return []
        runs = groupby(faces, key=lambda face: face.window.side)
        all_laid = [laid for side, run in runs for laid in self._laid(list(run), side)]
        if self.theta is not None:
            all_laid = self._mended(self.theta, faces, all_laid)
        return [
            Drawn((face.share * (laid.drawn - laid.filmed)).cpu(), laid.box.top, laid.box.left)
            for face, laid in zip(faces, all_laid, strict=True)
        ]

    def _laid(self, faces: Sequence[LowerFace], side: int) -> list[_Laid]:
        """Draw lower faces without Θ, in windows of one side."""
        filmed, target = (
            torch.from_numpy(np.stack(meshes)).to(self.device)
            for meshes in ([face.filmed for face in faces], [face.target for face in faces])
        )
        also = torch.cat([(filmed - target)[..., :2], self.lower.expand(len(faces), -1, -1)], -1)
        weights = np.stack([face.weights for face in faces])
        part = self._part(filmed, target)
        patch, fragments, values = self.warper.mouth(target, weights, side, part, also)
        flow = self._flow(part, fragments, values[:, :2], filmed, target)
        paint = blur(values[:, 2:], PAINT_BLUR) * (values[:, 2:] > 0)
        flow, paint = (fitted(one, part, Rectangle(0, 0, CROP_SIZE, CROP_SIZE)) for one in (flow, paint))
        return [
            self._in_frame(face, flow[i : i + 1], paint[i : i + 1], _lit(patch, i, face.gain))
            for i, face in enumerate(faces)
        ]

    def _in_frame(self, face: LowerFace, flow: Tensor, paint: Tensor, patch: Patch | None) -> _Laid:
        """Move the filmed lower face by a flow [1, 2, 256, 256], and lay a patch over it."""
        side = face.window.side
        box = changed_box(flow, paint if self.theta is not None else None, patch, side)
        outer = around(box, flow, side)
        surrounding = face.window.part(*outer).to(self.device)
        top, left = box.top - outer.top, box.left - outer.left
        filmed = surrounding[:, top : top + box.height, left : left + box.width]
        drawn = moved(surrounding, outer, flow, box, side)
        if patch is not None:
            top, left = patch.top - box.top, patch.left - box.left
            height, width = patch.image.shape[-2:]
            lay_over(drawn[None, :, top : top + height, left : left + width], patch)
        return _Laid(box, filmed, drawn, paint)

    def _part(self, filmed: Tensor, target: Tensor) -> Rectangle:
        """Return the part of the crop beyond which nothing moves between meshes [B, V, 3]."""
        points = torch.cat([filmed, target])[:, self.lower[:, 0] > 0, :2]
        room = COARSE * (_reach(filmed) + 2)
        first = ((points.amin((0, 1)) - room) / PART_STEP).floor().clamp(0, CROP_SIZE // PART_STEP - 1)
        end = ((points.amax((0, 1)) + room) / PART_STEP).ceil().clamp(max=CROP_SIZE // PART_STEP)
        (left, top), (width, height) = ((PART_STEP * x).int().tolist() for x in (first, (end - first).clamp(min=1)))
        return Rectangle(top, left, height, width)

    def _flow(self, part: Rectangle, fragments: Fragments, moves: Tensor, filmed: Tensor, target: Tensor) -> Tensor:
        """Return the flow [B, 2, h, w] from the targets to the filmed frames in a part of the crop, px of the crop.

        moves: [B, 2, h, w], those of the meshes themselves, 0 beside them
        """
        mask, reach = fragments.mask[:, None].float(), _reach(filmed)
        near = widened(F.max_pool2d(mask, COARSE), reach)
        beside = torch.maximum(1 - F.interpolate(near, scale_factor=COARSE), self._above(part, target))
        known = torch.maximum(mask, beside)
        flow = fill(moves, known)
        length = torch.hypot(flow[:, :1], flow[:, 1:])
        return flow * ramp(length, LEAST, SURE)

    def _above(self, part: Rectangle, target: Tensor) -> Tensor:
        """Return 1 where a pixel of a part lies higher than the base of the nose of meshes [B, V, 3]: [B, 1, h, w]."""
        top, chin, nose = (target[:, vertex, :2] for vertex in (FOREHEAD, CHIN, NOSE))
        down = chin - top
        grid = self.grid[part.cut]
        height = torch.einsum("bi,ihw->bhw", down, grid) - (down * nose).sum(1).view(-1, 1, 1)
        return (height < 0).float()[:, None]

    def _mended(self, theta: FrameGenerator, faces: Sequence[LowerFace], all_laid: Sequence[_Laid]) -> list[_Laid]:
        """Return lower faces with Θ's change, where it may paint."""
        size = theta.size
        paints = resized(torch.cat([laid.paint for laid in all_laid]), size)
        part = part_around(paints)
        if part is None:
            return list(all_laid)
        cut = part.cut
        there = [self._reduced(face, laid, part, size) for face, laid in zip(faces, all_laid, strict=True)]
        geometric = torch.stack(there)
        targets = torch.from_numpy(np.stack([face.target for face in faces]))
        matched = [int(face.weights.argmax()) for face in faces]
        given, small = geometric * 2 - 1, part.reduced(theta.reduction).cut
        maps = draw_for(theta, targets[:, LANDMARKS_68]).to(self.device)
        frames = Frames(
            geometric=given,
            projected=reduced(given, theta.reduction),
            matched=self.images[matched][cut],
            matched_map=self.maps[matched][small],
            target_map=maps[small],
        )
        image = (theta.render_part(frames, self.embedding, maps, (part.top, part.left)) + 1) / 2
        features = draw_features(targets[:, LANDMARKS_68] * (size / CROP_SIZE), size, size).to(self.device)
        # Fine is what is finer than a pixel of Θ's image here: the frame around is as sharp as it was filmed.
        changes = keep_detail(image - geometric, geometric, features[cut], scale=1) * paints[cut]
        mended = []
        for face, laid, change in zip(faces, all_laid, changes, strict=True):
            side = face.window.side
            larger = fitted(enlarged_part(change[None], size, side), in_window(part, size, side), laid.box)
            mended.append(replace(laid, drawn=(laid.drawn + larger[0]).clamp_(0, 1)))
        return mended

    def _reduced(self, face: LowerFace, laid: _Laid, part: Rectangle, size: int) -> Tensor:
        """Return a part of a window reduced to ``size`` px, with what is drawn there: [3, h, w]."""
        seen = face.window.reduced(size, part).to(self.device)
        change = fitted((laid.drawn - laid.filmed)[None], laid.box, in_window(part, size, face.window.side))
        return (seen + reduced_part(change, part)[0]).clamp_(0, 1)


def _reach(filmed: Tensor) -> int:
    """Return how far from faces [B, V, 3], px of the crop, the flow fades to nothing, in steps of ``COARSE``."""
    unit = torch.hypot(*(filmed[:, 33, :2] - filmed[:, 263, :2]).unbind(-1)).mean().clamp(min=20.0)
    return int(FADE * float(unit) / COARSE)


def light_gain(there: Float, frame: Float) -> Float:
    """Return the factors [3] that bring a reference, whose skin has the colours [P, 3], to those in the frame."""
    ratio = np.median((frame + 8.0) / (there + 8.0), axis=0)
    return np.clip(ratio, *LIGHT_RANGE).astype(np.float32)


def _lit(patch: Patch | None, frame: int, gain: Float) -> Patch | None:
    """Return the patch of one of several frames in the light of that frame."""
    if patch is None:
        return None
    image = patch.image[frame : frame + 1] * torch.from_numpy(gain).to(patch.image.device).view(1, 3, 1, 1)
    return Patch(image.clamp_(0, 1), patch.mask[frame : frame + 1], patch.top, patch.left)
