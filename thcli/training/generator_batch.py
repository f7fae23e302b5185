"""Batches for Θ: windows of takes, augmented, as tensors (§4.1, §4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.config import PictureAugment
from thcli.data.episodes import WINDOW, PackedTake
from thcli.records import CROP_SIZE, Image
from thcli.render.landmark_maps import EYES, LINE_WIDTH, MOUTH, ROOM, draw_landmarks
from thgen_models.generator import Frames

NO_CHANGE = PictureAugment(gain=0, tint=0, offset=0, gamma=0, zoom=1, occlusion=0)


@dataclass(frozen=True)
class GeneratorBatch:
    """F = B · WINDOW frames of B persons, those of a window together, with K references each.

    frames: what Θ sees of the targets; references: [B, K, 3, H, W] in -1..1, maps: [B, K, 1, H, W] in 0..1
    real: y_t, [F, 3, H, W] in -1..1; mouth, eyes: 1 there and 0 elsewhere, [F, 1, H, W]
    landmarks: l_t, [F, 68, 2], pixels
    """

    frames: Frames
    references: Tensor
    maps: Tensor
    real: Tensor
    mouth: Tensor
    eyes: Tensor
    landmarks: Tensor

    def each(self, change: Callable[[Tensor], Tensor]) -> GeneratorBatch:
        """The batch with every tensor changed."""
        return _joined([self], lambda tensors: change(tensors[0]))


def make_batch(
    takes: Sequence[PackedTake],
    firsts: Sequence[int],
    count: int,
    size: int,
    augment: PictureAugment,
    random: np.random.Generator,
) -> GeneratorBatch:
    """The windows that begin at frames ``firsts`` of takes, with K = ``count`` references of each take."""
    parts = [
        _person(take, np.arange(first, first + WINDOW), count, size, augment, random)
        for take, first in zip(takes, firsts, strict=True)
    ]
    return _joined(parts, torch.cat)


def _joined(parts: Sequence[GeneratorBatch], join: Callable[[list[Tensor]], Tensor]) -> GeneratorBatch:
    frames = {field.name: join([getattr(part.frames, field.name) for part in parts]) for field in fields(Frames)}
    names = [field.name for field in fields(GeneratorBatch) if field.name != "frames"]
    return GeneratorBatch(Frames(**frames), **{name: join([getattr(part, name) for part in parts]) for name in names})


def _person(
    take: PackedTake,
    frames: NDArray[np.intp],
    count: int,
    size: int,
    augment: PictureAugment,
    random: np.random.Generator,
) -> GeneratorBatch:
    """One window; all pictures of the person are cut, mirrored and coloured alike."""
    known = len(take.reference_landmarks)
    shown = random.permutation(known)[:count] if count <= known else random.integers(0, known, count)
    matched = take.matched[frames]
    view = _View.draw(size, augment, random)
    light = _Light.draw(augment, random)

    def pictures(field: str, indices: NDArray[np.intp]) -> Tensor:
        return light.on(view.of(take.pictures(field, indices)))

    target, given = take.landmarks[frames], take.reference_landmarks
    return GeneratorBatch(
        frames=Frames(
            geometric=pictures("geometric", frames),
            projected=pictures("projected", frames),
            matched=_covered(pictures("references", matched), augment, random),
            matched_map=view.drawn(given[matched]),
            target_map=view.drawn(target),
        ),
        references=_covered(pictures("references", shown), augment, random)[None],
        maps=view.drawn(given[shown])[None],
        real=pictures("real", frames),
        mouth=_box(view.moved(target)[:, MOUTH], size),
        eyes=torch.stack([_box(view.moved(target)[:, eye], size) for eye in EYES]).amax(0),
        landmarks=torch.from_numpy(view.moved(target)),
    )


@dataclass(frozen=True)
class _View:
    """A square that is cut out of the crop, mirrored or not, and brought to ``size``."""

    left: int
    top: int
    side: int
    mirrored: bool
    size: int

    @staticmethod
    def draw(size: int, augment: PictureAugment, random: np.random.Generator) -> _View:
        side = round(CROP_SIZE * random.uniform(augment.zoom, 1.0))
        left, top = (int(v) for v in random.integers(0, CROP_SIZE - side + 1, 2))
        return _View(left, top, side, bool(augment.zoom < 1 and random.random() < 0.5), size)

    def of(self, pictures: Image) -> Tensor:
        """Pictures [N, 256, 256, 3] uint8 → [N, 3, size, size] in -1..1."""
        cut = pictures[:, self.top : self.top + self.side, self.left : self.left + self.side]
        x = torch.from_numpy(np.ascontiguousarray(cut)).permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.side != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return x.flip(-1) if self.mirrored else x

    def moved(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Landmarks [N, L, 2] px of the crop, in pixels of the view."""
        moved = (landmarks - np.array([self.left, self.top], np.float32)) * np.float32(self.size / self.side)
        if self.mirrored:
            moved[..., 0] = self.size - moved[..., 0]
        return moved

    def drawn(self, landmarks: NDArray[np.float32]) -> Tensor:
        """Landmark maps [N, 1, size, size]."""
        width = LINE_WIDTH * self.size / CROP_SIZE
        return draw_landmarks(torch.from_numpy(self.moved(landmarks)), self.size, self.size, width)


@dataclass(frozen=True)
class _Light:
    """What another lamp, or another camera, would make of a person's pictures."""

    gain: Tensor
    offset: Tensor
    gamma: float

    @staticmethod
    def draw(augment: PictureAugment, random: np.random.Generator) -> _Light:
        gain = np.exp(random.normal(0, augment.gain) + random.normal(0, augment.tint, (3, 1, 1)))
        offset = random.normal(0, augment.offset, (3, 1, 1))
        gamma = float(np.exp(random.normal(0, augment.gamma)))
        return _Light(torch.from_numpy(gain).float(), torch.from_numpy(offset).float(), gamma)

    def on(self, pictures: Tensor) -> Tensor:
        if self.gamma != 1:
            pictures = ((pictures + 1) / 2).clamp(0, 1) ** self.gamma * 2 - 1
        return (pictures * self.gain + self.offset).clamp(-1, 1)


def _covered(pictures: Tensor, augment: PictureAugment, random: np.random.Generator) -> Tensor:
    """Pictures [N, 3, H, W], some with a rectangle of one colour over them: hands, microphones."""
    size = pictures.shape[-1]
    for picture in pictures:
        if random.random() < augment.occlusion:
            height, width = random.integers(size // 8, size // 3, 2)
            top, left = random.integers(0, size - height), random.integers(0, size - width)
            colour = torch.from_numpy(random.uniform(-1, 1, (3, 1, 1))).float()
            picture[:, top : top + height, left : left + width] = colour
    return pictures


def _box(points: NDArray[np.float32], size: int) -> Tensor:
    """1 in the box around points [N, P, 2] px, with some room: [N, 1, size, size]."""
    low, high = points.min(axis=1), points.max(axis=1)
    room = ROOM * (high - low).max(axis=1, keepdims=True)
    place = np.arange(size) + 0.5
    inside = [(place > (low - room)[:, axis, None]) & (place < (high + room)[:, axis, None]) for axis in (0, 1)]
    return torch.from_numpy((inside[1][:, :, None] & inside[0][:, None, :]).astype(np.float32))[:, None]
