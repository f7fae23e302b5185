"""Parts of a square window of a frame: what is to be drawn in it, moved in it, and enlarged or reduced to its pixels.

Flows and maps have the 256² of a crop (``records.CROP_SIZE``), the window as many pixels as the frame gives it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.records import CROP_SIZE
from thcli.render.compose import Patch
from thcli.render.generator import PART_STEP

PAINT_ROOM = 8
"""Least distance of what Θ may change from the border of the part that it renders, px of the crop, as it sees less
there; where the part ends at the border of the crop there is none."""
EVEN = 2
"""Corners and sides of changes are multiples of this, as chroma has half the size."""


class Part(NamedTuple):
    """A rectangle of a window: corner and size, px, all even."""

    top: int
    left: int
    height: int
    width: int


WHOLE = Part(0, 0, CROP_SIZE, CROP_SIZE)
"""The whole crop."""


class Window(Protocol):
    """A square of a frame, of ``side`` px."""

    @property
    def side(self) -> int: ...

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of the square as RGB [3, height, width] float32 in 0..1."""

    def reduced(self, size: int, part: Part) -> Tensor:
        """Return a part of the square reduced to ``size`` px, as RGB [3, height, width] float32 in 0..1."""


def changed_box(flow: Tensor, paint: Tensor | None, patch: Patch | None, size: int) -> Part:
    """Return the part that may change of a window of ``size`` px."""
    touched = flow.abs().amax((0, 1)) > 0
    if paint is not None:
        touched = touched | (paint[0, 0] > 0)
    ends: list[int] = []
    for axis in (1, 0):
        used = torch.nonzero(touched.any(axis))[:, 0]
        first, last = (int(used[0]) - 1, int(used[-1]) + 2) if len(used) else (CROP_SIZE // 2, CROP_SIZE // 2 + 2)
        low, high = first * size / CROP_SIZE, last * size / CROP_SIZE
        if patch is not None:
            begin = patch.top if axis == 1 else patch.left
            low, high = min(low, begin), max(high, begin + patch.image.shape[-2 if axis == 1 else -1])
        ends += [max(int(low) // EVEN * EVEN, 0), min(-(-int(np.ceil(high)) // EVEN) * EVEN, size)]
    return Part(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def part_around(paint: Tensor) -> Part | None:
    """Return the part of the crop that Θ renders to change it where any of ``paint`` [B, 1, 256, 256] is above 0."""
    painted = (paint > 0).any(0)[0]
    ends: list[int] = []
    for axis in (1, 0):
        used = torch.nonzero(painted.any(axis))[:, 0]
        if not len(used):
            return None
        first, end = int(used[0]) - PAINT_ROOM, int(used[-1]) + 1 + PAINT_ROOM
        ends += [max(first // PART_STEP * PART_STEP, 0), min(-(-end // PART_STEP) * PART_STEP, CROP_SIZE)]
    return Part(ends[0], ends[2], ends[1] - ends[0], ends[3] - ends[2])


def around(box: Part, flow: Tensor, size: int) -> Part:
    """Return the part of a window of ``size`` px from which a part is taken whose content moves by a flow."""
    reach = (int(float(flow.abs().max()) * size / CROP_SIZE) + 4) // EVEN * EVEN
    top, left = max(box.top - reach, 0), max(box.left - reach, 0)
    bottom, right = min(box.top + box.height + reach, size), min(box.left + box.width + reach, size)
    return Part(top, left, bottom - top, right - left)


def moved(surrounding: Tensor, outer: Part, flow: Tensor, box: Part, size: int) -> Tensor:
    """Return a part [3, h, w] of a window whose content is moved by a flow [1, 2, 256, 256], out of one around it."""
    shift = enlarged(flow, box, size)[None] * (size / CROP_SIZE)
    steps = [torch.arange(n, device=flow.device) + 0.5 for n in (box.height, box.width)]
    y, x = torch.meshgrid(*steps, indexing="ij")
    place = torch.stack([x + (box.left - outer.left), y + (box.top - outer.top)])[None] + shift
    half = place.new_tensor([outer.width / 2, outer.height / 2]).view(1, 2, 1, 1)
    where = (place / half - 1).permute(0, 2, 3, 1)
    image = F.grid_sample(surrounding[None], where, mode="bicubic", padding_mode="border", align_corners=False)
    return image[0].clamp_(0, 1)


def enlarged(values: Tensor, box: Part, size: int, given: Part = WHOLE) -> Tensor:
    """Return the part [C, h, w] of a map of a window of ``size`` px, enlarged to its pixels.

    values: [1, C, h, w], the map, or the part ``given`` of it, whose border repeats
    """
    scale = CROP_SIZE / size
    steps = [
        ((torch.arange(first, first + count, device=values.device) + 0.5) * scale - begin) / (length / 2) - 1
        for first, count, begin, length in (
            (box.top, box.height, given.top, given.height),
            (box.left, box.width, given.left, given.width),
        )
    ]
    y, x = torch.meshgrid(*steps, indexing="ij")
    where = torch.stack([x, y], -1)[None]
    return F.grid_sample(values, where, padding_mode="border", align_corners=False)[0]


def reduced_change(change: Tensor, box: Part, size: int, part: Part) -> Tensor:
    """Return a change [3, h, w] of ``box`` in a window of ``size`` px, in a part of the window reduced to 256²."""
    factor = max(1, int(size / CROP_SIZE))
    small = F.avg_pool2d(change[None], factor, ceil_mode=True, count_include_pad=False)
    rows, columns = (
        (torch.arange(first, first + count, device=change.device) + 0.5) * (size / CROP_SIZE)
        for first, count in ((part.top, part.height), (part.left, part.width))
    )
    x = (columns - box.left) / (factor * small.shape[-1] / 2) - 1
    y = (rows - box.top) / (factor * small.shape[-2] / 2) - 1
    down, across = torch.meshgrid(y, x, indexing="ij")
    where = torch.stack([across, down], -1)[None]
    return F.grid_sample(small, where, padding_mode="zeros", align_corners=False)
