"""Fit of the mean inside of open mouths to the images and tracks of a store (``thgen train mouth-interior``)."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.records import Float, Image
from thcli.render.mouth_interior import HEIGHT, OPENINGS, SKIN, WIDTH, MouthInterior, relative_opening, unroll

SPREAD = 0.3
"""Largest relative distance from an opening at which a frame counts for it."""
LARGEST_SHARE = 200
"""Most frames of one clip that count for one opening, so that no clip dominates it."""


def fit_mouth_interior(clips: Iterable[tuple[str, Image, Float]]) -> MouthInterior:
    """Average the insides of many clips' mouths at every opening, as colour over the colour of the cheeks.

    A clip's weight is the square root of its number of frames with that opening.

    clips: subject, frames [T, H, W, 3] uint8 and meshes [T, V, 3] px of each clip
    """
    total = torch.zeros(len(OPENINGS), 3, HEIGHT, WIDTH)
    weight = torch.zeros(len(OPENINGS))
    for _, frames, meshes in clips:
        opening = relative_opening(meshes)
        for i, wanted in enumerate(OPENINGS):
            some = np.flatnonzero(np.abs(opening / wanted - 1) < SPREAD)[:LARGEST_SHARE]
            if len(some):
                total[i] += _relative_images(frames[some], meshes[some]).mean(0) * len(some) ** 0.5
                weight[i] += len(some) ** 0.5
    return MouthInterior((total / weight.clamp(min=1)[:, None, None, None]).numpy())


def _relative_images(frames: Image, meshes: Float) -> Tensor:
    """Unroll the inside of each mouth: [T, 3, HEIGHT, WIDTH], as colour over the skin's colour."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(meshes[..., :2]) / torch.tensor([images.shape[-1], images.shape[-2]]) * 2 - 1
    inside = unroll(images, points, HEIGHT, WIDTH)
    skin = F.grid_sample(images, points[:, None, list(SKIN)], align_corners=False).mean((2, 3), keepdim=True)
    return inside / skin.clamp(min=0.02)
