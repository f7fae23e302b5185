"""Scenes to train the face detector on, composed of images of single faces.

A scene has a background without faces, up to three faces of any size, and decoys that must not be detected: pieces of
clothes, hair, hands and faces. What is pasted later hides what was pasted before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.training.augment import spoil

LEVELS = 4
"""Levels of the pyramid of reduced images, each of half the size of the one before."""
VISIBLE = 0.5
"""Visible part of a face from which on it must be found."""
HIDDEN = 0.25
"""Visible part of a face below which it must not be found; between the two, neither answer is wrong."""
LETTERBOX = 0.5
"""Grey in 0..1 of the bars that make a square of a frame that is not square."""


@dataclass(frozen=True)
class Pictures:
    """Square images of one face each.

    levels: images [N, 3, S, S] uint8 at full size and at a half, a quarter and an eighth of it
    points: [N, V, 2] float32, the face's mesh in units of the image's side
    """

    levels: Sequence[Tensor]
    points: Tensor

    @classmethod
    def of(cls, images: Tensor, meshes: Tensor) -> Pictures:
        """Build the levels from images [N, 3, S, S] uint8 and meshes [N, V, 2 or 3] in pixels."""
        levels = [images]
        for _ in range(LEVELS - 1):
            halves = [F.avg_pool2d(part.float(), 2).round().byte() for part in _parts(levels[-1])]
            levels.append(torch.cat(halves))
        return cls(levels, meshes[..., :2] / images.shape[-1])

    def __len__(self) -> int:
        return len(self.points)


@dataclass(frozen=True)
class Scenes:
    """Images with the detector's targets, for the G × G cells of ``DetectionNetwork.cells``.

    images: [B, 3, S, S] float32 in 0..1
    heat: [B, G, G] float32, 1 in the cells that hold a face's centre, falling off around them
    place: [B, 3, G, G] float32, centre (x, y from the cell's centre) and log side of the nearest face, in cells
    counts: [B, G, G] float32, 1 where the heat counts, 0 where a face is so partly visible that neither answer is wrong
    """

    images: Tensor
    heat: Tensor
    place: Tensor
    counts: Tensor


@dataclass
class _Face:
    """A face that was pasted into a scene.

    centre: [2], centre of its box, px of the scene
    side: longer side of the box, px
    area: area of the ellipse that stands for the face, px²
    shape: [S, S] bool, the pixels of the ellipse that lie in the scene
    """

    centre: Tensor
    side: float
    area: float
    shape: Tensor


class SceneMaker:
    """Composer of scenes of one size.

    images: images of faces to compose scenes of
    chances: [N], probability with which each image is drawn
    size: side S of the scenes, px
    stride: side of a cell of the targets, px
    """

    def __init__(self, images: Pictures, chances: Tensor, size: int, stride: int) -> None:
        self.images, self.chances, self.size, self.stride = images, chances, size, stride
        steps = torch.arange(size) + 0.5
        grid_y, grid_x = torch.meshgrid(steps, steps, indexing="ij")
        self.grid = torch.stack([grid_x, grid_y], -1)

    def batch(self, count: int, random: torch.Generator) -> Scenes:
        """Compose ``count`` scenes, each with random changes of light and colour, blur, noise and compression."""
        made = [self._scene(random) for _ in range(count)]
        images = spoil(torch.stack([image for image, _, _ in made]), random, occluded=0.0, smallest=0.6)
        images = torch.stack([self._letterboxed(image, bars) for image, (_, _, bars) in zip(images, made, strict=True)])
        heat, place, counts = (torch.stack(part) for part in zip(*(faces for _, faces, _ in made), strict=True))
        return Scenes(images, heat, place, counts)

    def _scene(self, random: torch.Generator) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor], tuple[float, ...]]:
        """Compose one scene: its image [3, S, S] in 0..1, its targets, and the part within the bars."""
        canvas = self._background(random)
        owner = torch.full((self.size, self.size), -1)
        faces: list[_Face] = []
        wanted = _pick(random, (0.2, 0.5, 0.2, 0.1))
        things = ["face"] * wanted + ["decoy"] * _pick(random, (0.25, 0.35, 0.25, 0.15))
        for k in torch.randperm(len(things), generator=random).tolist():
            if things[k] == "face":
                canvas, inside, face = self._face(canvas, wanted, not faces and bool((owner == -1).all()), random)
                owner[inside] = len(faces)
                faces.append(face)
            else:
                canvas, inside = self._decoy(canvas, random)
                owner[inside] = -2
        bars = self._bars(random)
        low_x, low_y, high_x, high_y = bars
        hidden = (self.grid < torch.tensor([low_x, low_y])) | (self.grid > torch.tensor([high_x, high_y]))
        owner[hidden.any(-1)] = -2
        return canvas, self._targets(faces, owner), bars

    def _face(self, canvas: Tensor, among: int, first: bool, random: torch.Generator) -> tuple[Tensor, Tensor, _Face]:
        """Paste a face: with its whole image, cut out as an ellipse, or, if it is the first, with its border extended.

        Returns the canvas, the pixels [S, S] bool that are covered, and the face.
        """
        i = int(torch.multinomial(self.chances, 1, generator=random))
        largest = self.size / (0.95, 1.7, 2.3)[among - 1]
        side = math.exp(_uniform(random, math.log(13), math.log(largest)))
        narrow = _uniform(random, 0, 1) < 0.6
        angle = 0.15 * _normal(random) if narrow else _uniform(random, -0.65, 0.65)
        points, turn = self._turned(i, side, angle, _uniform(random, 0, 1) < 0.5, 0.06 * _normal(random))
        reach = 0.5 * self.size + 0.1 * side
        middle = torch.tensor([self.size / 2 + _uniform(random, -reach, reach) for _ in range(2)])
        low, high = points.amin(0), points.amax(0)
        middle = middle - (low + high) / 2
        source = (self.grid - middle) @ torch.linalg.inv(turn).T + 0.5
        face = self.images.points[i]
        face_middle, radius = (face.amin(0) + face.amax(0)) / 2, (face.amax(0) - face.amin(0)) / 2
        kind = _pick(random, (0.45, 0.3, 0.25 if first else 0.0))
        if kind == 1:
            wide = radius * _uniform(random, 1.15, 2.0)
            edge = 1 - (((source - face_middle) / wide) ** 2).sum(-1)
            cover = (edge * _uniform(random, 3, 20)).clamp(0, 1) * _within(source)
        else:
            cover = _within(source) if kind == 0 else torch.ones(self.size, self.size)
        canvas = self._paste(canvas, i, source, cover, side)
        shape = (((source - face_middle) / radius) ** 2).sum(-1) < 1
        area = math.pi * float(radius.prod()) * float(torch.linalg.det(turn).abs())
        return canvas, cover > 0.5, _Face(middle + (low + high) / 2, float((high - low).max()), area, shape)

    def _turned(self, i: int, side: float, angle: float, mirrored: bool, stretch: float) -> tuple[Tensor, Tensor]:
        """Points of a face, turned and scaled, in px from the image's centre, and the matrix from image units to px."""
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos, -sin], [sin, cos]]) @ torch.diag(
            torch.tensor([(-1.0 if mirrored else 1.0) * math.exp(stretch), math.exp(-stretch)])
        )
        points = (self.images.points[i] - 0.5) @ turn.T
        scale = side / float((points.amax(0) - points.amin(0)).max())
        return points * scale, turn * scale

    def _decoy(self, canvas: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Paste a piece of an image that shows less than half a face, or a plain shape with spots.

        Returns the canvas and the pixels [S, S] bool that are covered.
        """
        i = int(torch.multinomial(self.chances, 1, generator=random))
        middle, half = self._faceless(i, random)
        size = math.exp(_uniform(random, math.log(10), math.log(0.8 * self.size)))
        angle = _uniform(random, -math.pi, math.pi) if _uniform(random, 0, 1) < 0.3 else 0.2 * _normal(random)
        stretch = math.exp(0.2 * _normal(random))
        cos, sin = math.cos(angle), math.sin(angle)
        turn = torch.tensor([[cos * stretch, -sin], [sin * stretch, cos]]) * size
        at = torch.tensor([_uniform(random, 0, self.size) for _ in range(2)])
        local = (self.grid - at) @ torch.linalg.inv(turn).T
        square = _uniform(random, 0, 1) < 0.5
        inside = (local.abs() < 0.5).all(-1) if square else (local**2).sum(-1) < 0.25
        if _uniform(random, 0, 1) < 0.2:
            return torch.where(inside, self._spots(local, random), canvas), inside
        canvas = self._paste(canvas, i, middle + local * (2 * half), inside.float(), size / (2 * float(half.max())) / 2)
        return canvas, inside

    def _spots(self, local: Tensor, random: torch.Generator) -> Tensor:
        """Draw a shape [3, S, S] of one colour, brighter to one side, with spots; ``local`` is -0.5..0.5 inside it."""
        slope = torch.randn(2, generator=random) * 0.3
        thing = torch.rand(3, 1, 1, generator=random) + (local * slope).sum(-1)
        for _ in range(_pick(random, (0, 1, 1, 1, 1, 1, 1))):
            middle, radius = torch.rand(2, generator=random) - 0.5, 0.03 + 0.15 * torch.rand(2, generator=random)
            distance = (((local - middle) / radius) ** 2).sum(-1)
            thing = thing + torch.randn(3, 1, 1, generator=random) * 0.3 * torch.exp(-distance)
        return thing.clamp(0, 1)

    def _faceless(self, i: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Centre and half sides, in image units, of a part of an image beside the face, or of a piece of the face."""
        face = self.images.points[i]
        low, high = face.amin(0), face.amax(0)
        if _uniform(random, 0, 1) < 0.35:
            half = (high - low).max() * _uniform(random, 0.08, 0.22) * torch.ones(2)
            at = torch.rand(2, generator=random)
            return low + at * (high - low), half
        # The part is a strip beside, above or below the face, and may contain a little of it.
        axis, before = int(torch.randint(2, (1,), generator=random)), _uniform(random, 0, 1) < 0.5
        bite = 0.15 * float(high[axis] - low[axis])
        limit = float(low[axis]) + bite if before else 1 - float(high[axis]) + bite
        depth = max(limit, 0.08) * _uniform(random, 0.5, 1)
        half, middle = torch.empty(2), torch.empty(2)
        half[axis] = depth / 2
        middle[axis] = _uniform(random, depth / 2, max(limit - depth / 2, depth / 2))
        if not before:
            middle[axis] = 1 - middle[axis]
        half[1 - axis] = _uniform(random, 0.1, 0.5)
        middle[1 - axis] = _uniform(random, float(half[1 - axis]), 1 - float(half[1 - axis]))
        return middle, half

    def _paste(self, canvas: Tensor, i: int, source: Tensor, cover: Tensor, side: float) -> Tensor:
        """Lay image ``i``, sampled at ``source`` [S, S, 2] in its units, over the canvas where ``cover`` is 1.

        side: size in px of the face in the scene, by which the level of the image is chosen
        """
        face = self.images.points[i]
        shown = side / float((face.amax(0) - face.amin(0)).max())
        level = math.log2(self.images.levels[0].shape[-1] / max(shown, 1.0))
        image = self.images.levels[min(max(round(level), 0), LEVELS - 1)][i]
        sampled = F.grid_sample(
            image[None].float() / 255, source[None] * 2 - 1, padding_mode="border", align_corners=False
        )
        return canvas + (sampled[0] - canvas) * cover

    def _background(self, random: torch.Generator) -> Tensor:
        """Make a background without a face: a stretched or shuffled image, plain colour, or noise of any coarseness."""
        kind = _pick(random, (0.45, 0.2, 0.15, 0.2))
        size = self.size
        plain = torch.rand(3, 1, 1, generator=random).expand(3, size, size)
        if kind == 0:
            i = int(torch.multinomial(self.chances, 1, generator=random))
            middle, half = self._faceless(i, random)
            source = middle + (self.grid / size - 0.5) * 2 * half
            return self._paste(plain, i, source, torch.ones(size, size), size / (2 * float(half.max())) / 2)
        if kind == 1:
            return self._shuffled(plain, random)
        if kind == 2:
            return plain.clone()
        coarse = int(torch.randint(2, 60, (1,), generator=random))
        noise = torch.rand(1, 3, coarse, coarse, generator=random)
        if _uniform(random, 0, 1) < 0.5:
            noise = noise[:, :1].expand(1, 3, coarse, coarse)
        noise = F.interpolate(noise, size=(size, size), mode="bilinear", align_corners=False)[0]
        fine = F.interpolate(torch.rand(1, 1, 160, 160, generator=random), size=(size, size), mode="area")[0]
        return plain + (noise + 0.5 * (fine - 0.5) - plain) * _uniform(random, 0.1, 1)

    def _shuffled(self, canvas: Tensor, random: torch.Generator) -> Tensor:
        """Fill the canvas with an image whose squares are shuffled; each square is smaller than half the face."""
        i = int(torch.multinomial(self.chances, 1, generator=random))
        face = self.images.points[i]
        count = math.ceil(1 / (0.4 * float((face.amax(0) - face.amin(0)).max()))) + _pick(random, (1, 1, 1))
        order = torch.randperm(count * count, generator=random)
        place = self.grid / self.size * count
        cell = place.long().clamp(max=count - 1)
        other = order[cell[..., 1] * count + cell[..., 0]]
        source = (torch.stack([other % count, other // count], -1) + place - cell) / count
        shown = self.size * float((face.amax(0) - face.amin(0)).max())
        return self._paste(canvas, i, source, torch.ones(self.size, self.size), shown)

    def _bars(self, random: torch.Generator) -> tuple[float, ...]:
        """Choose the part of the scene that shows the image, x0, y0, x1, y1 in px; bars fill the rest of the square."""
        size = float(self.size)
        kind = _pick(random, (0.4, 0.45, 0.15))
        low = size * (1 - _uniform(random, 0.5, 1)) / 2
        return ((0.0, 0.0, size, size), (0.0, low, size, size - low), (low, 0.0, size - low, size))[kind]

    def _letterboxed(self, image: Tensor, bars: tuple[float, ...]) -> Tensor:
        """Paint the bars beside the part x0, y0, x1, y1 of an image."""
        x0, y0, x1, y1 = (round(value) for value in bars)
        boxed = torch.full_like(image, LETTERBOX)
        boxed[:, y0:y1, x0:x1] = image[:, y0:y1, x0:x1]
        return boxed

    def _targets(self, faces: Sequence[_Face], owner: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Compute ``heat``, ``place`` and ``counts`` of ``Scenes``; ``owner`` [S, S] is the face that a pixel shows."""
        count = self.size // self.stride
        steps = torch.arange(count) + 0.5
        heat, counts = torch.zeros(count, count), torch.ones(count, count)
        place, nearest = torch.zeros(3, count, count), torch.full((count, count), math.inf)
        for k, face in enumerate(faces):
            seen = float((face.shape & (owner == k)).sum()) / max(face.area, 1.0)
            if seen < HIDDEN:
                continue
            x, y = (face.centre / self.stride).tolist()
            side = face.side / self.stride
            spread = max(0.09 * side, 0.4)
            # Distances are from the middle of the cell that holds the centre, so that its heat is exactly 1.
            own_x, own_y = min(max(int(x), 0), count - 1) + 0.5, min(max(int(y), 0), count - 1) + 0.5
            far = (steps[None, :] - own_x) ** 2 + (steps[:, None] - own_y) ** 2
            near = torch.exp(-far / (2 * spread**2))
            if seen < VISIBLE or not (0 <= x < count and 0 <= y < count):
                counts[far < max(0.3 * side, 1.0) ** 2] = 0
                continue
            heat = torch.maximum(heat, near)
            closer = (far < nearest) & (near > 0.2)
            nearest[closer] = far[closer]
            across, down = (x - steps)[None, :], (y - steps)[:, None]
            parts = (across, down, torch.tensor(math.log(side)))
            target = torch.stack([part.expand(count, count) for part in parts])
            place[:, closer] = target[:, closer]
        return heat, place, counts


def _parts(images: Tensor) -> list[Tensor]:
    """Cut a tensor into parts of at most 256 images, to limit the memory."""
    return [images[first : first + 256] for first in range(0, len(images), 256)]


def _within(source: Tensor) -> Tensor:
    """1 where places [S, S, 2], in image units, lie in the image, else 0."""
    return ((source >= 0) & (source <= 1)).all(-1).float()


def _uniform(random: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=random))


def _normal(random: torch.Generator) -> float:
    return float(torch.randn((), generator=random))


def _pick(random: torch.Generator, shares: Sequence[float]) -> int:
    """Choose an index with probabilities in proportion to ``shares``."""
    return int(torch.multinomial(torch.tensor(shares, dtype=torch.float), 1, generator=random))
