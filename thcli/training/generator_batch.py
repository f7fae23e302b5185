"""Batches for Θ: augmented windows of episodes as tensors (§4.1, §4.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.configs.sections import PictureAugment
from thcli.data.episodes import WINDOW, PackedEpisode
from thcli.records import CROP_SIZE, Image
from thcli.render.landmark_maps import EYES, LINE_WIDTH, MOUTH, ROOM, draw_landmarks
from thgen_models.generator import Frames

NO_CHANGE = PictureAugment(gain=0, tint=0, offset=0, gamma=0, zoom=1, occlusion=0)
"""Augmentation that leaves images as they are."""


@dataclass(frozen=True)
class GeneratorBatch:
    """Windows of B persons with K references each: F = B · WINDOW frames, one window after the other.

    frames: the target frames as Θ takes them
    references: [B, K, 3, H, W] in -1..1
    maps: [B, K, 1, H, W] in 0..1, landmark maps of the references
    real: [F, 3, H, W] in -1..1, y_t
    mouth, eyes: [F, 1, H, W], 1 in the box around these features, 0 elsewhere
    landmarks: [F, 68, 2], l_t, pixels
    """

    frames: Frames
    references: Tensor
    maps: Tensor
    real: Tensor
    mouth: Tensor
    eyes: Tensor
    landmarks: Tensor

    def inputs(self) -> list[Tensor]:
        """Return what ``Generator.from_tensors`` takes."""
        return [*(getattr(self.frames, field.name) for field in fields(Frames)), self.references, self.maps]

    def each(self, change: Callable[[Tensor], Tensor]) -> GeneratorBatch:
        """Return the batch with ``change`` applied to every tensor."""
        return _joined([self], lambda tensors: change(tensors[0]))


def make_batch(
    episodes: Sequence[PackedEpisode],
    firsts: Sequence[int],
    count: int,
    size: int,
    augment: PictureAugment,
    random: np.random.Generator,
) -> GeneratorBatch:
    """Make a batch of one window of each episode.

    firsts: first frame of the window in each episode
    count: number K of references of each episode
    size: side of the images, px
    """
    parts = [
        _person(episode, np.arange(first, first + WINDOW), count, size, augment, random)
        for episode, first in zip(episodes, firsts, strict=True)
    ]
    return _joined(parts, torch.cat)


def _joined(parts: Sequence[GeneratorBatch], join: Callable[[list[Tensor]], Tensor]) -> GeneratorBatch:
    """Join batches by applying ``join`` to the list of each field's tensors."""
    frames = {field.name: join([getattr(part.frames, field.name) for part in parts]) for field in fields(Frames)}
    names = [field.name for field in fields(GeneratorBatch) if field.name != "frames"]
    return GeneratorBatch(Frames(**frames), **{name: join([getattr(part, name) for part in parts]) for name in names})


def _person(
    episode: PackedEpisode,
    frames: NDArray[np.intp],
    count: int,
    size: int,
    augment: PictureAugment,
    random: np.random.Generator,
) -> GeneratorBatch:
    """Make a batch of a single window; all images of the person are cropped, mirrored and coloured alike."""
    known = len(episode.reference_landmarks)
    shown = random.permutation(known)[:count] if count <= known else random.integers(0, known, count)
    matched = episode.matched[frames]
    view = _View.draw(size, augment, random)
    light = _Light.draw(augment, random)

    def images(field: str, indices: NDArray[np.intp]) -> Tensor:
        return light.on(view.of(episode.images(field, indices)))

    target, given = episode.landmarks[frames], episode.reference_landmarks
    return GeneratorBatch(
        frames=Frames(
            geometric=images("geometric", frames),
            projected=images("projected", frames),
            matched=_covered(images("references", matched), augment, random),
            matched_map=view.drawn(given[matched]),
            target_map=view.drawn(target),
        ),
        references=_covered(images("references", shown), augment, random)[None],
        maps=view.drawn(given[shown])[None],
        real=images("real", frames),
        mouth=_box(view.moved(target)[:, MOUTH], size),
        eyes=torch.stack([_box(view.moved(target)[:, eye], size) for eye in EYES]).amax(0),
        landmarks=torch.from_numpy(view.moved(target)),
    )


@dataclass(frozen=True)
class _View:
    """A square of the crop, which is cut out, possibly mirrored, and resized.

    left, top, side: the square, px of the crop
    size: side of the resized square, px
    """

    left: int
    top: int
    side: int
    mirrored: bool
    size: int

    @staticmethod
    def draw(size: int, augment: PictureAugment, random: np.random.Generator) -> _View:
        """Choose a view at random."""
        side = round(CROP_SIZE * random.uniform(augment.zoom, 1.0))
        left, top = (int(v) for v in random.integers(0, CROP_SIZE - side + 1, 2))
        return _View(left, top, side, bool(augment.zoom < 1 and random.random() < 0.5), size)

    def of(self, images: Image) -> Tensor:
        """Apply the view to images [N, 256, 256, 3] uint8: [N, 3, size, size] in -1..1."""
        cut = images[:, self.top : self.top + self.side, self.left : self.left + self.side]
        x = torch.from_numpy(np.ascontiguousarray(cut)).permute(0, 3, 1, 2).float() / 127.5 - 1
        if self.side != self.size:
            x = F.interpolate(x, size=(self.size, self.size), mode="bilinear", antialias=True, align_corners=False)
        return x.flip(-1) if self.mirrored else x

    def moved(self, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Map landmarks [N, L, 2] from px of the crop to px of the view."""
        moved = (landmarks - np.array([self.left, self.top], np.float32)) * np.float32(self.size / self.side)
        if self.mirrored:
            moved[..., 0] = self.size - moved[..., 0]
        return moved

    def drawn(self, landmarks: NDArray[np.float32]) -> Tensor:
        """Draw landmark maps [N, 1, size, size] of landmarks [N, L, 2] px of the crop."""
        width = LINE_WIDTH * self.size / CROP_SIZE
        return draw_landmarks(torch.from_numpy(self.moved(landmarks)), self.size, self.size, width)


@dataclass(frozen=True)
class _Light:
    """Change of colour that another light or camera would make to a person's images.

    gain, offset: [3, 1, 1], per colour, for images in -1..1
    gamma: exponent, for images in 0..1
    """

    gain: Tensor
    offset: Tensor
    gamma: float

    @staticmethod
    def draw(augment: PictureAugment, random: np.random.Generator) -> _Light:
        """Choose a change at random."""
        gain = np.exp(random.normal(0, augment.gain) + random.normal(0, augment.tint, (3, 1, 1)))
        offset = random.normal(0, augment.offset, (3, 1, 1))
        gamma = float(np.exp(random.normal(0, augment.gamma)))
        return _Light(torch.from_numpy(gain).float(), torch.from_numpy(offset).float(), gamma)

    def on(self, images: Tensor) -> Tensor:
        """Apply the change to images in -1..1."""
        if self.gamma != 1:
            images = ((images + 1) / 2).clamp(0, 1) ** self.gamma * 2 - 1
        return (images * self.gain + self.offset).clamp(-1, 1)


def _covered(images: Tensor, augment: PictureAugment, random: np.random.Generator) -> Tensor:
    """Cover some of the images [N, 3, H, W] by a rectangle of one colour, as hands and microphones do, in place."""
    size = images.shape[-1]
    for image in images:
        if random.random() < augment.occlusion:
            height, width = random.integers(size // 8, size // 3, 2)
            top, left = random.integers(0, size - height), random.integers(0, size - width)
            colour = torch.from_numpy(random.uniform(-1, 1, (3, 1, 1))).float()
            image[:, top : top + height, left : left + width] = colour
    return images


def _box(points: NDArray[np.float32], size: int) -> Tensor:
    """Masks [N, 1, size, size]: 1 in the box around points [N, P, 2] px with the margin ``ROOM``, 0 elsewhere."""
    low, high = points.min(axis=1), points.max(axis=1)
    room = ROOM * (high - low).max(axis=1, keepdims=True)
    place = np.arange(size) + 0.5
    inside = [(place > (low - room)[:, axis, None]) & (place < (high + room)[:, axis, None]) for axis in (0, 1)]
    return torch.from_numpy((inside[1][:, :, None] & inside[0][:, None, :]).astype(np.float32))[:, None]
