"""Frames of a video as they are stored, in YUV 4:2:0: windows of them in RGB, and changes to these windows.

Only a window is converted, and only its change is written back: what does not change keeps its very bytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thcli.images import averaged, resized_to
from thcli.records import CropBox, Float, Image

LUMA_WEIGHTS = {
    "bt709": (0.2126, 0.0722),
    "bt470bg": (0.299, 0.114),
    "smpte170m": (0.299, 0.114),
    "smpte240m": (0.212, 0.087),
    "fcc": (0.30, 0.11),
    "bt2020nc": (0.2627, 0.0593),
}
"""Weights of red and blue in the luma, by the name of the matrix."""
DETECTED = 1280
"""Most pixels of the longer side of a frame in which faces are searched for."""


@dataclass(frozen=True)
class YuvColours:
    """How YUV stands for RGB.

    matrix: name of the matrix, one of ``LUMA_WEIGHTS``
    full_range: whether all code values are used
    bits: bits of a code value, 8 or 10
    """

    matrix: str = "bt709"
    full_range: bool = False
    bits: int = 8

    @property
    def step(self) -> int:
        """Code values for one of 8 bits."""
        return 1 << (self.bits - 8)

    @property
    def most(self) -> int:
        """Largest code value."""
        return (1 << self.bits) - 1

    @property
    def dtype(self) -> np.dtype[Any]:
        """Data type of code values: uint8, or int16 beyond 8 bits."""
        return np.dtype(np.uint8 if self.bits == 8 else np.int16)

    def empty_frame(self, size: tuple[int, int]) -> Image:
        """Return an array for the code values of a frame of (width, height), even px."""
        return np.empty(frame_values(size), self.dtype)

    def to_rgb(self) -> tuple[Float, Float]:
        """Return the matrix [3, 3] and the offset [3] that take code values to RGB in 0..1: ``m @ yuv + o``."""
        red, blue = LUMA_WEIGHTS[self.matrix]
        green, step = 1 - red - blue, self.step
        luma, chroma = (1 / self.most, 1 / self.most) if self.full_range else (1 / (219 * step), 1 / (224 * step))
        u, v = 2 * (1 - blue) * chroma, 2 * (1 - red) * chroma
        matrix = np.array([[luma, 0, v], [luma, -u * blue / green, -v * red / green], [luma, u, 0]])
        black = np.array([0.0 if self.full_range else 16.0, 128.0, 128.0]) * step
        return matrix.astype(np.float32), (-matrix @ black).astype(np.float32)


def frame_values(size: tuple[int, int]) -> int:
    """Return how many code values a frame of some width and height, even px, has."""
    return size[0] * size[1] * 3 // 2


class YuvFrame:
    """A frame in YUV 4:2:0.

    data: [H * 3 / 2 * W]: the planes Y, U and V one after the other, as ``YuvColours.empty_frame`` makes it
    size: (width, height), px, both even
    colours: how the values stand for RGB
    """

    def __init__(self, data: Image, size: tuple[int, int], colours: YuvColours) -> None:
        self.data, self.size, self.colours = data, size, colours
        width, height = size
        self.y = data[: width * height].reshape(height, width)
        half = (height // 2, width // 2)
        self.u, self.v = data[width * height :].reshape(2, *half)

    def window(self, box: CropBox, step: int = 1) -> Tensor:
        """Return a square of the frame as RGB [3, side / step, side / step] float32 in 0..1; the border repeats.

        box: square whose corner is even and whose side is a multiple of 2 and of ``step``
        step: 1, or an even number of pixels whose mean becomes one
        """
        if step == 1:
            return self.part(box.y0, box.x0, box.side, box.side)
        y, u, v = (_reduced(plane, box, s, step // s) for plane, s in ((self.y, 1), (self.u, 2), (self.v, 2)))
        return self._rgb(y, u, v)

    def part(self, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a rectangle of the frame as RGB [3, height, width] float32 in 0..1; all four are even."""
        y = _cut(self.y, top, left, height, width).float()
        half = (top // 2, left // 2, height // 2, width // 2)
        chroma = torch.stack([_cut(plane, *half) for plane in (self.u, self.v)]).float()[None]
        u, v = resized_to(chroma, (height, width))[0]
        return self._rgb(y, u, v)

    def resampled(self, box: CropBox, size: int, top: int, left: int, height: int, width: int) -> Tensor:
        """Return a part of a square of the frame, resized to ``size`` px with anti-aliasing, as RGB float32 in 0..1.

        box: square whose corner and side are even
        top, left, height, width: the part, px of the resized square

        Returns [3, height, width]; the frame's border repeats.
        """
        scale = box.side / size
        planes = []
        for plane, half in ((self.y, 1), (self.u, 2), (self.v, 2)):
            rows, first_row = _averaging(top, height, scale / half)
            columns, first_column = _averaging(left, width, scale / half)
            place = (box.y0 // half + first_row, box.x0 // half + first_column, rows.shape[1], columns.shape[1])
            planes.append(rows @ (_cut(plane, *place).float() @ columns.T))
        return self._rgb(*planes)

    def _rgb(self, y: Tensor, u: Tensor, v: Tensor) -> Tensor:
        """Return planes [h, w] of one size as RGB [3, h, w] in 0..1."""
        matrix, offset = self.colours.to_rgb()
        luma, rgb = y * float(matrix[0, 0]), y.new_empty(3, *y.shape)
        torch.mul(v, float(matrix[0, 2]), out=rgb[0])
        torch.mul(u, float(matrix[1, 1]), out=rgb[1]).add_(v * float(matrix[1, 2]))
        torch.mul(u, float(matrix[2, 1]), out=rgb[2])
        for one, black in zip(rgb, offset.tolist(), strict=True):
            one.add_(black).add_(luma).clamp_(0, 1)
        return rgb

    def image(self, box: CropBox, step: int = 1) -> Image:
        """Return a window as an image [side / step, side / step, 3] uint8."""
        planes = self.window(box, step).mul_(255).round_().byte()
        return np.asarray(torch.stack(list(planes), dim=-1).numpy())

    def reduced(self, longest: int = DETECTED) -> tuple[Image, float]:
        """Return the whole frame in RGB [h, w, 3] uint8, with every n-th pixel, and n."""
        step = max(1, -(-max(self.size) // longest))
        y = self.y[::step, ::step].astype(np.float32)
        rows, columns = (np.arange(0, length, step) // 2 for length in (self.size[1], self.size[0]))
        u, v = (plane[rows[:, None], columns].astype(np.float32) for plane in (self.u, self.v))
        matrix, offset = self.colours.to_rgb()
        rgb = np.stack([y, u, v], -1) @ matrix.T + offset
        return np.round(rgb * 255).clip(0, 255).astype(np.uint8), float(step)

    def add(self, top: int, left: int, change: Tensor) -> None:
        """Add a change [3, h, w] of RGB, 0..1, in place, at the even corner (left, top), as far as it lies inside.

        Values that do not change keep their bytes.
        """
        matrix, _ = self.colours.to_rgb()
        back = torch.from_numpy(np.linalg.inv(matrix).astype(np.float32))
        yuv = torch.einsum("ij,jhw->ihw", back, change)
        chroma = averaged(yuv[1:][None], 2)[0]
        for plane, values, step in ((self.y, yuv[0], 1), (self.u, chroma[0], 2), (self.v, chroma[1], 2)):
            _add(plane, top // step, left // step, values.numpy(), self.colours.most)


def _cut(plane: Image, top: int, left: int, height: int, width: int) -> Tensor:
    """Return a rectangle of a plane, whose border repeats."""
    rows, columns = plane.shape
    if top >= 0 and left >= 0 and top + height <= rows and left + width <= columns:
        return torch.from_numpy(plane[top : top + height, left : left + width])
    down = np.clip(np.arange(top, top + height), 0, rows - 1)
    across = np.clip(np.arange(left, left + width), 0, columns - 1)
    return torch.from_numpy(plane[down[:, None], across])


@lru_cache(maxsize=64)
def _averaging(first: int, count: int, scale: float) -> tuple[Tensor, int]:
    """Return weights [count, n] with which n pixels in a row make ``count`` of a resized row, and the first of the n.

    first: number of the first pixel that is made
    scale: width of a pixel that is made, px of the row; the weights are triangles of twice that width
    """
    reach = max(scale, 1.0)
    centres = (torch.arange(first, first + count, dtype=torch.float64) + 0.5) * scale
    begin, end = math.floor(float(centres[0]) - reach), math.ceil(float(centres[-1]) + reach)
    places = torch.arange(begin, end, dtype=torch.float64) + 0.5
    weights = (1 - (places - centres[:, None]).abs() / reach).clamp(min=0)
    return (weights / weights.sum(dim=1, keepdim=True)).float(), begin


def _reduced(plane: Image, box: CropBox, scale: int, step: int) -> Tensor:
    """Return a square of a plane, which has ``scale`` times fewer pixels a side than the frame, reduced by ``step``.

    Of the pixels that become one, the mean of four that lie evenly among them is taken.
    """
    cut = _cut(plane, box.y0 // scale, box.x0 // scale, box.side // scale, box.side // scale)
    if step == 1:
        return cut.float()
    low, high = step // 4, step - 1 - step // 4
    four = [cut[row::step, column::step].to(torch.int16) for row in (low, high) for column in (low, high)]
    return torch.stack(four).sum(dim=0, dtype=torch.int16).float() / 4


def _add(plane: Image, top: int, left: int, change: Float, most: int) -> None:
    """Add a change [h, w] to a plane of code values up to ``most``, at a place, as far as it lies inside."""
    height, width = plane.shape
    first, last = max(top, 0), min(top + change.shape[0], height)
    begin, end = max(left, 0), min(left + change.shape[1], width)
    if first >= last or begin >= end:
        return
    inside = change[first - top : last - top, begin - left : end - left]
    there = plane[first:last, begin:end]
    there[:] = np.clip(np.rint(there + inside), 0, most).astype(plane.dtype)
