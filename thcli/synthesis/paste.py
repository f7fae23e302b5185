"""Pasting the crop back into the clip's own frame (``--frame full``)."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from thcli.records import Float, Image


class Box(Protocol):
    """A square of the frame in whole pixels."""

    @property
    def x0(self) -> int: ...

    @property
    def y0(self) -> int: ...

    @property
    def side(self) -> int: ...


FEATHER = 0.06
"""Width of the soft border over the crop's side; the picture in it moves little (``render.picture``)."""


class Paster:
    """Pastes crops into the references' frames.

    frames: [K, H, W, 3] uint8, whole frames of the references
    box: the crop's place in them, with x0, y0 and side in pixels; may reach beyond the frame
    """

    def __init__(self, frames: Image, box: Box):
        self.frames, self.box = frames, box
        height, width = frames.shape[1:3]
        self.top, self.left = max(box.y0, 0), max(box.x0, 0)
        self.bottom, self.right = min(box.y0 + box.side, height), min(box.x0 + box.side, width)
        rows = _ramp(self.top, self.bottom, height, box.side)
        columns = _ramp(self.left, self.right, width, box.side)
        self.mask = (rows[:, None] * columns[None, :])[..., None]

    def paste(self, crops: Image, weights: Float) -> Image:
        """Crops [B, side, side, 3] uint8 in whole frames [B, H, W, 3]; weights [B, K] blend the references' frames."""
        return np.stack([self._one(crop, share) for crop, share in zip(crops, weights, strict=True)])

    def _one(self, crop: Image, share: Float) -> Image:
        used = np.flatnonzero(share > 0)
        if len(used) == 1:
            frame = self.frames[used[0]].copy()
        else:
            blended = sum(share[k] * self.frames[k].astype(np.float32) for k in used)
            frame = np.round(blended).astype(np.uint8)
        y, x = self.top - self.box.y0, self.left - self.box.x0
        inside = crop[y : y + self.bottom - self.top, x : x + self.right - self.left].astype(np.float32)
        behind = frame[self.top : self.bottom, self.left : self.right]
        behind[:] = np.round(behind + self.mask * (inside - behind)).astype(np.uint8)
        return frame


def _ramp(first: int, last: int, length: int, side: int) -> NDArray[np.float32]:
    """1 inside, falling smoothly to 0 at ends that do not coincide with the frame's border."""
    width = max(FEATHER * side, 1.0)
    place = np.arange(first, last) + 0.5
    share = np.ones(last - first)
    if first > 0:
        share = np.minimum(share, (place - first) / width)
    if last < length:
        share = np.minimum(share, (last - place) / width)
    share = share.clip(0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)
