"""How much of the picture moves with the head, learned from a face that moves over a still background."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.records import CROP_SIZE
from thcli.render.head_weights import MAP_SIZE, Attachment, learn_attachment, prior_attachment
from thcli.render.rasterize import rasterize
from thcli.render.warp import pixel_grid

SHIFTS = ((0, 0), (9, 0), (-8, 4), (3, -9))
HAIR = 0.3
"""How far the moving part reaches beyond the mesh's outline, in half heights of the face."""


def disc(centre, radius):
    """[1, 1, 256, 256], 1 within an ellipse of half axes ``radius`` px around a point, with a soft edge."""
    offset = (pixel_grid(CROP_SIZE) - torch.tensor(centre).view(2, 1, 1)) / torch.tensor(radius).view(2, 1, 1)
    return ((1 - offset.norm(dim=0)) * 20 + 0.5).clamp(0, 1)[None, None]


@pytest.fixture(scope="module")
def scene(faces):
    """A textured head, larger than the mesh, at four places over a still background of another texture."""
    from torch.nn.functional import interpolate

    def noise(seed, grain):
        small = torch.rand(1, 3, grain, grain, generator=torch.Generator().manual_seed(seed))
        return interpolate(small, size=(CROP_SIZE, CROP_SIZE), mode="bicubic", align_corners=False).clamp(0, 1)

    meshes = torch.cat([faces.mesh(shift=shift) for shift in SHIFTS])
    low, high = meshes[0, :, :2].amin(0), meshes[0, :, :2].amax(0)
    radius = ((high - low) / 2 * (1 + HAIR)).tolist()
    still, head = noise(1, 40), noise(2, 40)
    pictures = []
    for shift in SHIFTS:
        mask = disc([CROP_SIZE / 2 + shift[0], CROP_SIZE / 2 + shift[1]], radius)
        pictures.append(mask * torch.roll(head, (shift[1], shift[0]), (2, 3)) + (1 - mask) * still)
    return torch.cat(pictures), meshes, radius


@pytest.fixture(scope="module")
def learned(scene, triangles):
    images, meshes, _ = scene
    return learn_attachment(images, meshes, triangles, prior_attachment())


def nothing_known() -> Attachment:
    return Attachment(torch.full((MAP_SIZE, MAP_SIZE), 0.5))


@pytest.mark.parametrize("place", range(len(SHIFTS)))
def test_what_moves_is_attached_and_what_rests_is_not(scene, learned, place):
    _, meshes, radius = scene
    centre = [CROP_SIZE / 2 + shift for shift in SHIFTS[place]]
    weight = learned.at(meshes[place : place + 1], CROP_SIZE)
    head = disc(centre, [0.85 * r for r in radius]) == 1
    background = disc(centre, [1.25 * r for r in radius]) == 0
    assert weight[head].mean() > 0.95
    assert weight[head].quantile(0.02) > 0.8
    # what the map does not reach is taken from its border
    assert weight[background].mean() < 0.1
    assert weight[background].quantile(0.95) < 0.3


def test_evidence_turns_a_prior_that_knows_nothing(scene, triangles):
    images, meshes, radius = scene
    weight = learn_attachment(images, meshes, triangles, nothing_known()).at(meshes[:1], CROP_SIZE)
    centre = [CROP_SIZE / 2] * 2
    assert weight[disc(centre, [0.85 * r for r in radius]) == 1].mean() > 0.9
    assert weight[disc(centre, [1.25 * r for r in radius]) == 0].mean() < 0.15


def test_where_all_is_flat_the_prior_decides(scene, triangles):
    """Nothing can be seen to move there, so that less than the prior's whole certainty is no harm."""
    _, meshes, _ = scene
    flat = torch.full((len(meshes), 3, CROP_SIZE, CROP_SIZE), 0.5)
    prior = prior_attachment()
    weight = learn_attachment(flat, meshes, triangles, prior).weight
    outside = ~rasterize(meshes[:1], triangles, CROP_SIZE, CROP_SIZE).mask[0]
    found, assumed = (Attachment(w).at(meshes[:1], CROP_SIZE)[0, 0][outside] for w in (weight, prior.weight))
    assert (found - assumed).abs().max() < 0.35
    assert torch.corrcoef(torch.stack([found, assumed]))[0, 1] > 0.95


def test_the_mesh_itself_moves_wholly(scene, triangles):
    _, meshes, _ = scene
    flat = torch.full((len(meshes), 3, CROP_SIZE, CROP_SIZE), 0.5)
    weight = learn_attachment(flat, meshes, triangles, Attachment(torch.zeros(MAP_SIZE, MAP_SIZE))).at(meshes[:1], 256)
    x, y = (meshes[0, :468, :2].mean(0)).long()
    assert weight[0, 0, y - 30 : y + 30, x - 30 : x + 30].min() > 0.99


def test_without_movement_it_is_the_prior(scene, triangles, faces):
    images, meshes, _ = scene
    prior = prior_attachment()
    assert learn_attachment(images[:1], meshes[:1], triangles, prior) is prior
    resting = torch.cat([faces.mesh(), faces.mesh(shift=(0.2, 0.3))])
    assert learn_attachment(images[:2], resting, triangles, prior) is prior


def test_the_same_references_give_the_same_map_and_it_is_a_share(scene, triangles, learned):
    images, meshes, _ = scene
    again = learn_attachment(images, meshes, triangles, prior_attachment())
    assert torch.equal(again.weight, learned.weight)
    assert learned.weight.shape == (MAP_SIZE, MAP_SIZE)
    assert learned.weight.dtype == torch.float32
    assert 0 <= learned.weight.min() <= learned.weight.max() <= 1


def test_larger_pictures_give_the_same_map(scene, triangles, learned):
    from torch.nn.functional import interpolate

    images, meshes, _ = scene
    large = interpolate(images, size=(400, 400), mode="bicubic", align_corners=False).clamp(0, 1)
    weight = learn_attachment(large, meshes, triangles, prior_attachment()).weight
    assert (weight - learned.weight).abs().mean() < 0.02


def test_prior_holds_the_face_lets_the_corners_go_and_is_symmetric(faces, triangles):
    prior = prior_attachment()
    assert torch.allclose(prior.weight, prior.weight.flip(1))
    mesh = faces.mesh()
    weight = prior.at(mesh, CROP_SIZE)
    assert weight[:, 0][rasterize(mesh, triangles, CROP_SIZE, CROP_SIZE).mask].min() > 0.9
    assert weight[0, 0, 0, 0] < 0.05 and weight[0, 0, -1, -1] < 0.05


def test_the_map_follows_the_head(faces):
    prior = prior_attachment()
    here, there = (prior.at(faces.mesh(shift=shift), CROP_SIZE)[0, 0] for shift in ((0, 0), (10, -6)))
    assert torch.allclose(torch.roll(here, (-6, 10), (0, 1))[20:-20, 20:-20], there[20:-20, 20:-20], atol=1e-3)
    upright = torch.zeros(MAP_SIZE, MAP_SIZE)
    upright[: MAP_SIZE // 3] = 1  # what is above the head
    # a rotation vector along z turns points of the frame the other way: the head leans to the picture's left
    leaning = Attachment(upright).at(faces.mesh(turn=(0, 0, np.pi / 2)), CROP_SIZE)[0, 0]
    sides = leaning[:, :32].mean(), leaning[:, -32:].mean()
    assert max(sides) > 0.8 and min(sides) < 0.05
    top = faces.mesh(turn=(0, 0, np.pi / 2))[0, 10, 0]
    assert (sides[0] > sides[1]) == bool(top < CROP_SIZE / 2)


@pytest.mark.parametrize("size", [128, 512])
def test_the_weight_does_not_depend_on_the_resolution(faces, size):
    from torch.nn.functional import interpolate

    prior, mesh = prior_attachment(), faces.mesh(turn=(0, 0.1, 0.1))
    weight = interpolate(prior.at(mesh, size), size=(256, 256), mode="bilinear", align_corners=False)
    assert (weight - prior.at(mesh, 256)).abs().max() < 0.02
