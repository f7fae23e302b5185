"""Landmark maps: the 68 landmarks as grey-scale line drawings, as the networks of §4.2 take them, and feature masks.

Lines are drawn by the distance of pixel centres to segments, anti-aliased over one pixel; only pixels in a
segment's bounding box are computed.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from thcli.images import resized
from thcli.records import CROP_SIZE
from thcli.render.rasterize import enumerate_items
from thgen_models.blocks import reduced

LINE_WIDTH = 2.0
"""Width of the lines of a landmark map, pixels."""
_OPEN = ((0, 17), (17, 22), (22, 27), (27, 31), (31, 36))
"""Ranges of landmarks joined in order: jaw, right brow, left brow, bridge and base of the nose."""
_CLOSED = ((36, 42), (42, 48), (48, 60), (60, 68))
"""Ranges of landmarks joined in order and from the last to the first: right eye, left eye, outer lips, inner lips."""
SEGMENTS = tuple(
    [(i, i + 1) for start, end in _OPEN + _CLOSED for i in range(start, end - 1)]
    + [(end - 1, start) for start, end in _CLOSED]
)
"""Pairs of landmarks that a line joins."""
EYES, MOUTH = (slice(36, 42), slice(42, 48)), slice(48, 68)
"""Landmarks of the eyes, the right eye first, and of the mouth."""
ROOM, SOFTNESS = 0.3, 0.15
"""Margin around the box of a feature, and width of the box's soft border, both over the larger side of the box."""


@torch.no_grad()
def draw_features(landmarks: Tensor, height: int, width: int) -> Tensor:
    """Draw masks [B, 1, H, W] float32 of mouth and eyes of landmarks [B, 68, 2 or 3] px: 1 in their boxes, 0 outside.

    The borders of the boxes are soft; not differentiable.
    """
    columns, rows = (torch.arange(n, device=landmarks.device) + 0.5 for n in (width, height))
    features = torch.zeros(len(landmarks), height, width, device=landmarks.device)
    for part in (*EYES, MOUTH):
        points = landmarks[:, part, :2].float()
        low, high = points.amin(dim=1), points.amax(dim=1)
        side = (high - low).amax(dim=1).clamp(min=1)
        inside = []
        for axis, place in enumerate((columns, rows)):
            depth = torch.minimum(place - low[:, axis, None], high[:, axis, None] - place) + ROOM * side[:, None]
            inside.append((depth / (SOFTNESS * side[:, None]) + 0.5).clamp(0, 1))
        features = torch.maximum(features, inside[1][:, :, None] * inside[0][:, None, :])
    return features[:, None]


@torch.no_grad()
def draw_landmarks(landmarks: Tensor, height: int, width: int, line_width: float = LINE_WIDTH) -> Tensor:
    """Draw landmarks [B, 68, 2 or 3] px as maps [B, 1, H, W] float32, 0 background, 1 line; not differentiable.

    Lines may leave the image; a line with an end that is not finite is not drawn.
    """
    batch = len(landmarks)
    ends = landmarks[:, torch.tensor(SEGMENTS, device=landmarks.device), :2].float().reshape(-1, 2, 2)
    reach = line_width / 2 + 0.5
    size = torch.tensor([width, height], device=ends.device)
    first = _clamped((ends.amin(dim=1) - reach - 0.5).ceil(), size)
    last = _clamped((ends.amax(dim=1) + reach - 0.5).floor() + 1, size)
    extent = torch.where(ends.isfinite().flatten(1).all(dim=1, keepdim=True), last - first, 0)
    segment, place = enumerate_items(extent.prod(dim=1))
    columns = extent[:, 0].index_select(0, segment)
    row = torch.div(place, columns, rounding_mode="floor")
    pixel = torch.stack([place - row * columns, row], dim=1) + first.index_select(0, segment)
    distance = _distance(pixel + 0.5, ends.index_select(0, segment))
    index = pixel[:, 1] * width + pixel[:, 0] + segment // len(SEGMENTS) * (height * width)
    maps = torch.zeros(batch * height * width, device=ends.device)
    maps.scatter_reduce_(0, index, (reach - distance).clamp(0, 1), "amax")
    return maps.view(batch, 1, height, width)


class Sizes(Protocol):
    """Sizes of the images of Θ; ``generator.FrameGenerator`` has them."""

    @property
    def size(self) -> int: ...

    @property
    def reduction(self) -> int: ...


def draw_for(theta: Sizes, landmarks: Tensor) -> Tensor:
    """Draw landmark maps [B, 1, S, S], as small as Θ takes them, of landmarks [B, 68, 3] px of the crop."""
    return reduced(resized(draw_landmarks(landmarks, CROP_SIZE, CROP_SIZE), theta.size), theta.reduction)


def _clamped(corner: Tensor, size: Tensor) -> Tensor:
    """Clamp pixel coordinates [N, 2] to an image of (width, height) ``size``."""
    return torch.minimum(corner.clamp(min=0), size).long()


def _distance(points: Tensor, ends: Tensor) -> Tensor:
    """Return the distance [N] of points [N, 2] to segments [N, 2, 2]."""
    along = ends[:, 1] - ends[:, 0]
    offset = points - ends[:, 0]
    share = (offset * along).sum(dim=1) / (along * along).sum(dim=1).clamp(min=1e-12)
    across = offset - share.clamp(0, 1)[:, None] * along
    return torch.hypot(across[:, 0], across[:, 1])
