"""Head weights, how far each place moves with the head, are estimated from a face over a still background."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from thcli.records import CROP_SIZE
from thcli.render.head_weights import (
    MAP_SIZE,
    HeadWeightMap,
    _falling,
    estimate_head_weights,
    prior_head_weights,
)
from thcli.render.rasterize import rasterize
from thcli.render.warp import pixel_grid

SHIFTS = ((0, 0), (9, 0), (-8, 4), (3, -9))
HAIR = 0.3
"""Distance that the moving part reaches beyond the outline of the mesh, in half heights of the face."""


def disc(centre, radius):
    """Return a soft mask [1, 1, 256, 256], 1 within an ellipse of half axes ``radius`` px around a point."""
    offset = (pixel_grid(CROP_SIZE) - torch.tensor(centre).view(2, 1, 1)) / torch.tensor(radius).view(2, 1, 1)
    return ((1 - offset.norm(dim=0)) * 20 + 0.5).clamp(0, 1)[None, None]


@pytest.fixture(scope="module")
def scene(faces, smooth_noise):
    """Images of a textured head, larger than the mesh, at four places over a still background, with their meshes."""
    meshes = torch.cat([faces.mesh(shift=shift) for shift in SHIFTS])
    low, high = meshes[0, :, :2].amin(0), meshes[0, :, :2].amax(0)
    radius = ((high - low) / 2 * (1 + HAIR)).tolist()
    still, head = smooth_noise(1, 40), smooth_noise(2, 40)
    images = []
    for shift in SHIFTS:
        mask = disc([CROP_SIZE / 2 + shift[0], CROP_SIZE / 2 + shift[1]], radius)
        images.append(mask * torch.roll(head, (shift[1], shift[0]), (2, 3)) + (1 - mask) * still)
    return torch.cat(images), meshes, radius


@pytest.fixture(scope="module")
def estimated(scene, triangles):
    """The map estimated from the scene."""
    images, meshes, _ = scene
    return estimate_head_weights(images, meshes, triangles, prior_head_weights())


def constant_map(weight: float) -> HeadWeightMap:
    """Return a map that has the same weight everywhere."""
    return HeadWeightMap(torch.full((MAP_SIZE, MAP_SIZE), weight))


@pytest.mark.parametrize("place", range(len(SHIFTS)))
def test_estimate_head_weights_is_high_on_the_head_and_low_on_the_background(scene, estimated, place):
    _, meshes, radius = scene
    centre = [CROP_SIZE / 2 + shift for shift in SHIFTS[place]]
    weight = estimated.at(meshes[place : place + 1], CROP_SIZE)
    head = disc(centre, [0.85 * r for r in radius]) == 1
    background = disc(centre, [1.25 * r for r in radius]) == 0
    assert weight[head].mean() > 0.95
    assert weight[head].quantile(0.02) > 0.8
    # Places that the map does not reach have the weight of its border.
    assert weight[background].mean() < 0.1
    assert weight[background].quantile(0.95) < 0.3


def test_estimate_head_weights_overrules_an_uninformative_prior(scene, triangles):
    images, meshes, radius = scene
    weight = estimate_head_weights(images, meshes, triangles, constant_map(0.5)).at(meshes[:1], CROP_SIZE)
    centre = [CROP_SIZE / 2] * 2
    assert weight[disc(centre, [0.85 * r for r in radius]) == 1].mean() > 0.9
    assert weight[disc(centre, [1.25 * r for r in radius]) == 0].mean() < 0.15


def test_estimate_head_weights_follows_the_prior_where_images_are_flat(scene, triangles):
    """Nothing can be seen to move in flat images, so it does no harm that the map is less certain than the prior."""
    meshes = scene[1][:2]
    flat = torch.full((len(meshes), 3, CROP_SIZE, CROP_SIZE), 0.5)
    prior = prior_head_weights()
    weight = estimate_head_weights(flat, meshes, triangles, prior).weight
    outside = ~rasterize(meshes[:1], triangles, CROP_SIZE, CROP_SIZE).mask[0]
    found, assumed = (HeadWeightMap(w).at(meshes[:1], CROP_SIZE)[0, 0][outside] for w in (weight, prior.weight))
    assert (found - assumed).abs().max() < 0.35
    assert torch.corrcoef(torch.stack([found, assumed]))[0, 1] > 0.95


def test_estimate_head_weights_is_one_on_the_mesh(scene, triangles):
    meshes = scene[1][:2]
    flat = torch.full((len(meshes), 3, CROP_SIZE, CROP_SIZE), 0.5)
    weight = estimate_head_weights(flat, meshes, triangles, constant_map(0.0)).at(meshes[:1], CROP_SIZE)
    x, y = (meshes[0, :468, :2].mean(0)).long()
    assert weight[0, 0, y - 30 : y + 30, x - 30 : x + 30].min() > 0.99


def test_estimate_head_weights_returns_the_prior_without_movement(scene, triangles, faces):
    images, meshes, _ = scene
    prior = prior_head_weights()
    assert estimate_head_weights(images[:1], meshes[:1], triangles, prior) is prior
    resting = torch.cat([faces.mesh(), faces.mesh(shift=(0.2, 0.3))])
    assert estimate_head_weights(images[:2], resting, triangles, prior) is prior


def test_estimate_head_weights_is_deterministic_and_stays_in_range(scene, triangles):
    images, meshes, _ = scene
    first, second = (
        estimate_head_weights(images[:2], meshes[:2], triangles, prior_head_weights()).weight for _ in range(2)
    )
    assert torch.equal(first, second)
    assert first.shape == (MAP_SIZE, MAP_SIZE)
    assert first.dtype == torch.float32
    assert 0 <= first.min() <= first.max() <= 1


def test_estimate_head_weights_is_alike_for_larger_images(scene, triangles, estimated):
    images, meshes, _ = scene
    large = interpolate(images, size=(400, 400), mode="bicubic", align_corners=False).clamp(0, 1)
    weight = estimate_head_weights(large, meshes, triangles, prior_head_weights()).weight
    assert (weight - estimated.weight).abs().mean() < 0.02


def test_falling_levels_never_rise_and_cost_least():
    cost = torch.rand(3, 2, 4, generator=torch.Generator().manual_seed(5))
    found = _falling(cost)
    assert found.shape == (2, 4) and (found.diff(dim=1) <= 0).all()
    for ray in range(2):
        every = [way for way in product(range(3), repeat=4) if sorted(way, reverse=True) == list(way)]
        least = min(sum(float(cost[way[i], ray, i]) for i in range(4)) for way in every)
        assert sum(float(cost[found[ray, i], ray, i]) for i in range(4)) == pytest.approx(least)


def test_estimate_head_weights_has_no_holes_where_the_head_shows_a_flat_place(scene, triangles):
    """Within a flat spot of the head any movement explains the images."""
    images, meshes, radius = scene
    spotted = []
    for image, shift in zip(images, SHIFTS, strict=True):
        spot = disc([CROP_SIZE / 2 + shift[0], CROP_SIZE / 2 + shift[1] - 0.85 * radius[1]], [14, 14])
        spotted.append(image + spot[0] * (0.5 - image))
    weight = estimate_head_weights(torch.stack(spotted), meshes, triangles, constant_map(0.0)).at(meshes[:1], CROP_SIZE)
    assert weight[disc([CROP_SIZE / 2, CROP_SIZE / 2 - 0.8 * radius[1]], [10, 10]) == 1].mean() > 0.7


def test_prior_head_weights_is_high_on_the_face_low_in_the_corners_and_symmetric(faces, triangles):
    prior = prior_head_weights()
    assert torch.allclose(prior.weight, prior.weight.flip(1))
    mesh = faces.mesh()
    weight = prior.at(mesh, CROP_SIZE)
    assert weight[:, 0][rasterize(mesh, triangles, CROP_SIZE, CROP_SIZE).mask].min() > 0.9
    assert weight[0, 0, 0, 0] < 0.05 and weight[0, 0, -1, -1] < 0.05


def test_head_weight_map_follows_the_head_s_shift_and_turn(faces):
    prior = prior_head_weights()
    here, there = (prior.at(faces.mesh(shift=shift), CROP_SIZE)[0, 0] for shift in ((0, 0), (10, -6)))
    assert torch.allclose(torch.roll(here, (-6, 10), (0, 1))[20:-20, 20:-20], there[20:-20, 20:-20], atol=1e-3)
    upright = torch.zeros(MAP_SIZE, MAP_SIZE)
    upright[: MAP_SIZE // 3] = 1  # above the head
    # A rotation vector along z turns points of the frame the other way: the head leans to the image's left.
    leaning = HeadWeightMap(upright).at(faces.mesh(turn=(0, 0, np.pi / 2)), CROP_SIZE)[0, 0]
    sides = leaning[:, :32].mean(), leaning[:, -32:].mean()
    assert max(sides) > 0.8 and min(sides) < 0.05
    top = faces.mesh(turn=(0, 0, np.pi / 2))[0, 10, 0]
    assert (sides[0] > sides[1]) == bool(top < CROP_SIZE / 2)


@pytest.mark.parametrize("size", [128, 512])
def test_head_weight_map_is_alike_at_any_resolution(faces, size):
    prior, mesh = prior_head_weights(), faces.mesh(turn=(0, 0.1, 0.1))
    weight = interpolate(prior.at(mesh, size), size=(256, 256), mode="bilinear", align_corners=False)
    assert (weight - prior.at(mesh, 256)).abs().max() < 0.02


def test_prior_of_a_layered_person_moves_all_above_the_face_and_nothing_below_the_neck(faces):
    weight = prior_head_weights(layered=True).at(faces.mesh(), CROP_SIZE)[0, 0]
    assert weight[:128].min() > 0.99
    chin = faces.mesh()[0, 152, 1].int()
    assert weight[chin, 128] > 0.9 > 0.7 > weight[-20:].max()
    assert weight[chin, :10].max() < 0.4


def test_estimate_head_weights_does_not_look_at_the_background_of_a_layered_person(scene, triangles):
    """What the background does, which moves with the head in one scene and not in the other, says nothing of hair."""
    images, meshes, radius = scene
    person = torch.cat([disc([CROP_SIZE / 2 + x, CROP_SIZE / 2 + y], radius) for x, y in SHIFTS])
    moving = torch.cat([torch.roll(images[:1], (y - SHIFTS[0][1], x - SHIFTS[0][0]), (2, 3)) for x, y in SHIFTS])
    changed = torch.lerp(moving, images, person)
    prior = constant_map(0.5)
    alike = [estimate_head_weights(some, meshes, triangles, prior, person).weight for some in (images, changed)]
    looked = [estimate_head_weights(some, meshes, triangles, prior).weight for some in (images, changed)]
    assert (alike[0] - alike[1]).abs().mean() < 0.2 * (looked[0] - looked[1]).abs().mean()
    assert (looked[0] - looked[1]).abs().max() > 0.5
