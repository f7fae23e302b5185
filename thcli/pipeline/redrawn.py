"""Second pass over a video that is dubbed: the target of every frame, its references, and the frames drawn anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from thcli.clips.probe import MediaInfo
from thcli.clips.timed import stream_stored
from thcli.face_model import FaceModel, mouth_opening
from thcli.faces.follow import LOWER
from thcli.images import resized, smoothstep
from thcli.pipeline.filmed import FilmedFace, lips_of, unpose
from thcli.pipeline.footage import PART, Footage
from thcli.records import CROP_SIZE, FPS, Float
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import RenderModels
from thcli.render.lower_face import LowerFaceRenderer, light_gain, lip_weight, lower_weight
from thcli.render.matcher import MOUTH, choose, cross_fade, mouth_cost, turn_cost
from thcli.render.references import medoids
from thcli.rotations import apply_pose, to_pixels
from thcli.yuv import YuvFrame

LARGEST_REFERENCE = 768
"""Largest side of a reference's window that is kept, px."""
TURNED = 0.15
"""Weight of a radian of turn beside the shape of the lips where references are chosen."""
ALIKE = 0.0004
"""Squared distance of the lips' shapes up to which the sharper of two frames is taken."""
ELSEWHERE = 0.0008
"""Cost of a reference of another shot, in the unit of ``MOUTH``."""
CONFIDENT = 0.5
"""Least confidence of the tracker in a frame that serves as a reference."""
SKIN = slice(LOWER, None)
"""Places of ``faces.follow.PLACES`` by which light is compared."""


@dataclass(frozen=True)
class LipTargets:
    """Faces that a dubbed video is to show.

    lips: [U, N] float32, expressions at 25 fps from the beginning of the video
    weight: [T] float32 in 0..1, opacity of what is drawn in each frame
    """

    footage: Footage
    face: FilmedFace
    model: FaceModel
    lips: Float
    weight: Float

    @cached_property
    def _lower(self) -> Float:
        return lower_weight(self.model)

    @cached_property
    def _at_lips(self) -> Float:
        return lip_weight(self.model)

    def expression(self, frames: np.ndarray) -> Float:
        """Return the expressions [n, N] of some frames: what is spoken, at the frames' own times."""
        place = self.footage.seconds[frames] * FPS
        low = np.floor(place).astype(int).clip(0, len(self.lips) - 1)
        high = (low + 1).clip(0, len(self.lips) - 1)
        share = (place - low).clip(0, 1)[:, None]
        spoken = (1 - share) * self.lips[low] + share * self.lips[high]
        filmed = self.face.expression[frames]
        eased = smoothstep(self.weight[frames].astype(np.float32))[:, None]
        return np.asarray(filmed + eased * (spoken - filmed), np.float32)

    def meshes(self, frames: np.ndarray, filmed: Float) -> tuple[Float, Float]:
        """Return target meshes [n, V, 3] px of the frame, and the same with the pose removed.

        frames: [n], numbers of frames that show the face
        filmed: [n, V, 3], their meshes, px of the frame

        Above the lips the face stays as it was filmed. The lips have the person's own shape with the new expression,
        at the place where the filmed lower face is; what the filmed lips did beyond the face model is dropped.
        """
        unposed, pose, scale = unpose(self.footage, self.face.shape, frames, filmed)
        shown = self.face.expression[frames]
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


def parts(footage: Footage, wanted: np.ndarray) -> Iterator[tuple[np.ndarray, Float]]:
    """Yield the numbers of those frames that are wanted [T] bool, and their meshes, part by part."""
    for begin in range(0, len(footage), PART):
        frames = begin + np.flatnonzero(wanted[begin : begin + PART])
        if len(frames):
            yield frames, footage.meshes(begin, min(begin + PART, len(footage)))[frames - begin]


def choose_mouths(footage: Footage, face: FilmedFace, count: int) -> np.ndarray:
    """Choose at most ``count`` of the sampled frames that together show the most mouths: [K], indices of ``sampled``.

    The most and the least open mouth, the widest and the roundest are among them; the others are medoids of the lips'
    shape and of the turn of the head. Of frames that are alike the sharper is taken.
    """
    sure = np.flatnonzero(footage.confidence[face.sampled] >= CONFIDENT)
    sure = sure if len(sure) else np.arange(len(face.sampled))
    if len(sure) <= count:
        return sure
    lips = lips_of(face.unposed[sure]) / np.sqrt(lips_of(face.unposed[:1]).shape[1] / 3)
    turn = TURNED * face.pose[face.sampled[sure], :3]
    known = np.concatenate([lips, turn], axis=1).astype(np.float64)
    squares = (known**2).sum(axis=1)
    distance = np.maximum(squares[:, None] + squares[None] - 2 * known @ known.T, 0)
    width = np.linalg.norm(face.unposed[sure][:, 61] - face.unposed[sure][:, 291], axis=-1)
    opening = mouth_opening(face.unposed[sure])
    extreme = [int(values.argmax()) for values in (opening, -opening, width, -width)]
    chosen = list(dict.fromkeys([*extreme, *medoids(distance, max(count - len(extreme), 1))]))[:count]
    sharp = footage.sharpness[face.sampled[sure]]
    best = [int(max(np.flatnonzero(distance[i] <= ALIKE), key=lambda j: sharp[j], default=i)) for i in chosen]
    return sure[np.unique(best)]


@dataclass(frozen=True)
class Mouths:
    """References: frames out of which mouths are taken.

    frames: [K], their numbers
    images: [K, 3, S, S] float32, their windows
    meshes: [K, V, 3] float32, px of the window resized to ``CROP_SIZE``
    unposed: [K, V, 3] float32
    """

    frames: np.ndarray
    images: Tensor
    meshes: Float
    unposed: Float


def gather_mouths(info: MediaInfo, footage: Footage, face: FilmedFace, chosen: np.ndarray) -> Mouths:
    """Read the frames ``chosen`` [K] of those sampled, and cut out their windows."""
    frames = face.sampled[chosen]
    side = int(np.clip(max(face.window(t).side for t in frames), CROP_SIZE, LARGEST_REFERENCE))
    images, meshes = [], []
    with closing(stream_stored(info, only=frames.tolist())) as stream:
        for t, timed in zip(frames, stream, strict=True):
            box = face.window(t)
            images.append(resized(timed.frame.window(box)[None], side)[0])
            meshes.append(box.to_crop(footage.meshes(t, t + 1)[0]))
    return Mouths(frames, torch.stack(images), np.stack(meshes), face.unposed[chosen])


def match_mouths(targets: LipTargets, mouths: Mouths) -> Float:
    """Return the weights [T, K] of the references in each frame; frames that are not dubbed have any."""
    footage, face = targets.footage, targets.face
    cost = np.zeros((len(footage), len(mouths.frames)), np.float32)
    apart = ELSEWHERE * (footage.shot[:, None] != footage.shot[mouths.frames][None])
    for frames, filmed in parts(footage, targets.weight > 0):
        _, wanted = targets.meshes(frames, filmed)
        turn = turn_cost(face.pose[frames], face.pose[mouths.frames], MOUTH)
        cost[frames] = mouth_cost(wanted, mouths.unposed) + turn + apart[frames]
    return cross_fade(choose(cost, MOUTH.change), cost.shape[1], MOUTH.fade)


class Redrawer:
    """Draws the targets into the frames of a video.

    theta: Θ; None to leave it out
    """

    def __init__(
        self, models: RenderModels, targets: LipTargets, mouths: Mouths, theta: FrameGenerator | None
    ) -> None:
        self.targets, self.mouths = targets, mouths
        self.weights = match_mouths(targets, mouths)
        self.renderer = LowerFaceRenderer(models, mouths.images, mouths.meshes, theta)
        self.first, self.ready = -1, dict[int, tuple[Float, Float]]()

    def draw(self, t: int, frame: YuvFrame) -> None:
        """Draw the target into frame ``t``, in place; a frame that is not dubbed stays as it is."""
        weight = float(self.targets.weight[t])
        if weight <= 0:
            return
        filmed, target = self._meshes(t)
        box = self.targets.face.window(t)
        drawn = self.renderer.draw(
            frame.window(box), box.to_crop(filmed), box.to_crop(target), self.weights[t], self._gain(t), weight
        )
        frame.add(box, drawn.top, drawn.left, drawn.change)

    def _meshes(self, t: int) -> tuple[Float, Float]:
        """Return the filmed and the target mesh of a frame, px of the frame."""
        part = t // PART
        if part != self.first:
            begin = part * PART
            frames = begin + np.flatnonzero(self.targets.weight[begin : begin + PART] > 0)
            filmed = self.targets.footage.meshes(begin, min(begin + PART, len(self.targets.footage)))[frames - begin]
            wanted, _ = self.targets.meshes(frames, filmed)
            self.first, self.ready = part, dict(zip(frames.tolist(), zip(filmed, wanted, strict=True), strict=True))
        return self.ready[t]

    def _gain(self, t: int) -> Float:
        """Return the factors [3] that bring the references in use to the light of a frame."""
        colours = self.targets.footage.colours
        near = slice(max(t - 2, 0), t + 3)
        same = self.targets.footage.shot[near] == self.targets.footage.shot[t]
        shown = colours[near][same & (colours[near].any(axis=(1, 2)))].astype(np.float32)
        now = np.median(shown, axis=0) if len(shown) else colours[t].astype(np.float32)
        used = np.flatnonzero(self.weights[t] > 0)
        gains = [light_gain(colours[self.mouths.frames[k]][SKIN].astype(np.float32), now[SKIN]) for k in used]
        return np.asarray(sum(w * g for w, g in zip(self.weights[t, used], gains, strict=True)), np.float32)
