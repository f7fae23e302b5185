"""Looks of a person, by which they are known again after a cut: colours around the face, and its proportions.

This is no face recognition: it tells the few people of one video apart, who wear the same clothes all through it, and
not people in general.
"""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import grid_sample

from thcli.face_model import LANDMARKS_68, RIGID_27, FaceModel
from thcli.faces.pose import RIGID_WEIGHTS, fit_rigid
from thcli.records import Float, Image
from thcli.rotations import remove_pose

SIDE = 20
"""Samples along each side of the square around the face."""
LEFT, TOP, WIDTH, HEIGHT = -1.25, -1.5, 2.5, 3.6
"""The square that is looked at, in canonical face units around the face's origin: with hair and collar."""
SAME = 0.32
"""Largest distance between the looks of one person."""
STRANGE = 0.5
"""Distance from all known looks above which a face that was followed is taken for another one."""
KEPT = 12
"""Most looks kept of a person, from different moments."""
_PROPORTIONS = 6.0
"""Weight of the face's proportions beside its colours."""


def look_at(image: Image, mesh: Float, model: FaceModel) -> Float:
    """Describe the looks of a face: [D] float32.

    image: [H, W, 3] uint8, a part of the frame around the face
    mesh: [V, 3] float32, px of that image
    """
    rigid = mesh[None, np.array(LANDMARKS_68)[list(RIGID_27)]].astype(np.float64)
    canonical = model.canonical[np.array(LANDMARKS_68)[list(RIGID_27)]].astype(np.float64)
    size = (image.shape[1], image.shape[0])
    pose, scale = fit_rigid(rigid, size, canonical, RIGID_WEIGHTS)
    centred = (rigid - [size[0] / 2, size[1] / 2, 0]) * scale
    shape = (remove_pose(centred, pose)[0] - canonical).astype(np.float32)
    colours = _sampled(image, mesh, model)
    luma = colours @ np.array([0.299, 0.587, 0.114], np.float32)
    light = max(float(np.median(luma)), 0.02)
    shade = np.log((luma + 0.02) / light)
    chroma = (colours[..., [0, 2]] - luma[..., None]) / (luma[..., None] + 0.1)
    parts = [shade.ravel() / 3, chroma.ravel(), _PROPORTIONS * shape.ravel() * np.sqrt(SIDE * SIDE / shape.size)]
    return (np.concatenate(parts) / SIDE).astype(np.float32)


def distance(looks: Float, known: list[Float]) -> float:
    """Return how far looks lie from the nearest of those known; infinity where none are."""
    return min((float(np.linalg.norm(looks - one)) for one in known), default=float("inf"))


def _sampled(image: Image, mesh: Float, model: FaceModel) -> Float:
    """Return the colours [SIDE, SIDE, 3] of places on and around an upright face."""
    given, place = model.canonical[:468, :2].astype(np.float64), mesh[:468, :2].astype(np.float64)
    ones = np.ones((len(given), 1))
    affine, *_ = np.linalg.lstsq(np.concatenate([given, ones], 1), place, rcond=None)
    x = LEFT + WIDTH * (np.arange(SIDE) + 0.5) / SIDE
    y = TOP + HEIGHT * (np.arange(SIDE) + 0.5) / SIDE
    grid = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    at = np.concatenate([grid, np.ones((len(grid), 1))], 1) @ affine
    where = at / [image.shape[1] / 2, image.shape[0] / 2] - 1
    reduced = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255
    factor = max(1, round(float(np.abs(affine[:2]).max()) * WIDTH / SIDE / 2))
    reduced = torch.nn.functional.avg_pool2d(reduced, factor, ceil_mode=True)
    grid_at = torch.from_numpy(where.astype(np.float32)).view(1, SIDE, SIDE, 2)
    return grid_sample(reduced, grid_at, padding_mode="border", align_corners=False)[0].permute(1, 2, 0).numpy()
