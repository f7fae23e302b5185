"""Parts of a square window of a frame: what is to be drawn in it, moved in it, and enlarged or reduced to its pixels.

Flows and maps have the 256² of a crop (``records.CROP_SIZE``), the window as many pixels as the frame gives it.
"""

from __future__ import annotations

from types import EllipsisType
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import extent, resized_to, sampled
from thcli.records import CROP_SIZE
from thcli.render.compose import Patch
from thcli.render.generator import PART_STEP

PAINT_ROOM = 8
"""Least distance of what Θ may change from the border of the part that it renders, px of its image, as it sees less
there; where the part ends at the border of the image there is none."""
EVEN = 2
"""Corners and sides of changes are multiples of this, as chroma has half the size."""


class Rectangle(NamedTuple):
    """A rectangle of a window: corner and size, px, all even."""

    top: int
    left: int
    height: int
    width: int

    @property
    def cut(self) -> tuple[EllipsisType, slice, slice]:
        """Index that cuts it out of maps [..., H, W]."""
        return ..., slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def reduced(self, factor: int) -> Rectangle:
        """Return the same rectangle in a window that is smaller by a factor of all its edges."""
        return Rectangle(*(edge // factor for edge in self))


WINDOW_STEP = 48
"""Number of pixels of which the sides of windows are multiples: parts of Θ's image, of 128, 192 or 256 px, are then
parts of the window in whole and even pixels."""
WHOLE_PIXELS = 16
"""Number of pixels of the crop that are a whole number of pixels in any window."""


class Window(Protocol):
    """A square of a frame, of ``side`` px."""

    @property
    def side(self) -> int: ...

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the square as RGB [3, height, width] float32 in 0..1."""

    def reduced(self, size: int, part: Rectangle) -> Tensor:
        """Return a part of the square reduced to ``size`` px, as RGB [3, height, width] float32 in 0..1."""


def changed_box(flow: Tensor, paint: Tensor | None, patch: Patch | None, size: int) -> Rectangle:
    """Return the part that may change of a window of ``size`` px."""
    touched = flow.abs().amax((0, 1)) > 0
    if paint is not None:
        touched = touched | (paint[0, 0] > 0)
    ends: list[int] = []
    for axis in (1, 0):
        first, end = extent(touched.any(axis)) if bool(touched.any()) else (CROP_SIZE // 2 + 1, CROP_SIZE // 2 + 1)
        low, high = (first - 1) * size / CROP_SIZE, (end + 1) * size / CROP_SIZE
        if patch is not None:
            begin = patch.top if axis == 1 else patch.left
            low, high = min(low, begin), max(high, begin + patch.image.shape[-2 if axis == 1 else -1])
        ends += [max(int(low) // EVEN * EVEN, 0), min(-(-int(np.ceil(high)) // EVEN) * EVEN, size)]
    return Rectangle(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def part_around(paint: Tensor) -> Rectangle | None:
    """Return the part of Θ's image that it renders to change it where any of ``paint`` [B, 1, S, S] is above 0."""
    painted = (paint > 0).any(0)[0]
    if not bool(painted.any()):
        return None
    ends: list[int] = []
    for axis in (1, 0):
        first, end = extent(painted.any(axis))
        first, end = first - PAINT_ROOM, end + PAINT_ROOM
        ends += [max(first // PART_STEP * PART_STEP, 0), min(-(-end // PART_STEP) * PART_STEP, paint.shape[-1])]
    return Rectangle(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def around(box: Rectangle, flow: Tensor, size: int) -> Rectangle:
    """Return the part of a window of ``size`` px from which a part is taken whose content moves by a flow."""
    reach = (int(float(flow.abs().max()) * size / CROP_SIZE) + 4) // EVEN * EVEN
    top, left = max(box.top - reach, 0), max(box.left - reach, 0)
    bottom, right = min(box.top + box.height + reach, size), min(box.left + box.width + reach, size)
    return Rectangle(top, left, bottom - top, right - left)


def moved(surrounding: Tensor, outer: Rectangle, flow: Tensor, box: Rectangle, size: int) -> Tensor:
    """Return a part [3, h, w] of a window whose content is moved by a flow [1, 2, 256, 256], out of one around it."""
    shift = enlarged(flow, box, size)[0]
    x, y = (torch.arange(n, device=flow.device) + 0.5 for n in (box.width, box.height))
    start = (x + (box.left - outer.left), (y + (box.top - outer.top))[:, None])
    place = torch.stack([torch.add(p, s, alpha=size / CROP_SIZE) for p, s in zip(start, shift, strict=True)])
    return sampled(surrounding[None], place[None], cubic=True)[0].clamp_(0, 1)


def enlarged(values: Tensor, box: Rectangle, size: int) -> Tensor:
    """Return the part ``box`` [1, C, h, w] of a map [1, C, 256, 256], enlarged to a window of ``size`` px.

    size: a multiple of ``WHOLE_PIXELS``
    """
    scale = size / CROP_SIZE
    cuts, slices = [], []
    for first, count in ((box.top, box.height), (box.left, box.width)):
        begin = max(int(first / scale) - 1, 0) // WHOLE_PIXELS * WHOLE_PIXELS
        end = -(-(int((first + count) / scale) + 2) // WHOLE_PIXELS) * WHOLE_PIXELS
        cuts.append(slice(begin, min(end, CROP_SIZE)))
        slices.append(slice(first - round(begin * scale), first - round(begin * scale) + count))
    return _scaled(values[..., cuts[0], cuts[1]], scale)[..., slices[0], slices[1]]


def in_window(part: Rectangle, whole: int, size: int) -> Rectangle:
    """Return a part of Θ's image of ``whole`` px (``part_around``) in px of a window of ``size`` px."""
    return Rectangle(*(edge * size // whole for edge in part))


def fitted(values: Tensor, given: Rectangle, wanted: Rectangle) -> Tensor:
    """Return values [1, C, h, w] of one part of a window on another part, 0 beyond the first."""
    left, top = given.left - wanted.left, given.top - wanted.top
    return F.pad(values, (left, wanted.width - given.width - left, top, wanted.height - given.height - top))


def enlarged_part(values: Tensor, whole: int, size: int) -> Tensor:
    """Return a part [1, C, h, w] of Θ's image of ``whole`` px in px of a window of ``size`` px (``in_window``)."""
    return _scaled(values, size / whole)


def reduced_part(values: Tensor, part: Rectangle) -> Tensor:
    """Return values [1, C, h, w] of a part of a window, reduced to the pixels of that part of Θ's image."""
    return F.interpolate(values, size=(part.height, part.width), mode="bilinear", antialias=True, align_corners=False)


def _scaled(values: Tensor, scale: float) -> Tensor:
    height, width = values.shape[-2:]
    return resized_to(values, (round(height * scale), round(width * scale)))
