"""The flow leads every pixel from a target mesh to its place in a reference."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate as resize

from thcli.records import CROP_SIZE
from thcli.render.rasterize import rasterize
from thcli.render.warp import EARS, SKIN, head_flow, pixel_grid, sample

INNER = (slice(None), slice(None), slice(24, -24), slice(24, -24))
"""Pixels that shifts in these tests do not take beyond the border, where the source is repeated."""


def flow_between(target, source, triangles, size=CROP_SIZE):
    """Return the flow from a target mesh to a source mesh at a resolution."""
    scale = torch.tensor([size / CROP_SIZE, size / CROP_SIZE, 1.0])
    return head_flow(rasterize(target * scale, triangles, size, size), triangles, target, source[:, None])


def jacobian(flow):
    """Return the determinant [B, H, W] of d(x + flow) / dx at the resolution of the crop."""
    place = pixel_grid(flow.shape[-1]) + flow
    across, down = torch.gradient(place, dim=(-1, -2))
    return across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]


@pytest.mark.parametrize("size", [64, 256, 301])
def test_pixel_grid_holds_pixel_centres_of_the_crop(size):
    grid = pixel_grid(size)
    assert grid.shape == (2, size, size)
    assert torch.allclose(grid[0, 0, 0], torch.tensor(0.5 * CROP_SIZE / size))
    assert torch.allclose(grid.mean((1, 2)), torch.tensor(CROP_SIZE / 2), atol=1e-3)
    assert torch.equal(grid[0], grid[1].T)


def test_head_flow_between_equal_meshes_moves_nothing(faces, triangles, texture):
    mesh = faces.mesh(turn=(0.1, 0.2, -0.1))
    flow = flow_between(mesh, mesh, triangles)
    assert flow.abs().max() < 1e-3
    assert (sample(texture, flow) - texture).abs().max() < 1 / 255


@pytest.mark.parametrize("size", [256, 512])
def test_sample_without_flow_gives_the_image_again(texture, size):
    image = resize(texture, size=(size, size), mode="bilinear", align_corners=False)
    for cubic in (False, True):
        assert (sample(image, torch.zeros(1, 2, 256, 256), cubic=cubic) - image).abs().max() < 1e-4


@pytest.mark.parametrize("shift", [(7, 0), (0, -5), (-6, 9)])
def test_head_flow_of_a_shifted_mesh_shifts_the_whole_image(faces, triangles, texture, shift):
    flow = flow_between(faces.mesh(shift=shift), faces.mesh(), triangles)
    assert torch.allclose(flow, -torch.tensor(shift, dtype=torch.float32).view(1, 2, 1, 1), atol=2e-3)
    moved = torch.roll(texture, (shift[1], shift[0]), (2, 3))
    assert (sample(texture, flow) - moved)[INNER].abs().max() < 1 / 255


def test_head_flow_follows_turns_in_the_plane_and_size_everywhere(faces, triangles):
    source = faces.mesh()
    angle, scale = 0.2, 1.1
    rotation = scale * torch.tensor([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]).float()
    target = source.clone()
    target[..., :2] = (source[..., :2] - 120) @ rotation.T + 126
    expected = torch.einsum("ij,jhw->ihw", rotation.inverse(), pixel_grid(CROP_SIZE) - 126) + 120
    found = pixel_grid(CROP_SIZE) + flow_between(target, source, triangles)[0]
    assert torch.allclose(found, expected, atol=0.01)


def test_head_flow_takes_every_vertex_to_its_place_in_the_source(faces, triangles):
    expression = np.random.default_rng(0).normal(size=20).astype(np.float32)
    source, target = faces.mesh(turn=(0, 0.1, 0)), faces.mesh(0.5 * expression, shift=(3, -2))
    flow = flow_between(target, source, triangles)
    where = (target[:, None, :468, :2] / CROP_SIZE * 2 - 1).clamp(-1, 1)
    found = torch.nn.functional.grid_sample(flow, where, align_corners=False)[0, :, 0].T
    wanted = (source - target)[0, :468, :2]
    # Vertices on the outline lie between a pixel of the mesh and one beside it, those on creases between two triangles.
    assert (found - wanted).norm(dim=-1).median() < 0.2
    assert (found - wanted).norm(dim=-1).quantile(0.95) < 1


def test_head_flow_is_continuous_across_the_outline(faces, triangles):
    source, target = faces.mesh(turn=(0, 0.15, 0)), faces.mesh(turn=(0.1, -0.1, 0.05), shift=(4, 4))
    fragments = rasterize(target, triangles, CROP_SIZE, CROP_SIZE)
    flow = head_flow(fragments, triangles, target, source[:, None])
    inside = fragments.mask[0]
    step = flow[0].diff(dim=-1).norm(dim=0)
    outline = inside[:, 1:] != inside[:, :-1]
    assert step[outline].median() < 0.7
    assert step[~inside[:, 1:] & ~inside[:, :-1]].max() < 2


@pytest.mark.parametrize("turn", [0.2, -0.15])
def test_head_flow_above_a_turning_face_falls_back_from_that_of_the_brow_to_that_of_the_ears(faces, triangles, turn):
    source, target = faces.mesh(), faces.mesh(turn=(0, turn, 0))
    flow = flow_between(target, source, triangles)
    forehead, ears = ((source - target)[0, vertices, 0].mean() for vertices in ([10], EARS))
    column, top = target[0, 10, :2].int().tolist()
    shares = [float((flow[0, 0, row, column] - forehead) / (ears - forehead)) for row in (top - 10, top - 30, 2)]
    assert 0 < shares[0] < shares[1] < shares[2] < 1


@pytest.mark.parametrize("seed", range(4))
def test_head_flow_of_small_expressions_does_not_fold_the_face(faces, triangles, seed):
    random = np.random.default_rng(seed)
    source, target = (
        faces.mesh(random.normal(size=20).astype(np.float32) * 0.5, turn=tuple(random.normal(size=3) * 0.04))
        for _ in range(2)
    )
    fragments = rasterize(target, triangles, CROP_SIZE, CROP_SIZE)
    flow = head_flow(fragments, triangles, target, source[:, None])
    upright = jacobian(flow) > 0
    # The closed mouth and the lids are slits, in which a few pixels may lie on both lips.
    assert (~upright & fragments.mask).sum() <= 0.002 * fragments.mask.sum()
    assert upright[~fragments.mask].float().mean() > 0.999


def test_head_flow_agrees_between_resolutions(faces, triangles, texture):
    source = faces.mesh()
    target = faces.mesh(np.full(20, 0.3, np.float32), turn=(0.05, 0.1, 0.02), shift=(3, 1))
    small, large = (flow_between(target, source, triangles, size) for size in (256, 512))
    difference = (resize(large, size=(256, 256), mode="bilinear", antialias=True) - small).norm(dim=1)
    assert difference.mean() < 0.05
    fine = resize(texture, size=(512, 512), mode="bicubic", align_corners=False).clamp(0, 1)
    # The same flow serves an image of twice the resolution.
    reduced = resize(sample(fine, small), size=(256, 256), mode="bilinear", antialias=True)
    assert (reduced - sample(texture, small)).abs().mean() < 2 / 255


def test_head_flow_of_a_batch_equals_that_of_each_row_for_one_or_many_sources(faces, triangles):
    targets = torch.cat([faces.mesh(shift=(2, 0)), faces.mesh(turn=(0, 0.2, 0))])
    source = faces.mesh()
    both = flow_between(targets, source, triangles)
    for row in range(2):
        alone = flow_between(targets[row : row + 1], source, triangles)
        assert torch.allclose(both[row], alone[0], atol=1e-4)
    assert torch.allclose(both, flow_between(targets, source.expand(2, -1, -1), triangles), atol=1e-5)


def test_head_flow_of_the_gaze_does_not_move_the_surroundings(faces, triangles):
    source = faces.mesh()
    target = source.clone()
    target[:, SKIN.stop :, 0] += 5
    fragments = rasterize(target, triangles, CROP_SIZE, CROP_SIZE)
    flow = head_flow(fragments, triangles, target, source[:, None])
    assert flow.abs().amax(1)[~fragments.mask].max() < 0.05


def test_sample_repeats_the_border(texture):
    far = sample(texture, torch.full((1, 2, 256, 256), 1000.0))
    assert torch.allclose(far, texture[..., -1:, -1:].expand_as(far), atol=1e-5)
