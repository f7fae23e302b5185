"""Motion disentangler (§3.3): head poses of a clip from its landmarks.

Axes, stated here for the whole project: x to the right of the picture, y down, z toward the camera. That is a
LEFT-handed frame; rotations are proper within it (det R = +1) and follow the usual matrix formulas, so a rotation
vector (0, 0, a) maps (1, 0, 0) to (cos a, sin a, 0).

A pose h = (r, T) takes a frame's points l onto the canonical face, p = R l + T. The head in the picture is therefore
turned by the inverse, and as one looks at the picture
    rx > 0   the face looks down (nose toward the chest),
    ry > 0   the face looks to the left of the picture (the person's own right),
    rz > 0   the top of the head leans to the left of the picture.
Frame points are l = scale * (pixels - (w / 2, h / 2, 0)), in canonical face units: 1 is the distance of the outer eye
corners. The scale is one figure for the whole clip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from thcli.face_model import LANDMARKS_68, RIGID_27, FaceModel
from thcli.records import FaceTrack, Float
from thcli.rotations import placement, remove_pose

Array = NDArray[np.floating]

JAW_WEIGHT = 0.25
"""Prior weight of the ten jaw-line points among the 27: they follow the chin and slide along the cheek's outline."""
RIGID_WEIGHTS = np.where(np.array(RIGID_27) < 17, JAW_WEIGHT, 1.0)
CAUCHY = 2.385
"""Residuals in robust standard deviations at which a point counts half (95 % efficiency under Gaussian noise)."""
ROUNDS = 6


def to_canonical_units(points_px: Array, scale: float, size: tuple[int, int]) -> Array:
    """Pixels (..., 3) of a frame of size (w, h) to canonical face units around the frame's centre."""
    centre = np.array([size[0] / 2, size[1] / 2, 0], dtype=points_px.dtype)
    moved: Array = (points_px - centre) * points_px.dtype.type(scale)
    return moved


def to_pixels(points: Array, scale: float, size: tuple[int, int]) -> Array:
    """The inverse of ``to_canonical_units``."""
    centre = np.array([size[0] / 2, size[1] / 2, 0], dtype=points.dtype)
    placed: Array = points / points.dtype.type(scale) + centre
    return placed


def deposed(track: FaceTrack) -> Float:
    """A track's meshes without head pose: [T, V, 3] float32, canonical units (§3.3)."""
    return remove_pose(to_canonical_units(track.mesh, track.scale, track.size), track.pose).astype(np.float32)


def fit_poses(landmarks_px: Array, size: tuple[int, int], model: FaceModel) -> tuple[Float, float]:
    """Head poses [T, 6] and the clip's scale (canonical units per pixel) from landmarks [T, 68, 3] in pixels.

    Robust Procrustes fit of the 27 rigid points, first to the canonical face, then to the person's own mean over
    the clip laid on the canonical face: what differs from person to person is then not taken for movement, and
    only what moves in this clip loses weight.
    """
    rigid = np.asarray(landmarks_px, np.float64)[:, list(RIGID_27)]
    canonical = model.canonical[np.array(LANDMARKS_68)[list(RIGID_27)]].astype(np.float64)
    pose, scale = fit_rigid(rigid, size, canonical, RIGID_WEIGHTS)
    person = remove_pose(to_canonical_units(rigid, scale, size), pose).mean(axis=0)
    pose, scale = fit_rigid(rigid, size, _laid_on(person, canonical), RIGID_WEIGHTS)
    return pose.astype(np.float32), scale


def fit_rigid(points_px: Array, size: tuple[int, int], target: Array, prior: Array) -> tuple[Array, float]:
    """Poses [T, 6] and one scale that lay points [T, P, 3] px on a target [P, 3]; prior [P] weighs the points.

    Iteratively reweighted least squares with Cauchy weights. All in float64.
    """
    centred = to_canonical_units(points_px, 1.0, size)
    weights = np.broadcast_to(prior, centred.shape[:2])
    for _ in range(ROUNDS):
        pose, scale = _weighted_fit(centred, target, weights)
        error = np.linalg.norm(remove_pose(centred * scale, pose) - target, axis=-1)
        spread = 1.4826 * np.median(error) + 1e-9
        weights = prior / (1 + (error / (CAUCHY * spread)) ** 2)
    return pose, scale


def _weighted_fit(points: Array, target: Array, weights: Array) -> tuple[Array, float]:
    """Closed form for given weights [T, P]: Kabsch rotations a frame, symmetric (Horn) scale over all frames."""
    share = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    mean, target_mean = (share * points).sum(axis=1), (share * target).sum(axis=1)
    moved, goal = points - mean[:, None], target - target_mean[:, None]
    scale = float(np.sqrt((share * goal**2).sum() / (share * moved**2).sum()))
    u, _, vt = np.linalg.svd(np.swapaxes(share * goal, 1, 2) @ moved)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # a reflection is no rotation
    rotation = u @ vt
    shift = target_mean - scale * (rotation @ mean[..., None])[..., 0]
    return np.concatenate([Rotation.from_matrix(rotation).as_rotvec(), shift], axis=1), scale


def _laid_on(points: Array, target: Array) -> Array:
    """One shape [P, 3] moved and scaled onto another."""
    pose, scale = fit_rigid(points[None], (0, 0), target, RIGID_WEIGHTS)
    return np.asarray(remove_pose(points[None] * scale, pose)[0])


def smooth_poses(pose: Array, sigma: float) -> Array:
    """Poses [T, 6] smoothed over time by a Gaussian of ``sigma`` frames.

    Head turn and head position are smoothed, not r and T, which depend on one another. The turn is averaged as
    quaternions of continuous sign and brought back to unit length, so it never leaves SO(3) nor breaks at ±pi.
    """
    if sigma <= 0 or len(pose) < 2:
        return pose
    placed = placement(pose)
    quaternion = Rotation.from_rotvec(placed[:, :3]).as_quat()
    flips = np.sign(np.einsum("ti,ti->t", quaternion[1:], quaternion[:-1]))
    quaternion[1:] *= np.cumprod(np.where(flips == 0, 1, flips))[:, None]
    turn = gaussian_filter1d(quaternion, sigma, axis=0, mode="nearest")
    origin = gaussian_filter1d(placed[:, 3:], sigma, axis=0, mode="nearest")
    smooth = np.concatenate([Rotation.from_quat(turn).as_rotvec(), origin], axis=1)
    return placement(smooth).astype(pose.dtype)
