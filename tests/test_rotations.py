"""Rotations and poses have the properties that the other modules rely on."""

import numpy as np
import pytest

from thcli.rotations import apply_pose, placement, remove_pose, to_matrix, to_vector


@pytest.fixture
def poses():
    """Random poses [50, 6]."""
    generator = np.random.default_rng(0)
    return generator.normal(0, [0.4, 0.5, 0.3, 1, 1, 1], (50, 6)).astype(np.float32)


def test_to_matrix_gives_proper_rotations(poses):
    matrix = to_matrix(poses[:, :3])
    assert matrix.dtype == np.float32
    np.testing.assert_allclose(matrix @ np.swapaxes(matrix, 1, 2), np.broadcast_to(np.eye(3), matrix.shape), atol=1e-6)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, atol=1e-6)


def test_to_matrix_turns_by_the_length_of_the_rotation_vector(poses):
    angle = np.arccos((np.trace(to_matrix(poses[:, :3]), axis1=1, axis2=2) - 1) / 2)
    np.testing.assert_allclose(angle, np.linalg.norm(poses[:, :3], axis=1), atol=1e-3)


def test_to_matrix_keeps_leading_dimensions(poses):
    grid = poses.reshape(5, 10, 6)
    assert to_matrix(grid[..., :3]).shape == (5, 10, 3, 3)
    np.testing.assert_array_equal(to_matrix(grid[..., :3]).reshape(50, 3, 3), to_matrix(poses[:, :3]))
    assert to_matrix(poses[0, :3]).shape == (3, 3)


def test_to_vector_takes_the_rotation_nearest_to_a_matrix(poses):
    matrix = to_matrix(poses[:, :3].astype(np.float64))
    np.testing.assert_allclose(to_vector(matrix), poses[:, :3], atol=1e-6)
    np.testing.assert_allclose(to_vector(0.9 * matrix), poses[:, :3], atol=1e-6)


def test_to_matrix_turns_x_to_y_by_a_quarter_around_z():
    np.testing.assert_allclose(to_matrix(np.array([0, 0, np.pi / 2])) @ [1, 0, 0], [0, 1, 0], atol=1e-12)


def test_apply_pose_undoes_remove_pose(poses):
    points = np.random.default_rng(1).normal(size=(50, 68, 3)).astype(np.float32)
    np.testing.assert_allclose(apply_pose(remove_pose(points, poses), poses), points, atol=1e-5)


def test_placement_is_its_own_inverse_and_places_the_origin(poses):
    np.testing.assert_allclose(placement(placement(poses)), poses, atol=1e-5)
    origin = apply_pose(np.zeros((50, 1, 3), np.float32), poses)[:, 0]
    np.testing.assert_allclose(placement(poses)[:, 3:], origin, atol=1e-5)
