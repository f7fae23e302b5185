"""Fit of the inside of open mouths to the images and tracks of a store (``thgen train mouth-interior``)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.errors import MediaError
from thcli.images import fill
from thcli.records import Float, Image
from thcli.render.mouth_interior import (
    COLUMNS,
    CORNERS,
    DEEP,
    LOWER,
    SHALLOW,
    SKIN,
    UPPER,
    MouthInterior,
    lip_lines,
    relative_opening,
)

OPEN = (0.22, 0.6)
"""Least and largest relative opening of the mouths that count."""
FRAMES = 8
"""Most frames of a clip, spread evenly over those with an open mouth."""
TURNED = 0.15
"""Largest distance of the nose's tip from the middle between the corners of the mouth, over the mouth's width."""
TEETH = 0.25
"""Least difference of the whitest row near the upper lip to the darkest below it, for teeth to be seen.

Whiteness is the least of the three colours over those of the skin.
"""
LIP = 0.08
"""Height above the lower lip, in widths of the mouth, from which pixels count as the dark behind the teeth."""
EDGE = 0.1125
"""Height of the upper teeth's edge below the lip, in widths of the mouth, to which that of every mouth is brought."""
EDGES = (4, 24)
"""Rows between which that edge is looked for."""
STEADY = 3.0
"""Weight, in samples, of the prior that colours are proportional to the skin's."""
UNSEEN = 0.01
"""Weight of the prior that this proportion is the same everywhere, for places that no mouth shows."""


def fit_mouth_interior(clips: Iterable[tuple[str, Image, Float]], source: str) -> MouthInterior:
    """Fit the inside of many clips' open mouths, with their upper teeth's edges aligned, to the colour of the cheeks.

    clips: subject, frames [T, H, W, 3] uint8 and meshes [T, V, 3] px of each clip
    source: where they come from, for messages

    Raises MediaError where no clip shows the teeth of an open mouth from the front.
    """
    upper, lower = _Fit(UPPER), _Fit(LOWER)
    for _, frames, meshes in clips:
        some = _open_mouths(meshes)
        if len(some):
            _add(frames[some], meshes[some], upper, lower)
    if not upper.samples:
        raise MediaError(
            f"{source}: no clip shows the teeth of an open mouth from the front; preprocess more talking people"
        )
    return MouthInterior(upper.solve(), lower.solve())


def _open_mouths(meshes: Float) -> np.ndarray:
    """Return numbers of a few frames with an open mouth that is not turned away, of meshes [T, V, 3]."""
    opening, (right, left) = relative_opening(meshes), (meshes[:, corner, :2] for corner in CORNERS)
    along = left - right
    middle = ((meshes[:, 1, :2] - (right + left) / 2) * along).sum(1) / np.maximum((along * along).sum(1), 1e-6)
    (some,) = np.nonzero((opening > OPEN[0]) & (opening < OPEN[1]) & (np.abs(middle) < TURNED))
    return some[np.linspace(0, len(some) - 1, min(FRAMES, len(some))).astype(int)]


class _Fit:
    """Linear regression of colours on the skin's, at every pixel of images of some rows, from weighted sums."""

    def __init__(self, rows: int) -> None:
        self.sums, self.samples = torch.zeros(5, 3, rows, COLUMNS), 0

    def add(self, colours: Tensor, skin: Tensor, weight: Tensor) -> None:
        """Add images [n, 3, H, W] of mouths whose skin has colours [n, 3, 1, 1], by weights [n, 1, H, W]."""
        x, y = skin.expand_as(colours), colours
        self.sums += torch.stack([(weight * value).sum(0) for value in (torch.ones_like(x), x, x * x, y, x * y)])
        self.samples += len(colours)

    def solve(self) -> Float:
        """Return the part that does not depend on the skin, and the factor of the skin's colour: [2, 3, H, W]."""
        n, x, xx, y, xy = self.sums
        usual = (xy.sum((1, 2), keepdim=True) / xx.sum((1, 2), keepdim=True).clamp(min=1e-6)).expand_as(x)
        matrix = torch.stack([torch.stack([n + STEADY, x], -1), torch.stack([x, xx + UNSEEN], -1)], -2)
        found = torch.linalg.solve(matrix, torch.stack([y, xy + UNSEEN * usual], -1))
        # What no mouth is wide enough to show is filled from beside it.
        filled = fill(found.permute(3, 0, 1, 2).flatten(0, 1)[None], (n[:1] / STEADY).clamp(max=1)[None])
        return filled.view(2, *n.shape).numpy()


def _add(frames: Image, meshes: Float, upper: _Fit, lower: _Fit) -> None:
    """Add the insides of mouths in frames [n, H, W, 3] with meshes [n, V, 3] to both fits; a clip counts once."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(np.ascontiguousarray(meshes[..., :2]))
    mouth = _Mouths(images, points)
    skin = mouth.colours(points[:, None, list(SKIN)]).mean((2, 3), keepdim=True)
    share = len(images) ** -0.5
    heights = (torch.arange(LOWER) + 0.5) / LOWER * SHALLOW
    lower.add(mouth.above_lower(heights), skin, share * (heights[None, :, None] < mouth.gap[:, None])[:, None])
    edges, seen = _teeth(mouth, skin)
    if bool(seen.any()):
        heights = (torch.arange(UPPER) + 0.5) / UPPER * DEEP
        of = torch.where(heights < EDGE, heights * edges[:, None] / EDGE, heights - EDGE + edges[:, None])
        dark = (mouth.gap[:, None] - of[..., None] > LIP) | (of < edges[:, None])[..., None]
        inside = dark & (of[..., None] < mouth.gap[:, None])
        upper.add(mouth.below_upper(of)[seen], skin[seen], share * inside[seen][:, None])


def _teeth(mouth: _Mouths, skin: Tensor) -> tuple[Tensor, Tensor]:
    """Return heights [n] of the upper teeth's lower edges, and whether teeth are seen [n] bool."""
    step = DEEP / UPPER
    rows = mouth.below_upper((torch.arange(2 * UPPER) + 0.5) * step)
    middle = slice(COLUMNS * 5 // 16, COLUMNS * 11 // 16)
    white = (rows / skin.clamp(min=0.05)).amin(1)[..., middle].mean(-1)
    seen = white[:, 1:12].amax(1) - white[:, 14:26].amin(1) > TEETH
    smooth = F.avg_pool1d(white[:, None], 5, 1, 2, count_include_pad=False)[:, 0]
    falls = smooth[:, EDGES[0] - 2 : EDGES[1] - 2] - smooth[:, EDGES[0] + 2 : EDGES[1] + 2]
    return (falls.argmax(1) + EDGES[0] + 0.5) * step, seen


class _Mouths:
    """Open mouths in images [n, 3, H, W], whose vertices are at points [n, V, 2] px.

    gap: [n, COLUMNS], distance of the lips, in widths of the mouth
    """

    def __init__(self, images: Tensor, points: Tensor) -> None:
        self.images = images
        self.upper, self.lower = lip_lines(points, COLUMNS)
        along = points[:, CORNERS[1]] - points[:, CORNERS[0]]
        self.down = torch.stack([-along[:, 1], along[:, 0]], 1)[:, None]
        self.gap = ((self.lower - self.upper) * self.down).sum(-1) / (self.down**2).sum(-1)

    def below_upper(self, heights: Tensor) -> Tensor:
        """Return colours [n, 3, R, COLUMNS] at heights [R] or [n, R] below the upper lip, in widths of the mouth."""
        return self.colours(self.upper[:, None] + heights[..., None, None] * self.down[:, None])

    def above_lower(self, heights: Tensor) -> Tensor:
        """Return colours [n, 3, R, COLUMNS] at heights [R] above the lower lip, in widths of the mouth."""
        return self.colours(self.lower[:, None] - heights[..., None, None] * self.down[:, None])

    def colours(self, places: Tensor) -> Tensor:
        """Return colours [n, 3, h, w] at places [n, h, w, 2] px."""
        size = places.new_tensor([self.images.shape[-1], self.images.shape[-2]])
        return F.grid_sample(self.images, places / size * 2 - 1, align_corners=False)
