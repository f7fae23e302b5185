"""Eq. 1 moves meshes from pose to pose, and the texture of a mesh is projected onto another."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from thcli.records import Float
from thcli.render.mesh import most_frontal, move_mesh, project_texture, texture_mesh, visible_faces
from thcli.rotations import to_matrix

SIZE = 64


def smooth_image(size: int = SIZE) -> Tensor:
    """Return an image [3, H, W] of slow waves, so that sampling between pixels is almost exact."""
    y, x = torch.meshgrid(torch.arange(size) + 0.5, torch.arange(size) + 0.5, indexing="ij")
    return torch.stack([0.5 + 0.4 * torch.sin(x / 9), 0.5 + 0.4 * torch.cos(y / 8), (x + y) / (2 * size)])


def sheet(left: float, right: float, z: float = 0.0, n: int = 5) -> tuple[Tensor, Tensor]:
    """Return a flat mesh [V, 3] between two columns, from row 8 to row 56, and its triangles."""
    y, x = torch.meshgrid(torch.linspace(8, 56, n), torch.linspace(left, right, n), indexing="ij")
    index = torch.arange(n * n).view(n, n)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = torch.cat([torch.stack([a, c, b], -1).reshape(-1, 3), torch.stack([b, c, d], -1).reshape(-1, 3)])
    return torch.stack([x, y, torch.full_like(x, z)], -1).reshape(-1, 3), faces


def poses(seed: int, n: int) -> Float:
    """Return random head poses [n, 6]."""
    generator = np.random.default_rng(seed)
    return (generator.normal(size=(n, 6)) * 0.4).astype(np.float32)


def test_most_frontal_returns_the_pose_of_smallest_rotation() -> None:
    pose = poses(0, 6)
    pose[4, :3] = [0.01, -0.02, 0.0]
    pose[4, 3:] = 9.0
    assert most_frontal(pose) == 4


def test_move_mesh_follows_equation_1_term_by_term() -> None:
    mesh = np.random.default_rng(1).normal(size=(10, 3)).astype(np.float32)
    source, target = poses(2, 2)
    moved = move_mesh(mesh, source, target)
    for vertex, found in zip(mesh, moved, strict=True):
        right = to_matrix(source[:3]) @ vertex + source[3:] - target[3:]
        assert np.allclose(np.linalg.inv(to_matrix(target[:3])) @ right, found, atol=1e-5)


def test_move_mesh_there_and_back_gives_the_mesh_again() -> None:
    mesh = np.random.default_rng(3).normal(size=(10, 3)).astype(np.float32)
    pose = poses(4, 5)
    moved = move_mesh(mesh, pose[0], pose)
    assert moved.shape == (5, 10, 3)
    assert np.allclose(moved[0], mesh, atol=1e-5)
    for there, target in zip(moved, pose, strict=True):
        assert np.allclose(move_mesh(there, target, pose[0]), mesh, atol=1e-5)


def test_project_texture_onto_its_own_mesh_gives_the_image_again() -> None:
    image = smooth_image()
    mesh, faces = sheet(10, 50)
    projection = project_texture(texture_mesh(image, mesh, faces), mesh[None], SIZE, SIZE)
    assert projection.image.shape == (1, 3, SIZE, SIZE)
    mask = projection.mask[0, 0]
    assert mask.sum() == 40 * 48
    assert torch.allclose(projection.image[0][:, mask], image[:, mask], atol=1e-4)
    assert (projection.image[0][:, ~mask] == 0).all()


def test_project_texture_follows_each_mesh_of_a_batch() -> None:
    image = smooth_image()
    mesh, faces = sheet(10, 50)
    shift = torch.tensor([7.0, -4.0, 0.0])
    texture = texture_mesh(image, mesh, faces)
    still, moved = project_texture(texture, torch.stack([mesh, mesh + shift]), SIZE, SIZE).image
    assert torch.allclose(moved[:, 4:52, 17:57], still[:, 8:56, 10:50], atol=1e-4)


def test_project_texture_renders_at_another_size() -> None:
    image = smooth_image()
    mesh, faces = sheet(0, 64)
    large = project_texture(texture_mesh(image, mesh, faces), mesh[None] * 2, 2 * SIZE, 2 * SIZE)
    inner = slice(20, 108)
    means = torch.nn.functional.avg_pool2d(large.image, 2)[0, :, 10:54, 2:-2]
    assert large.mask[..., inner, inner].all()
    assert torch.allclose(means, image[:, 10:54, 2:-2], atol=5e-3)


def test_project_texture_masks_out_what_the_source_hides() -> None:
    """One sheet covers half of another; when they are moved apart, only what was visible has a texture."""
    near, faces = sheet(30, 50, z=20.0)
    far, _ = sheet(10, 50, z=-20.0)
    mesh = torch.cat([far, near])
    both = torch.cat([faces, faces + len(far)])
    visible = visible_faces(mesh, both, SIZE, SIZE)
    centre = far[faces].mean(dim=1)[:, 0]
    assert torch.equal(visible[: len(faces)], centre < 30)
    assert visible[len(faces) :].all()
    away = torch.cat([far, near + torch.tensor([100.0, 0.0, 0.0])])
    mask = project_texture(texture_mesh(smooth_image(), mesh, both), away[None], SIZE, SIZE).mask[0, 0]
    assert mask[10:54, 11:30].all()
    assert not mask[:, 30:].any()


def test_visible_faces_do_not_depend_on_winding() -> None:
    mesh, faces = sheet(10, 50)
    assert visible_faces(mesh, faces, SIZE, SIZE).all()
    assert visible_faces(mesh, faces.flip(1), SIZE, SIZE).all()


def test_project_texture_masks_out_what_lies_outside_the_source_image() -> None:
    mesh, faces = sheet(-30, 50)
    texture = texture_mesh(smooth_image(), mesh, faces)
    mask = project_texture(texture, mesh[None] + torch.tensor([30.0, 0.0, 0.0]), SIZE, SIZE).mask[0, 0]
    assert not mask[:, :30].any()
    assert mask[10:54, 42:62].all()


def test_project_texture_passes_gradients_to_mesh_and_texture() -> None:
    image = smooth_image().requires_grad_()
    mesh, faces = sheet(10, 50)
    target = mesh[None].clone().requires_grad_()
    projection = project_texture(texture_mesh(image, mesh, faces), target, SIZE, SIZE)
    (projection.image * smooth_image().flip(2)).sum().backward()
    for gradient in (image.grad, target.grad):
        assert gradient is not None and gradient.isfinite().all() and gradient.abs().sum() > 0
