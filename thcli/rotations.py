"""Rotations and head poses: pure functions over float arrays of shape (..., 3), (..., 3, 3), (..., 6).

A pose h = (r, T) is a rotation vector in radians and a translation in canonical face units. It maps
points l of a frame (in canonical face units) onto the canonical face: p = R l + T (§3.3). Its inverse,
l = Rᵀ (p - T), places the canonical face in a frame. See ``thcli/faces/pose.py`` for the axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.opencv import cv2

Array = NDArray[np.floating]


def to_matrix(vector: Array) -> Array:
    """Convert rotation vectors (..., 3) in radians to matrices (..., 3, 3)."""
    flat = np.asarray(vector, np.float64).reshape(-1, 3)
    matrices = np.array([cv2.Rodrigues(one)[0] for one in flat])
    return matrices.reshape(*np.shape(vector)[:-1], 3, 3).astype(np.asarray(vector).dtype)


def to_vector(matrices: Array) -> Array:
    """Return the rotation vectors [T, 3] float64, in radians, of the rotations nearest to matrices [T, 3, 3]."""
    return np.array([cv2.Rodrigues(one)[0] for one in np.asarray(matrices, np.float64)]).reshape(-1, 3)


def remove_pose(points: Array, pose: Array) -> Array:
    """Map points (..., P, 3) of a frame onto the canonical face, p = R l + T; canonical units, pose (..., 6)."""
    matrix = to_matrix(pose[..., :3])
    return points @ np.swapaxes(matrix, -1, -2) + pose[..., None, 3:]


def apply_pose(points: Array, pose: Array) -> Array:
    """Map points (..., P, 3) of the canonical face into a frame, l = Rᵀ (p - T); canonical units, pose (..., 6)."""
    return (points - pose[..., None, 3:]) @ to_matrix(pose[..., :3])


def placement(pose: Array) -> Array:
    """Return the inverse of poses (..., 6): rotation of the head and position of the face's origin in the frame.

    The two halves of a placement are nearly independent of each other, unlike those of a pose, so motion is
    smoothed and learned as placements. The function is its own inverse.
    """
    turned = to_matrix(-pose[..., :3])
    origin = -(turned @ pose[..., 3:, None])[..., 0]
    return np.concatenate([-pose[..., :3], origin], axis=-1)


def to_canonical_units(points_px: Array, scale: float, size: tuple[int, int]) -> Array:
    """Map points (..., 3) from px of a frame of (width, height) ``size`` to canonical face units around its centre."""
    centre = np.array([size[0] / 2, size[1] / 2, 0], dtype=points_px.dtype)
    moved: Array = (points_px - centre) * points_px.dtype.type(scale)
    return moved


def to_pixels(points: Array, scale: float, size: tuple[int, int]) -> Array:
    """Map points (..., 3) from canonical face units to px: the inverse of ``to_canonical_units``."""
    centre = np.array([size[0] / 2, size[1] / 2, 0], dtype=points.dtype)
    placed: Array = points / points.dtype.type(scale) + centre
    return placed
