"""The mean inside of open mouths, from the tracks and pictures of a store."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.records import Float, Image
from thcli.render.mouth_texture import HEIGHT, OPENINGS, SKIN, WIDTH, MouthInterior, relative_opening, unroll

SPREAD = 0.3
"""Frames within this part of an opening count for it."""
LARGEST_SHARE = 200
"""Frames of one subject that count for one opening, so that nobody dominates it."""


def fit_mouth_interior(clips: Iterable[tuple[str, Image, Float]]) -> MouthInterior:
    """Pictures by opening from (subject, frames [T, H, W, 3] uint8, meshes [T, V, 3] px) of many clips.

    Every subject counts the same; the mean is taken in colour over the colour of the cheeks.
    """
    total = torch.zeros(len(OPENINGS), 3, HEIGHT, WIDTH)
    weight = torch.zeros(len(OPENINGS))
    for _, frames, meshes in clips:
        opening = relative_opening(meshes)
        for i, wanted in enumerate(OPENINGS):
            some = np.flatnonzero(np.abs(opening / wanted - 1) < SPREAD)[:LARGEST_SHARE]
            if len(some):
                total[i] += _relative_pictures(frames[some], meshes[some]).mean(0) * len(some) ** 0.5
                weight[i] += len(some) ** 0.5
    return MouthInterior((total / weight.clamp(min=1)[:, None, None, None]).numpy())


def _relative_pictures(frames: Image, meshes: Float) -> Tensor:
    """[n, 3, HEIGHT, WIDTH]: the inside of each mouth, laid out between the lips, over the skin's colour."""
    images = torch.from_numpy(frames).permute(0, 3, 1, 2).float() / 255
    points = torch.from_numpy(meshes[..., :2]) / torch.tensor([images.shape[-1], images.shape[-2]]) * 2 - 1
    inside = unroll(images, points, HEIGHT, WIDTH)
    skin = F.grid_sample(images, points[:, None, list(SKIN)], align_corners=False).mean((2, 3), keepdim=True)
    return inside / skin.clamp(min=0.02)
