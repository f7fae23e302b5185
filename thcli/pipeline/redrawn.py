"""Second pass over a video that is dubbed: the target of every frame, its references, and the frames drawn anew."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from threading import Lock

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
from thcli.pipeline.timeline import Timeline
from thcli.records import CROP_SIZE, FPS, CropBox, Float
from thcli.render.generator import PartGenerator
from thcli.render.geometric import RenderModels
from thcli.render.lower_face import LowerFaceRenderer, Part, light_gain, lip_weight, lower_weight
from thcli.render.matcher import MOUTH, choose, cross_fade, mouth_cost, turn_cost
from thcli.render.references import medoids
from thcli.rotations import apply_pose, to_pixels
from thcli.threads import usable_cores
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
        for t, timed in zip(frames, stream, strict=False):  # not read on to its end, as strict would
            box = face.window(t)
            images.append(resized(timed.frame.window(box)[None], side)[0])
            meshes.append(box.to_crop(footage.meshes(t, t + 1)[0]))
    return Mouths(frames, torch.stack(images), np.stack(meshes), face.unposed[chosen])


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
class Changed:
    """Part of a frame that was drawn anew: place of its corner, width and height, px."""

    left: int
    top: int
    width: int
    height: int


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

    def reduced(self, size: int, part: Part) -> Tensor:
        return self.frame.resampled(self.box, size, *part)


class Redrawer:
    """Draws the targets into the frames of a video.

    theta: Θ; None to leave it out
    """

    def __init__(self, models: RenderModels, targets: LipTargets, mouths: Mouths, theta: PartGenerator | None) -> None:
        self.targets, self.mouths = targets, mouths
        self.weights = match_mouths(targets, mouths)
        self.renderer = LowerFaceRenderer(models, mouths.images, mouths.meshes, theta)
        self.ready: dict[int, tuple[Float, Float]] = {}
        self._lock = Lock()

    def draw(self, t: int, frame: YuvFrame) -> Changed | None:
        """Draw the target into frame ``t`` that is made, in place; return what it changed, None for nothing."""
        weight = float(self.targets.weight[t])
        if weight <= 0:
            return None
        filmed, target = self._meshes(t)
        box = self.targets.face.window(int(self.targets.line.source[t]))
        drawn = self.renderer.draw(
            _Window(frame, box), box.to_crop(filmed), box.to_crop(target), self.weights[t], self._gain(t), weight
        )
        frame.add(box.y0 + drawn.top, box.x0 + drawn.left, drawn.change)
        height, width = drawn.change.shape[1:]
        return Changed(box.x0 + drawn.left, box.y0 + drawn.top, width, height)

    def _meshes(self, t: int) -> tuple[Float, Float]:
        """Return the filmed and the target mesh of a frame, px of the frame."""
        with self._lock:
            if t not in self.ready:
                frames, filmed = self.targets.part(t // PART)
                wanted, _ = self.targets.meshes(frames, filmed)
                new = dict(zip(frames.tolist(), zip(filmed, wanted, strict=True), strict=True))
                kept = {n: pair for n, pair in self.ready.items() if n // PART == t // PART - 1}
                self.ready = kept | new
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


def _alone() -> None:
    """Let this thread compute without others."""
    torch.set_num_threads(1)


def draw_ahead(
    redrawer: Redrawer, frames: Iterable[YuvFrame], device: str
) -> Iterator[tuple[YuvFrame, Changed | None]]:
    """Yield the frames that are made, drawn, in order; on a CPU each core draws another one.

    A frame consists of many small steps, which one thread each does in less time than all threads together.
    """
    workers = usable_cores() if device == "cpu" else 1
    waiting: deque[tuple[YuvFrame, Future[Changed | None]]] = deque()
    pool = ThreadPoolExecutor(workers, initializer=_alone if workers > 1 else None)
    threads = torch.get_num_threads()
    try:
        for t, frame in enumerate(frames):
            waiting.append((frame, pool.submit(redrawer.draw, t, frame)))
            if len(waiting) > 2 * workers:
                first, drawn = waiting.popleft()
                yield first, drawn.result()
        while waiting:
            first, drawn = waiting.popleft()
            yield first, drawn.result()
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(threads)
