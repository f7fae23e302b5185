"""Pasting of images back into the clip's own frames (``--frame full``).

An image warped from references agrees with the frame of the references wherever nothing moves, and so along its border:
there is no seam to hide. No second head shows where it was: the background there is completed, or, where references are
not layered, pulled along. What a network paints does not agree with the surroundings of the head, and is added under a
soft mask that follows the head.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thcli.images import blur, smoothstep, widened
from thcli.records import CropBox, Float, Image

HEAD = (0.5, 0.9)
"""Head weights above which a place begins to belong to the head, and from which it belongs to it wholly; half way down
the neck the weight is a half."""
REACH, SOFTNESS = 5, 4.0
"""Distance of the mask's border from the head, for stray hair, and standard deviation of its blur, px of the crop."""
FEATHER = 0.06
"""Width of a soft border, over the side of the square."""


def head_mask(head_weight: Tensor) -> Tensor:
    """Return a soft mask of the head, [B, 1, 256, 256] in 0..1, from head weights [B, 1, 256, 256]."""
    head = ((head_weight - HEAD[0]) / (HEAD[1] - HEAD[0])).clamp(0, 1)
    return blur(widened(head, REACH), SOFTNESS)


def soft_border(inner: CropBox, outer: CropBox) -> Tensor:
    """Return a mask [side, side] of the inner square that falls from 1 to 0 at sides where the outer square goes on."""
    rows, columns = (
        _ramp(first, first + inner.side, outer.side) for first in (inner.y0 - outer.y0, inner.x0 - outer.x0)
    )
    return torch.from_numpy(rows[:, None] * columns[None, :])


class Paster:
    """Pastes images into the whole frames of the references.

    frames: [K, H, W, 3] uint8, whole frames of the references
    box: square of the frames that the images cover; it may reach beyond the frames
    """

    def __init__(self, frames: Image, box: CropBox) -> None:
        self.frames = frames
        height, width = frames.shape[1:3]
        top, left = max(box.y0, 0), max(box.x0, 0)
        bottom, right = min(box.y0 + box.side, height), min(box.x0 + box.side, width)
        self.place = (slice(top, bottom), slice(left, right))
        self.shown = (slice(top - box.y0, bottom - box.y0), slice(left - box.x0, right - box.x0))

    def paste(self, images: Image, weights: Float) -> Image:
        """Paste images [B, side, side, 3] uint8 into the frames, blended by weights [B, K]: [B, H, W, 3] uint8."""
        return np.stack([self._one(image, share) for image, share in zip(images, weights, strict=True)])

    def _one(self, image: Image, share: Float) -> Image:
        used = np.flatnonzero(share > 0)
        if len(used) == 1:
            frame = self.frames[used[0]].copy()
        else:
            blended = sum(share[k] * self.frames[k].astype(np.float32) for k in used)
            frame = np.round(blended).astype(np.uint8)
        frame[self.place] = image[self.shown]
        return frame


def _ramp(first: int, last: int, length: int) -> NDArray[np.float32]:
    """Return a ramp [last - first]: 1 inside, falling smoothly to 0 at ends that are not those of 0..length."""
    width = max(FEATHER * (last - first), 1.0)
    place = np.arange(first, last) + 0.5
    share = np.ones(last - first)
    if first > 0:
        share = np.minimum(share, (place - first) / width)
    if last < length:
        share = np.minimum(share, (last - place) / width)
    share = share.clip(0, 1)
    return smoothstep(share).astype(np.float32)
