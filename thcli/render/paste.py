"""Putting pictures back into the clip's own frames (``--frame full``).

A picture that references were warped to agrees with the frame that they come from wherever nothing moves, and so at
its border: there is no seam to hide, and what the head has left is pulled along, not shown twice. What a network
paints over it agrees with nothing around the head. It is laid on under a soft mask that follows the head.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thcli.images import blur
from thcli.records import Float, Image


class Box(Protocol):
    """A square of the frame in whole pixels."""

    @property
    def x0(self) -> int: ...

    @property
    def y0(self) -> int: ...

    @property
    def side(self) -> int: ...


HEAD = (0.5, 0.9)
"""Share of the head's movement from which a place begins to be part of the head, and is it wholly; half way down the
neck the share is a half."""
REACH, SOFTNESS = 5, 4.0
"""How far the mask goes beyond the head, for stray hair, and the deviation of its border's blur, px of the crop."""
FEATHER = 0.06
"""Width of a soft border over the side."""


def head_mask(attached: Tensor) -> Tensor:
    """A soft mask [B, 1, 256, 256] in 0..1 of the head, from how far each place moves with it: [B, 1, 256, 256]."""
    head = ((attached - HEAD[0]) / (HEAD[1] - HEAD[0])).clamp(0, 1)
    return blur(torch.nn.functional.max_pool2d(head, 2 * REACH + 1, 1, REACH), SOFTNESS)


def soft_border(inner: Box, outer: Box) -> Tensor:
    """Falls from 1 to 0 toward those sides of the inner square beyond which the outer one goes on: [side, side]."""
    rows, columns = (
        _ramp(first, first + inner.side, outer.side) for first in (inner.y0 - outer.y0, inner.x0 - outer.x0)
    )
    return torch.from_numpy(rows[:, None] * columns[None, :])


class Paster:
    """Puts pictures into the references' frames.

    frames: [K, H, W, 3] uint8, whole frames of the references
    box: the pictures' place in them, with x0, y0 and side in pixels; may reach beyond the frame
    """

    def __init__(self, frames: Image, box: Box):
        self.frames = frames
        height, width = frames.shape[1:3]
        top, left = max(box.y0, 0), max(box.x0, 0)
        bottom, right = min(box.y0 + box.side, height), min(box.x0 + box.side, width)
        self.place = (slice(top, bottom), slice(left, right))
        self.shown = (slice(top - box.y0, bottom - box.y0), slice(left - box.x0, right - box.x0))

    def paste(self, pictures: Image, weights: Float) -> Image:
        """Pictures [B, side, side, 3] uint8 in whole frames [B, H, W, 3]; weights [B, K] blend the frames behind."""
        return np.stack([self._one(picture, share) for picture, share in zip(pictures, weights, strict=True)])

    def _one(self, picture: Image, share: Float) -> Image:
        used = np.flatnonzero(share > 0)
        if len(used) == 1:
            frame = self.frames[used[0]].copy()
        else:
            blended = sum(share[k] * self.frames[k].astype(np.float32) for k in used)
            frame = np.round(blended).astype(np.uint8)
        frame[self.place] = picture[self.shown]
        return frame


def _ramp(first: int, last: int, length: int) -> NDArray[np.float32]:
    """1 inside, falling smoothly to 0 at ends that do not coincide with those of 0..length."""
    width = max(FEATHER * (last - first), 1.0)
    place = np.arange(first, last) + 0.5
    share = np.ones(last - first)
    if first > 0:
        share = np.minimum(share, (place - first) / width)
    if last < length:
        share = np.minimum(share, (last - place) / width)
    share = share.clip(0, 1)
    return (share * share * (3 - 2 * share)).astype(np.float32)
