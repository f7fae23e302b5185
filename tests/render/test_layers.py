"""References are split into a person, who moves, and a background, which rests and is completed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import max_pool2d

from thcli.images import blur, resized
from thcli.records import CROP_SIZE, ReferenceWeights
from thcli.render.head_weights import MAP_SIZE, HeadWeightMap
from thcli.render.layers import References, layered
from thcli.render.matting import background_rests
from thcli.render.warp import pixel_grid
from thcli.render.warped import ReferenceWarper

ALL = HeadWeightMap(torch.ones(MAP_SIZE, MAP_SIZE))
RADIUS = 85
"""Radius of the disc that stands for a head with its hair, px."""


def disc(shift: tuple[int, int] = (0, 0), soft: float = 2.0) -> Tensor:
    """Return the opacity [1, 1, 256, 256] of a head in the middle of the image, moved by ``shift``."""
    away = pixel_grid(CROP_SIZE) - CROP_SIZE / 2 - torch.tensor(shift).view(2, 1, 1)
    return blur((away.norm(dim=0) < RADIUS).float()[None, None], soft)


def scene(behind: Tensor, shift: tuple[int, int] = (0, 0), head: float = 0.8) -> tuple[Tensor, Tensor]:
    """Return an image [1, 3, 256, 256] of a plain head before a background, and the head's opacity."""
    opacity = disc(shift)
    return torch.lerp(behind, torch.full_like(behind, head), opacity), opacity


@pytest.fixture
def stripes() -> Tensor:
    """A background [1, 3, 256, 256] of level stripes."""
    rows = torch.sin(torch.arange(CROP_SIZE) / 6) / 4 + 0.4
    return rows.view(1, 1, -1, 1).expand(1, 3, -1, CROP_SIZE)


def warped(references: References, meshes: Tensor, target: Tensor, model, weights: list[float]) -> Tensor:
    warper = ReferenceWarper(references, meshes, model, ALL)
    row = np.array([weights], np.float32)
    return warper.warp(target, ReferenceWeights(row, row, row))[0]


@pytest.mark.parametrize("wrong", [0.0, 0.4])
def test_an_image_that_rests_is_its_reference_even_if_its_opacity_is_wrong(
    faces, face_model, triangles, texture, wrong
):
    image, opacity = scene(texture)
    opacity = opacity.lerp(torch.roll(texture, 50, 2)[:, :1], wrong)
    references = layered(image, opacity, faces.mesh(), triangles)
    assert references.person is not None
    made = warped(references, faces.mesh(), faces.mesh(), face_model, [1.0])
    assert (made - image).abs().mean() < 0.002


@pytest.mark.parametrize("size", [200, 256, 420])
@pytest.mark.parametrize("shift", [(14, 0), (-9, 6)])
def test_the_head_moves_and_the_background_rests(faces, face_model, triangles, texture, shift, size):
    image, opacity, truth, moved = (resized(one, size) for one in (*scene(texture), *scene(texture, shift)))
    meshes, target = faces.mesh(), faces.mesh(shift=shift)
    made = warped(layered(image, opacity, meshes, triangles), meshes, target, face_model, [1.0])
    whole = warped(References(image), meshes, target, face_model, [1.0])
    seen_before = (opacity < 0.01) & (moved < 0.01)
    assert ((made - truth).abs() * seen_before).max() < 0.03
    assert ((made - truth).abs() * (moved > 0.99)).max() < 0.03
    assert (made - truth).abs().mean() < 0.2 * (whole - truth).abs().mean()


def test_level_lines_go_on_where_the_head_moves_away(faces, face_model, triangles, stripes):
    image, opacity = scene(stripes)
    truth, moved = scene(stripes, (16, 0))
    references, mesh = layered(image, opacity, faces.mesh(), triangles), faces.mesh()
    made = warped(references, mesh, faces.mesh(shift=(16, 0)), face_model, [1.0])
    beside = (opacity > 0.99) & (moved < 0.01)
    beside[..., :110, :], beside[..., 146:, :] = False, False  # where the outline is upright
    assert beside.sum() > 100
    assert ((made - truth).abs() * beside).max() < 0.05


def test_what_is_behind_comes_from_the_reference_that_shows_it(faces, triangles, texture):
    scenes = [scene(texture, shift) for shift in ((0, 0), (40, 0))]
    images, opacity = (torch.cat(part) for part in zip(*scenes, strict=True))
    meshes = torch.cat([faces.mesh(), faces.mesh(shift=(40, 0))])
    background = layered(images, opacity, meshes, triangles).background
    hidden_in_one = (opacity[0] > 0.99) & (max_pool2d(opacity[1:], 15, 1, 7)[0] < 0.01)
    assert hidden_in_one.sum() > 1000
    assert ((background[0] - texture[0]).abs() * hidden_in_one).max() < 0.02


def test_what_does_not_touch_the_head_is_background(faces, face_model, triangles, texture):
    image, opacity = scene(texture)
    island = opacity.clone()
    island[..., 10:30, 10:30] = 1
    references = layered(image, island, faces.mesh(), triangles)
    assert references.opacity[..., 8:32, 8:32].max() < 0.01
    alone = layered(image, opacity, faces.mesh(), triangles)
    assert torch.equal(references.opacity[..., 60:200, 60:200], alone.opacity[..., 60:200, 60:200])


def test_an_opacity_that_leaves_out_the_face_is_not_believed(faces, triangles, texture):
    references = layered(texture, 1 - disc(), faces.mesh(), triangles)
    assert references.person is None and references.opacity is None and references.behind([0]) is None
    assert torch.equal(references.moving([0]), references.images)


def test_references_in_a_transition_lie_before_both_backgrounds(faces, face_model, triangles, texture):
    image, opacity = scene(texture)
    images, both = torch.cat([image, image * 0.5]), torch.cat([opacity, opacity])
    meshes = faces.mesh().expand(2, -1, -1)
    references = layered(images, both, meshes, triangles)
    row = np.array([[0.75, 0.25]], np.float32)
    warper = ReferenceWarper(references, meshes, face_model, ALL)
    made, _ = warper.warp(faces.mesh(), ReferenceWeights(row, row, row, dissolved=True))
    outside = opacity < 0.001
    mixed = 0.75 * references.behind([0]) + 0.25 * references.behind([1])
    assert ((made - mixed).abs() * outside).max() < 0.02


def test_each_changes_images_and_layers_alike(faces, triangles, texture):
    image, opacity = scene(texture)
    halved = layered(image, opacity, faces.mesh(), triangles).each(lambda part: part[..., ::2, ::2])
    assert halved.images.shape == halved.background.shape == (1, 3, 128, 128)
    assert halved.person.shape == (1, 4, 128, 128) and len(halved) == 1
    assert References(image).each(lambda part: part * 0).person is None


@pytest.mark.parametrize(("moved", "rests"), [(0, True), (6, False)])
def test_backgrounds_are_compared_without_the_person(texture, moved, rests):
    scenes = [scene(behind, shift) for behind, shift in ((texture, (0, 0)), (torch.roll(texture, moved, 2), (30, 0)))]
    images, opacity = (torch.cat(part).mul(255).byte() for part in zip(*scenes, strict=True))
    images, opacity = images.permute(0, 2, 3, 1).numpy(), opacity[:, 0].numpy()
    assert background_rests(images, opacity) == rests
    assert background_rests(images[:1], opacity[:1])
