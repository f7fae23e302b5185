"""Second pass over a video that is dubbed: the target of every frame, its references, and the frames drawn anew."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor

from thcli.face_model import FaceModel
from thcli.faces.follow import LOWER
from thcli.images import smoothstep
from thcli.pipeline.drawers import Changed
from thcli.pipeline.filmed import FilmedFace, unpose
from thcli.pipeline.footage import PART, Footage
from thcli.pipeline.mouths import Mouths
from thcli.pipeline.timeline import Timeline
from thcli.records import FPS, CropBox, Float
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import RenderModels
from thcli.render.lower_face import LowerFace, LowerFaceRenderer, light_gain, lip_weight, lower_weight
from thcli.render.matcher import MOUTH, choose, cross_fade, mouth_cost, turn_cost
from thcli.render.window import Rectangle
from thcli.rotations import apply_pose, to_pixels
from thcli.yuv import YuvFrame

ELSEWHERE = 0.0008
"""Cost of a reference of another shot, in the unit of ``MOUTH``."""
SKIN = slice(LOWER, None)
"""Places of ``faces.follow.PLACES`` by which light is compared."""


@dataclass(frozen=True)
class LipTargets:
    """Faces that a dubbed video is to show.

    line: frames of the video that is made
    lips: [U, N] float32, expressions at 25 fps from ``begin`` on
    begin: second of the video that is made at which the lips begin
    weight: [M] float32 in 0..1, opacity of what is drawn in each frame that is made
    """

    footage: Footage
    face: FilmedFace
    model: FaceModel
    line: Timeline
    lips: Float
    begin: float
    weight: Float

    @cached_property
    def _lower(self) -> Float:
        return lower_weight(self.model)

    @cached_property
    def _at_lips(self) -> Float:
        return lip_weight(self.model)

    def expression(self, frames: np.ndarray) -> Float:
        """Return the expressions [n, N] of some frames that are made, at their own times."""
        place = (self.line.time[frames] * float(self.footage.unit) - self.begin) * FPS
        low = np.floor(place).astype(int).clip(0, len(self.lips) - 1)
        high = (low + 1).clip(0, len(self.lips) - 1)
        share = (place - low).clip(0, 1)[:, None]
        spoken = (1 - share) * self.lips[low] + share * self.lips[high]
        filmed = self.face.expression[self.line.source[frames]]
        eased = smoothstep(self.weight[frames].astype(np.float32))[:, None]
        return np.asarray(filmed + eased * (spoken - filmed), np.float32)

    def parts(self) -> Iterator[tuple[np.ndarray, Float]]:
        """Yield the numbers of the frames that are drawn, and their filmed meshes, px of the frame, part by part."""
        for begin in range(0, len(self.line), PART):
            part = self.part(begin // PART)
            if len(part[0]):
                yield part

    def part(self, number: int) -> tuple[np.ndarray, Float]:
        """Return the numbers of the frames of a part that are drawn, and their filmed meshes, px of the frame."""
        begin = number * PART
        frames = begin + np.flatnonzero(self.weight[begin : begin + PART] > 0)
        if not len(frames):
            return frames, np.zeros((0, *self.model.canonical.shape), np.float32)
        source = self.line.source[frames]
        first = int(source.min())
        return frames, self.footage.meshes(first, int(source.max()) + 1)[source - first]

    def meshes(self, frames: np.ndarray, filmed: Float) -> tuple[Float, Float]:
        """Return target meshes [n, V, 3] px of the frame, and the same with the pose removed.

        frames: [n], numbers of frames that are made and show the face
        filmed: [n, V, 3], their meshes as filmed, px of the frame

        Above the lips the face stays as it was filmed. The lips have the person's own shape with the new expression,
        at the place where the filmed lower face is; what the filmed lips did beyond the face model is dropped.
        """
        source = self.line.source[frames]
        unposed, pose, scale = unpose(self.footage, self.face.shape, source, filmed)
        shown = self.face.expression[source]
        change = self.model.displacement(self.expression(frames) - shown)
        usual = self.face.neutral_mesh + self.model.displacement(shown - self.face.median_expression)
        rest = unposed - usual
        place = (rest * self._lower).sum(axis=1, keepdims=True) / self._lower.sum()
        eased = smoothstep(self.weight[frames].astype(np.float32))[:, None, None]
        target = unposed + change * self._lower - eased * self._at_lips * (rest - place)
        placed = [
            to_pixels(apply_pose(one[None], h[None]), float(s), self.footage.size)[0]
            for one, h, s in zip(target, pose, scale, strict=True)
        ]
        return np.stack(placed).astype(np.float32), target.astype(np.float32)


def match_mouths(targets: LipTargets, mouths: Mouths) -> Float:
    """Return the weights [M, K] of the references in each frame that is made; frames that are not drawn have any."""
    footage, face = targets.footage, targets.face
    cost = np.zeros((len(targets.line), len(mouths.frames)), np.float32)
    for frames, filmed in targets.parts():
        _, wanted = targets.meshes(frames, filmed)
        source = targets.line.source[frames]
        turn = turn_cost(face.pose[source], face.pose[mouths.frames], MOUTH)
        apart = footage.shot[source][:, None] != footage.shot[mouths.frames][None]
        cost[frames] = mouth_cost(wanted, mouths.unposed) + turn + ELSEWHERE * apart
    return cross_fade(choose(cost, MOUTH.change), cost.shape[1], MOUTH.fade)


@dataclass(frozen=True)
class _Window:
    """A square of a frame, for ``LowerFaceRenderer``."""

    frame: YuvFrame
    box: CropBox

    @property
    def side(self) -> int:
        return self.box.side

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        return self.frame.part(self.box.y0 + top, self.box.x0 + left, height, width)

    def reduced(self, size: int, part: Rectangle) -> Tensor:
        return self.frame.resampled(self.box, size, *part)


class Redrawer:
    """Draws the targets into the frames of a video.

    theta: Θ; None to leave it out
    """

    def __init__(self, models: RenderModels, targets: LipTargets, mouths: Mouths, theta: FrameGenerator | None) -> None:
        self.targets, self.mouths = targets, mouths
        self.weights = match_mouths(targets, mouths)
        self.renderer = LowerFaceRenderer(models, mouths.images, mouths.meshes, theta)
        self.ready: dict[int, tuple[Float, Float]] = {}

    def draw(self, first: int, frames: Sequence[YuvFrame]) -> list[Changed | None]:
        """Draw the targets into some of the frames that are made, in place; return what changed, None for nothing.

        first: number of the first of them
        """
        weights = self.targets.weight[first : first + len(frames)]
        used = np.flatnonzero(weights > 0).tolist()
        boxes = {i: self.targets.face.window(int(self.targets.line.source[first + i])) for i in used}
        faces = [self._face(first + i, _Window(frames[i], boxes[i])) for i in used]
        changed: list[Changed | None] = [None] * len(frames)
        for i, drawn in zip(used, self.renderer.draw(faces), strict=True):
            top, left = boxes[i].y0 + drawn.top, boxes[i].x0 + drawn.left
            frames[i].add(top, left, drawn.change)
            height, width = drawn.change.shape[1:]
            changed[i] = Changed(left, top, width, height)
        return changed

    def _face(self, t: int, window: _Window) -> LowerFace:
        """Return what is to be drawn into a window of frame ``t``."""
        filmed, target = (window.box.to_crop(mesh) for mesh in self._meshes(t))
        return LowerFace(window, filmed, target, self.weights[t], self._gain(t), float(self.targets.weight[t]))

    def _meshes(self, t: int) -> tuple[Float, Float]:
        """Return the filmed and the target mesh of a frame, px of the frame."""
        if t not in self.ready:
            frames, filmed = self.targets.part(t // PART)
            wanted, _ = self.targets.meshes(frames, filmed)
            self.ready = dict(zip(frames.tolist(), zip(filmed, wanted, strict=True), strict=True))
        return self.ready[t]

    def _gain(self, t: int) -> Float:
        """Return the factors [3] that bring the references in use to the light of a frame."""
        footage, source = self.targets.footage, int(self.targets.line.source[t])
        near = slice(max(source - 2, 0), source + 3)
        same = (footage.shot[near] == footage.shot[source]) & footage.colours[near].any(axis=(1, 2))
        if not same.any():
            return np.ones(3, np.float32)
        now = np.median(footage.colours[near][same].astype(np.float32), axis=0)[SKIN]
        used = np.flatnonzero(self.weights[t] > 0)
        gains = [light_gain(footage.colours[self.mouths.frames[k]][SKIN].astype(np.float32), now) for k in used]
        return np.asarray(sum(w * g for w, g in zip(self.weights[t, used], gains, strict=True)), np.float32)
