"""Transitions between references are aligned, and show one picture."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.images import blur, resized
from thcli.records import CROP_SIZE, ReferenceWeights
from thcli.render.head_weights import prior_head_weights
from thcli.render.layers import References
from thcli.render.transition import COLOURS, SIZE, dissolve, flow_between, follow, which_is_nearer
from thcli.render.warp import sample
from thcli.render.warped import FLOW_SIZE, ReferenceWarper

FREE = torch.ones(FLOW_SIZE, FLOW_SIZE)
INSIDE = (..., slice(40, -40), slice(40, -40))


def texture(seed: int = 0) -> torch.Tensor:
    """Return a picture [3, 256, 256] with detail of all sizes."""
    noise = torch.rand(1, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(seed))
    layers = [(blur(noise, sigma) - 0.5) * sigma for sigma in (1.0, 4.0, 12.0)]
    return (0.5 + sum(layers)[0]).clamp(0, 1)


def resting(count: int) -> torch.Tensor:
    """Return flows [count, 2, 2, 128, 128] that leave both references as they are."""
    return torch.zeros(count, 2, 2, FLOW_SIZE, FLOW_SIZE)


def between(pictures: torch.Tensor, share: list[float], free: torch.Tensor = FREE) -> torch.Tensor:
    """Return images on the way between pictures [N, 2, 3, 256, 256] that rest."""
    shares = torch.tensor(share)
    nearer = pictures[torch.arange(len(pictures)), which_is_nearer(shares)]
    small = resized(pictures.flatten(0, 1), COLOURS).view(*pictures.shape[:3], COLOURS, COLOURS)
    return dissolve(nearer, small, resting(len(pictures)), shares, free)


@pytest.mark.parametrize("shift", [(0.0, 0.0), (3.0, -2.0), (-5.0, 1.0)])
def test_flow_between_finds_how_far_a_picture_moved(shift):
    image = torch.nn.functional.avg_pool2d(texture()[None].mean(1, keepdim=True), CROP_SIZE // SIZE)
    there = torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, SIZE, SIZE)
    moved = sample(image, -there * (CROP_SIZE / SIZE))
    found = flow_between(image, moved)[..., 16:-16, 16:-16]
    assert (found - there[..., 16:-16, 16:-16]).abs().mean() < 0.2


def test_flow_between_of_pictures_without_detail_is_nothing():
    plain = torch.full((1, 1, SIZE, SIZE), 0.3)
    assert torch.equal(flow_between(plain, plain + 0.2), torch.zeros(1, 2, SIZE, SIZE))


def test_follow_does_one_flow_after_the_other():
    image = texture()[None]
    first, second = (
        torch.tensor(move).view(1, 2, 1, 1).expand(1, 2, FLOW_SIZE, FLOW_SIZE) for move in ((6, 0), (0, -4))
    )
    at_once = sample(image, follow(second.float(), first.float()))
    assert (at_once - torch.roll(image, (4, -6), (2, 3)))[INSIDE].abs().max() < 1e-3


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_dissolve_shows_a_moved_picture_once_on_its_way(share):
    first = texture()
    second = torch.roll(first, 8, 2)
    made = between(torch.stack([first, second])[None], [share])[0]
    there = torch.roll(first, round(8 * share), 2)
    faded = (1 - share) * first + share * second
    error = (made - there)[INSIDE].abs().mean()
    assert error < 0.01
    if 0 < share < 1:
        assert error < 0.3 * (faded - there)[INSIDE].abs().mean()


def test_dissolve_shows_the_nearer_one_of_pictures_that_cannot_be_aligned():
    black, white = torch.zeros(3, CROP_SIZE, CROP_SIZE), torch.ones(3, CROP_SIZE, CROP_SIZE)
    pictures = torch.stack([black, white])[None].expand(2, -1, -1, -1, -1)
    made = between(pictures, [0.4, 0.6])
    assert made[0].max() < 0.01 and made[1].min() > 0.99


def test_dissolve_leaves_what_must_not_move_where_it_is():
    first = texture()
    pictures = torch.stack([first, torch.roll(first, 8, 2)])[None]
    moved = between(pictures, [0.25])
    held = between(pictures, [0.25], torch.zeros_like(FREE))
    detail = (held - blur(held, 2.0))[0], first - blur(first[None], 2.0)[0]
    assert (detail[0] - detail[1])[INSIDE].abs().mean() < 0.25 * (moved[0] - first)[INSIDE].abs().mean()


def test_warp_dissolves_only_where_it_is_asked_to_and_between_two_references(face_model, faces):
    images = torch.stack([texture(), torch.roll(texture(), (5, 5), (1, 2))])
    meshes = torch.cat([faces.mesh(), faces.mesh(shift=(4, 0))])
    warper = ReferenceWarper(References(images), meshes, face_model, prior_head_weights())
    targets = torch.cat([faces.mesh(shift=(i, 0)) for i in range(3)])
    base = np.array([[1, 0], [0.6, 0.4], [0, 1]], np.float32)
    weights = [ReferenceWeights(base, base, base, asked) for asked in (False, True)]
    plain, dissolved = (warper.warp(targets, one)[0] for one in weights)
    assert torch.equal(plain[[0, 2]], dissolved[[0, 2]])
    assert (plain[1] - dissolved[1]).abs().mean() > 0.01
    together = [image for image, _ in warper.warp_each(targets, [(References(images), one) for one in weights])]
    assert torch.equal(together[0], plain) and torch.equal(together[1], dissolved)
    alone = warper.warp(targets[1:2], weights[1].select(slice(1, 2)))[0]
    assert torch.allclose(alone[0], dissolved[1], atol=1e-4)
