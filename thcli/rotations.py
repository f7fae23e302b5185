"""Rotations and head poses: pure functions over float arrays of shape (..., 3), (..., 3, 3), (..., 6).

A pose h = (r, T) is a rotation vector in radians and a translation in canonical face units. It maps
points l of a frame (in canonical face units) onto the canonical face: p = R l + T (§3.3). Its inverse,
l = Rᵀ (p - T), places the canonical face in a frame. See ``thcli/faces/pose.py`` for the axes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

Array = NDArray[np.floating]


def to_matrix(vector: Array) -> Array:
    """Rotation vectors (..., 3) in radians to matrices (..., 3, 3)."""
    flat = np.reshape(vector, (-1, 3))
    matrices = Rotation.from_rotvec(flat).as_matrix()
    return np.asarray(matrices.reshape(*np.shape(vector)[:-1], 3, 3), dtype=np.asarray(vector).dtype)


def to_vector(matrix: Array) -> Array:
    """Rotation matrices (..., 3, 3) to rotation vectors (..., 3) in radians."""
    flat = np.reshape(matrix, (-1, 3, 3))
    vectors = Rotation.from_matrix(flat).as_rotvec()
    return np.asarray(vectors.reshape(np.shape(matrix)[:-1]), dtype=np.asarray(matrix).dtype)


def remove_pose(points: Array, pose: Array) -> Array:
    """p = R l + T: points (..., P, 3) of a frame, canonical units, onto the canonical face; pose (..., 6)."""
    matrix = to_matrix(pose[..., :3])
    return points @ np.swapaxes(matrix, -1, -2) + pose[..., None, 3:]


def apply_pose(points: Array, pose: Array) -> Array:
    """l = Rᵀ (p - T): points (..., P, 3) on the canonical face into a frame, canonical units; pose (..., 6)."""
    return (points - pose[..., None, 3:]) @ to_matrix(pose[..., :3])


def placement(pose: Array) -> Array:
    """The inverse of poses (..., 6): rotation of the head and position of the face's origin in the frame.

    Its two halves are nearly independent of one another, which poses' are not, so motion is smoothed
    and learned in this form. The function is its own inverse.
    """
    turned = to_matrix(-pose[..., :3])
    origin = -(turned @ pose[..., 3:, None])[..., 0]
    return np.concatenate([-pose[..., :3], origin], axis=-1)
