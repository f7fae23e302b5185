"""Motion disentangler (§3.3): head poses of a clip from its landmarks.

The axes of the whole project are x to the right of the image, y down, z toward the camera. They form a LEFT-handed
coordinate system; rotations are proper in it (det R = +1) and follow the usual matrix formulas, so a rotation vector
(0, 0, a) maps (1, 0, 0) to (cos a, sin a, 0).

A pose h = (r, T) maps points l of a frame onto the canonical face, p = R l + T. The head in the image is therefore
turned by the inverse, and as seen in the image
    rx > 0   the face looks down (nose toward the chest),
    ry > 0   the face looks to the left of the image (the person's own right),
    rz > 0   the top of the head leans to the left of the image.
Points of a frame are l = scale * (pixels - (w / 2, h / 2, 0)), in canonical face units: 1 is the distance of the outer
eye corners. The scale is one value for the whole clip.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import LANDMARKS_68, RIGID_27, FaceModel
from thcli.records import Float
from thcli.rotations import placement, remove_pose, to_canonical_units, to_matrix, to_vector
from thcli.smoothing import smoothed

Array = NDArray[np.floating]

JAW_WEIGHT = 0.25
"""Prior weight of the ten jaw-line points among the 27; they follow the chin and slide along the cheek's outline."""
RIGID_WEIGHTS = np.where(np.array(RIGID_27) < 17, JAW_WEIGHT, 1.0)
"""Prior weights [27] of the rigid landmarks."""
CAUCHY = 2.385
"""Residual, in robust standard deviations, at which a point's weight is halved (95 % efficiency for Gaussian noise)."""
ROUNDS = 6
"""Iterations of the reweighted least squares."""


def fit_poses(landmarks_px: Array, size: tuple[int, int], model: FaceModel) -> tuple[Float, float]:
    """Fit head poses [T, 6] and the clip's scale (canonical face units per px) to landmarks [T, 68, 3] px.

    The 27 rigid points are fitted by robust Procrustes analysis, first to the canonical face, then to the person's own
    mean over the clip, aligned with the canonical face. So differences between people are not taken for movement, and
    only points that move in this clip lose weight.
    """
    return fit_to_shape(landmarks_px, size, rigid_shape(landmarks_px, size, model))


def rigid_shape(landmarks_px: Array, size: tuple[int, int], model: FaceModel) -> Array:
    """Return the person's own mean of the rigid points [27, 3] over landmarks [T, 68, 3] px, on the canonical face."""
    rigid = np.asarray(landmarks_px, np.float64)[:, list(RIGID_27)]
    canonical = model.canonical[np.array(LANDMARKS_68)[list(RIGID_27)]].astype(np.float64)
    pose, scale = fit_rigid(rigid, size, canonical, RIGID_WEIGHTS)
    person = remove_pose(to_canonical_units(rigid, scale, size), pose).mean(axis=0)
    return _laid_on(person, canonical)


def fit_to_shape(landmarks_px: Array, size: tuple[int, int], shape: Array) -> tuple[Float, float]:
    """Fit head poses [T, 6] and the scale to landmarks [T, 68, 3] px, given the person's rigid points [27, 3]."""
    rigid = np.asarray(landmarks_px, np.float64)[:, list(RIGID_27)]
    pose, scale = fit_rigid(rigid, size, shape, RIGID_WEIGHTS)
    return pose.astype(np.float32), scale


def fit_rigid(points_px: Array, size: tuple[int, int], target: Array, prior: Array) -> tuple[Array, float]:
    """Fit poses [T, 6] and one scale that map points [T, P, 3] px onto a target [P, 3]; prior [P] weighs the points.

    The method is iteratively reweighted least squares with Cauchy weights, in float64.
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
    """Closed-form fit for weights [T, P]: a Kabsch rotation per frame, a symmetric (Horn) scale over all frames."""
    share = (weights / weights.sum(axis=1, keepdims=True))[..., None]
    mean, target_mean = (share * points).sum(axis=1), (share * target).sum(axis=1)
    moved, goal = points - mean[:, None], target - target_mean[:, None]
    scale = float(np.sqrt((share * goal**2).sum() / (share * moved**2).sum()))
    u, _, vt = np.linalg.svd(np.swapaxes(share * goal, 1, 2) @ moved)
    u[..., 2] *= np.sign(np.linalg.det(u @ vt))[:, None]  # a reflection is no rotation
    rotation = u @ vt
    shift = target_mean - scale * (rotation @ mean[..., None])[..., 0]
    return np.concatenate([to_vector(rotation), shift], axis=1), scale


def _laid_on(points: Array, target: Array) -> Array:
    """Align a shape [P, 3] with another by rotation, translation and scale."""
    pose, scale = fit_rigid(points[None], (0, 0), target, RIGID_WEIGHTS)
    return np.asarray(remove_pose(points[None] * scale, pose)[0])


def smooth_poses(pose: Array, sigma: float) -> Array:
    """Smooth poses [T, 6] over time with a Gaussian of standard deviation ``sigma`` frames.

    The placement's rotation and position are smoothed, not r and T, which depend on each other. Rotations are averaged
    as matrices, and the nearest rotation is taken, so they stay in SO(3) and do not break at ±pi.
    """
    if sigma <= 0 or len(pose) < 2:
        return pose
    placed = placement(np.asarray(pose, np.float64))
    turn = to_vector(smoothed(to_matrix(placed[:, :3]), sigma))
    smooth = np.concatenate([turn, smoothed(placed[:, 3:], sigma)], axis=1)
    return placement(smooth).astype(pose.dtype)
