"""Head poses fitted to landmarks of faces whose pose is known, §3.3."""

import time

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from thcli.face_model import LANDMARKS_68, RIGID_27
from thcli.faces.pose import fit_poses, smooth_poses
from thcli.rotations import apply_pose, placement, remove_pose, to_canonical_units, to_pixels

SIZE = (320, 240)
SCALE = 1 / 75
JAW_POINTS = list(range(1, 6)) + list(range(11, 16))


@pytest.fixture(scope="module")
def poses():
    t = np.arange(200)[:, None] / 25
    turn = 0.35 * np.sin(t * [1.3, 0.9, 0.7] + [0, 1, 2])
    return np.concatenate([turn, 0.2 * np.cos(t * [0.8, 1.1, 0.5])], axis=1).astype(np.float32)


def landmarks_px(shape, poses):
    return to_pixels(apply_pose(shape[list(LANDMARKS_68)], poses), SCALE, SIZE)


def angle_between(poses, others):
    return (Rotation.from_rotvec(poses[:, :3]) * Rotation.from_rotvec(others[:, :3]).inv()).magnitude()


def test_fit_poses_recovers_known_poses_and_scale(face_model, poses):
    found, scale = fit_poses(landmarks_px(face_model.canonical, poses), SIZE, face_model)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, poses, atol=1e-3)
    assert scale == pytest.approx(SCALE, rel=1e-3)


def test_apply_pose_undoes_remove_pose_for_fitted_poses(face_model, poses):
    points = landmarks_px(face_model.canonical, poses)
    pose, scale = fit_poses(points, SIZE, face_model)
    frame = to_canonical_units(points, scale, SIZE)
    np.testing.assert_allclose(apply_pose(remove_pose(frame, pose), pose), frame, atol=1e-4)


def test_fit_poses_ignores_an_opening_mouth_and_chin(face_model, poses):
    moved = landmarks_px(face_model.canonical, poses)
    speaking = np.abs(np.sin(np.arange(len(poses)) / 3)).astype(np.float32)
    moved[:, JAW_POINTS, 1] += 12 * speaking[:, None]
    pose, _ = fit_poses(moved, SIZE, face_model)
    difference = angle_between(pose, poses)
    assert np.std(difference) < np.radians(0.6)
    assert np.max(difference) < np.radians(2)


def test_fit_poses_ignores_an_outlier(face_model, poses):
    moved = landmarks_px(face_model.canonical, poses)
    moved[::7, RIGID_27[20]] += [40, -30, 20]
    pose, _ = fit_poses(moved, SIZE, face_model)
    assert angle_between(pose, poses).max() < np.radians(0.5)


def test_fit_poses_does_not_take_the_shape_of_a_face_for_movement(face_model, poses):
    shape = face_model.canonical * np.float32([0.95, 1.05, 1.0])
    shape = shape + np.random.default_rng(0).normal(0, 0.02, shape.shape).astype(np.float32)
    pose, _ = fit_poses(landmarks_px(shape, poses), SIZE, face_model)
    step = angle_between(pose[1:], pose[:-1]) - angle_between(poses[1:], poses[:-1])
    assert np.abs(step).max() < np.radians(0.1)


def test_fit_poses_finds_the_pose_of_one_photo(face_model, poses):
    pose, _ = fit_poses(landmarks_px(face_model.canonical, poses[:1]), SIZE, face_model)
    np.testing.assert_allclose(pose, poses[:1], atol=1e-3)


@pytest.mark.parametrize(
    ("axis", "point", "component", "sign"),
    [
        (0, "nose", 1, 1),  # rx > 0: the face looks down
        (1, "nose", 0, -1),  # ry > 0: it looks to the left of the image
        (2, "top", 0, -1),  # rz > 0: the top leans to the left of the image
    ],
)
def test_apply_pose_has_the_signs_of_the_documentation(face_model, axis, point, component, sign):
    pose = np.zeros(6, np.float32)
    pose[axis] = 0.3
    vertex = {"nose": 1, "top": 10}[point]
    moved = apply_pose(face_model.canonical, pose)[vertex] - face_model.canonical[vertex]
    assert sign * moved[component] > 0.05


def test_fit_poses_of_a_minute_takes_few_seconds(face_model, poses):
    points = np.tile(landmarks_px(face_model.canonical, poses), (8, 1, 1))[:1500]
    start = time.perf_counter()
    fit_poses(points, SIZE, face_model)
    assert time.perf_counter() - start < 3  # 0.5 s on an idle core; a busy machine is no failure


def test_smooth_poses_reduces_noise_and_keeps_the_movement(poses):
    noisy = placement(poses) + np.random.default_rng(0).normal(0, 0.02, poses.shape).astype(np.float32)
    smooth = placement(smooth_poses(placement(noisy), sigma=1.5))
    error, before = np.abs(smooth - placement(poses))[5:-5], np.abs(noisy - placement(poses))[5:-5]
    assert error.mean() < 0.55 * before.mean()


def test_smooth_poses_goes_through_half_a_turn_without_a_break():
    turn = np.zeros((60, 6), np.float32)
    angle = np.linspace(np.pi - 0.5, np.pi + 0.5, 60)
    turn[:, 1] = np.where(angle > np.pi, angle - 2 * np.pi, angle)
    smooth = smooth_poses(turn, sigma=2)
    assert angle_between(smooth, turn)[6:-6].max() < 1e-3
    np.testing.assert_allclose(np.linalg.det(Rotation.from_rotvec(smooth[:, :3]).as_matrix()), 1, atol=1e-6)


def test_smooth_poses_of_sigma_zero_changes_nothing(poses):
    assert smooth_poses(poses, sigma=0) is poses
