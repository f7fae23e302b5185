"""References as two layers: the person, who moves, before the background, which rests.

The paper warps whole images (§4.1), which pulls the background along with the head and tears hair where the two part.
Here the person is cut out of every reference, as soft as hair is, and what lies behind is completed from the references
that show it. An image that rests is exactly its reference.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import blur, fill, ramp, resized, widened
from thcli.records import CROP_SIZE
from thcli.render.matting import SEEN
from thcli.render.rasterize import rasterize
from thcli.render.transition import COLOURS
from thcli.render.warp import pixel_grid
from thcli.threads import one_thread

MARGIN, COVERED, FADE = 3, 5, 1.5
"""Distances from the outline, px of the crop at 256²: of what is background, and of what the completed background
covers; and the standard deviation of the blur of the latter's border."""
MORE = (0.2, 0.7)
"""Opacities up to which the background is seen more, and from which the person is."""
ROUGH = (0.04, 0.015)
"""Mean differences of a background from itself blurred, 0..1, from which it has texture, up to which it is plain."""
ISLANDS = 64
"""Side of the maps on which parts are found that do not touch the person."""
FAR = 1e4
"""Coordinate of a place that is not known yet, px."""
SMOOTH = 4.0
"""Standard deviation, px of the crop, of the blur of the moves to mirror images."""
SHEAR = (1.0, 0.5)
"""Shears of mirror images from which on they are not used, and up to which they are."""
BELIEVED = 0.7
"""Mean opacity of the face below which the opacity is not that of the person."""
SURE = 0.7
"""Share of a place that must be known for the picture beside it to be mirrored there."""


@dataclass(frozen=True)
class References:
    """Reference images of one person, and their layers, which are kept in half precision.

    images: [K, 3, S, S] float32 in 0..1
    person: [K, 4, S, S], what the person adds to the background, and the person's opacity; without it images
        are not layered, and move as a whole
    background: [K, 3, S, S] in 0..1, the images as if nobody were there
    fine: whether they are shown in all detail, and not as a coarse guide
    """

    images: Tensor
    person: Tensor | None = None
    background: Tensor | None = None
    fine: bool = True

    def __len__(self) -> int:
        return len(self.images)

    def each(self, change: Callable[[Tensor], Tensor]) -> References:
        """Return the references with all images and layers changed by a function, such as one that resizes them."""
        person, background = (
            None if part is None else change(part.float()).half() for part in (self.person, self.background)
        )
        return replace(self, images=change(self.images), person=person, background=background)

    @property
    def opacity(self) -> Tensor | None:
        """Opacity of the person [K, 1, S, S] float32 in 0..1; None where images are not layered."""
        return None if self.person is None else self.person[:, 3:].float()

    def moving(self, references: Sequence[int]) -> Tensor:
        """Return what is warped of some references: persons [P, 4, S, S], or whole images [P, 3, S, S], float32."""
        return self.images[references] if self.person is None else self.person[references].float()

    @cached_property
    def small(self) -> Tensor:
        """What is warped of all references, as small as colours without detail need it: [K, C, COLOURS, COLOURS]."""
        return resized(self.moving(range(len(self.images))), COLOURS)

    def behind(self, references: Sequence[int]) -> Tensor | None:
        """Return the backgrounds [P, 3, S, S] float32 of some references; None where images are not layered."""
        return None if self.background is None else self.background[references].float()


def over_background(moved: Tensor, behind: Tensor | None) -> Tensor:
    """Lay warped persons [P, 4, S, S] over backgrounds [P, 3, S, S], or clamp warped images [P, 3, S, S] to 0..1.

    Both may be changed.
    """
    if behind is None:
        return moved.clamp_(0, 1)
    return behind.addcmul_(moved[:, 3:], behind, value=-1).add_(moved[:, :3]).clamp_(0, 1)


@one_thread()
def layered(images: Tensor, opacity: Tensor, meshes: Tensor, faces: Tensor) -> References:
    """Split images [K, 3, S, S] into layers by the opacity [K, 1, S, S] of the person.

    meshes: [K, V, 3], px of the images resized to ``CROP_SIZE``; the face always belongs to the person
    faces: [F, 3] int64

    Where the opacity does not fit the faces, as may be so of a drawing, images are not layered. On one thread, as with
    more the number of cores would change the video by a hair.
    """
    size = images.shape[-1]
    scale = size / CROP_SIZE
    face = rasterize(meshes * meshes.new_tensor([scale, scale, 1.0]), faces, size, size).mask[:, None].float()
    if float((opacity * face).sum() / face.sum().clamp(min=1)) < BELIEVED:
        return References(images)
    opacity = torch.maximum(_connected(opacity, face), blur(face, scale))
    plate = _completed(images, opacity, scale)
    plain = _plainness(plate, scale)
    # One at a time: of large images the steps of a split take several times the memory of its result.
    split = [_split(image[None], seen[None], plate, plain, scale) for image, seen in zip(images, opacity, strict=True)]
    person, background = (torch.cat(layer) for layer in zip(*split, strict=True))
    return References(images, person, background)


def _split(image: Tensor, opacity: Tensor, plate: Tensor, plain: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Return the layers [1, 4, S, S] and [1, 3, S, S] of one image, as ``References`` has them.

    plate: [1, 3, S, S], the completed background
    plain: [1, 1, S, S] in 0..1, how plain it is
    """
    cover = blur(_around(opacity, COVERED * scale), FADE * scale)
    background, through = torch.lerp(image, plate, cover), 1 - opacity
    added = image - through * background
    # What no colour of the person explains belongs to the layer that is seen more; before a plain background, which is
    # surely known, to stray hair. Both layers together are the image.
    own = torch.lerp(torch.minimum(added.clamp(min=0), opacity), added, torch.maximum(ramp(opacity, *MORE), plain))
    background = background + (added - own) / through.clamp(min=1 - MORE[1])
    return torch.cat([own, opacity], 1).half(), background.clamp(0, 1).half()


def _around(opacity: Tensor, reach: float) -> Tensor:
    """Return where the person is seen, or lies within ``reach`` px, [K, 1, S, S] in 0..1."""
    return widened((opacity / SEEN).clamp(max=1), reach)


def _connected(opacity: Tensor, face: Tensor) -> Tensor:
    """Return the opacity [K, 1, S, S] of what is connected to the face [K, 1, S, S], without islands elsewhere."""
    coarse = F.adaptive_max_pool2d(opacity, ISLANDS)
    reached = torch.minimum(F.adaptive_max_pool2d(face, ISLANDS), coarse)
    for _ in range(2 * ISLANDS):
        reached = torch.minimum(widened(reached, 1), coarse)
    return torch.minimum(opacity, F.interpolate(widened(reached, 1), size=opacity.shape[-2:], mode="bilinear"))


def _completed(images: Tensor, opacity: Tensor, scale: float) -> Tensor:
    """Return the mean background [1, 3, S, S] of images [K, 3, S, S], by the person's opacity [K, 1, S, S].

    Where none shows it, what stands to its left or right is mirrored: its texture stays, and level lines go on.
    """
    mean, total = torch.zeros_like(images[:1]), torch.zeros_like(opacity[:1])
    for image, seen in zip(images, opacity, strict=True):
        known = 1 - _around(seen[None], MARGIN * scale)
        mean.addcmul_(image, known)
        total += known
    mean /= total.clamp(min=1e-6)
    sure = total.clamp(max=1)
    where, even = _mirror(sure)
    mirrored = F.grid_sample(torch.cat([mean * sure, sure], 1), where, padding_mode="zeros", align_corners=False)
    colour, weight = mirrored[:, :3] / mirrored[:, 3:].clamp(min=1e-6), mirrored[:, 3:] * even
    return torch.lerp(torch.lerp(fill(mean, sure), colour, weight), mean, sure)


def _mirror(known: Tensor) -> tuple[Tensor, Tensor]:
    """Return for each place its mirror image beyond the nearest known place [1, 1, S, S] of its row.

    The result is [1, S, S, 2], for ``grid_sample``, and how even the mirror is there, [1, 1, S, S] in 0..1: an outline
    that is not upright would tear the picture.
    """
    x = torch.arange(CROP_SIZE, device=known.device, dtype=known.dtype).expand(CROP_SIZE, -1)
    coarse = (resized(known, CROP_SIZE) > SURE)[0, 0]
    left = torch.where(coarse, x, -FAR).cummax(1).values
    right = torch.where(coarse, x, FAR).flip(1).cummin(1).values.flip(1)
    nearest = torch.where(x - left < right - x, left, right)
    moves = blur((2 * (nearest - x)).clamp(-CROP_SIZE, CROP_SIZE)[None, None], SMOOTH)
    grid = pixel_grid(CROP_SIZE, known.device)
    where = torch.cat([grid[:1] + moves[0], grid[1:]])[None] * (2 / CROP_SIZE) - 1
    shear = F.pad((moves[..., 1:, :] - moves[..., :-1, :]).abs(), (0, 0, 0, 1))
    even = blur(ramp(shear, *SHEAR), SMOOTH)
    size = known.shape[-1]
    return resized(where, size).permute(0, 2, 3, 1), resized(even, size)


def _plainness(plate: Tensor, scale: float) -> Tensor:
    """Return how plain a background [1, 3, S, S] is around each place, [1, 1, S, S] in 0..1."""
    rough = blur((plate - blur(plate, 2 * SMOOTH * scale)).abs().amax(1, keepdim=True), 2 * SMOOTH * scale)
    return ramp(rough, *ROUGH)
