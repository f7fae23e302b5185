"""Lips and lids that close slide over what lies between them, and hide it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.face_model import INNER_LIPS, LIP_GAP, RIGHT_EYE, RIGHT_IRIS
from thcli.motion.silence import lip_closing, lip_gaps
from thcli.records import CROP_SIZE, ReferenceWeights
from thcli.render.head_weights import MAP_SIZE, HeadWeightMap
from thcli.render.layers import References
from thcli.render.openings import MOUTH, Openings
from thcli.render.rasterize import rasterize
from thcli.render.warp import pixel_grid
from thcli.render.warped import ReferenceWarper

ALL = HeadWeightMap(torch.ones(MAP_SIZE, MAP_SIZE))
SKIN, INSIDE = 0.5, 1.0


@pytest.fixture
def talking(faces):
    """A maker of meshes [1, V, 3] whose lips are apart by a share of the distance of the outer eye corners."""
    closed = lip_closing(lip_gaps(faces.model.canonical[None]), faces.model)[0]

    def mesh(gap: float, **given):
        change = lip_closing(np.full((1, 3, 2), [gap, 0.0], np.float32), faces.model)[0]
        return faces.mesh(closed - change, **given)

    return mesh


def covered(mesh, triangles, vertices) -> torch.Tensor:
    """Return where the triangles between some vertices are: [1, 1, 256, 256] bool."""
    fragments = rasterize(mesh, triangles, CROP_SIZE, CROP_SIZE)
    within = torch.isin(triangles, torch.tensor(vertices)).all(1)
    return (fragments.mask & within[fragments.face.clamp(min=0)])[:, None]


def shown(warper, mesh, part) -> tuple[torch.Tensor, int, int]:
    """Return the patch of mouth (0) or eyes (1) [3, h, w] on a mesh, and its corner."""
    one = np.ones((1, 1), np.float32)
    patch = warper.warp(mesh, ReferenceWeights(one, one, one))[1][part]
    return patch.image[0], patch.top, patch.left


def test_lips_that_meet_hide_the_teeth_of_an_open_mouth(talking, face_model, triangles):
    reference = talking(0.2)
    image = torch.where(covered(reference, triangles, INNER_LIPS), INSIDE, SKIN).expand(1, 3, -1, -1)
    warper = ReferenceWarper(References(image), reference, face_model, ALL)
    half, _, _ = shown(warper, talking(0.1), 0)
    closed, _, _ = shown(warper, talking(0.005), 0)
    assert half.max() > 0.95
    assert closed.max() < SKIN + 0.02
    assert closed.min() < 0.8 * SKIN  # the seam is dark


def test_lids_that_meet_hide_the_eyes(faces, face_model, triangles):
    reference = faces.mesh()
    eye = covered(reference, triangles, [*RIGHT_EYE, *RIGHT_IRIS])
    image = torch.where(eye, INSIDE, SKIN).expand(1, 3, -1, -1)
    warper = ReferenceWarper(References(image), reference, face_model, ALL)
    assert shown(warper, faces.mesh(), 1)[0].max() > 0.99
    assert shown(warper, faces.mesh(blink=1.0), 1)[0].max() < SKIN + 0.02


@pytest.mark.parametrize("turn", [0.0, 0.4])
def test_teeth_keep_their_size_as_lips_close(talking, face_model, triangles, turn):
    """An image whose brightness grows from one lip of the reference to the other tells where every pixel comes from."""
    reference, target = talking(0.25, turn=(0, 0, turn)), talking(0.14)
    first, last = (reference[0, vertex, :2] for vertex in LIP_GAP)
    down = (last - first) / (last - first).norm()
    along = torch.einsum("c,chw->hw", down, pixel_grid(CROP_SIZE) - first[:, None, None])
    image = (0.5 + along / CROP_SIZE).expand(1, 3, -1, -1)
    patch, top, left = shown(ReferenceWarper(References(image), reference, face_model, ALL), target, 0)
    (x, upper), (_, lower) = (target[0, vertex, :2].tolist() for vertex in LIP_GAP)
    below = (patch[0, :, round(x) - left] - 0.5) * CROP_SIZE
    place = torch.arange(len(below)) + top + 0.5
    near_upper = (place > upper + 1.5) & (place < upper + 0.4 * (lower - upper))
    near_lower = (place < lower - 1.5) & (place > upper + 0.8 * (lower - upper))
    assert near_upper.sum() >= 2
    assert near_lower.sum() >= 1
    assert torch.allclose(below[near_upper], (place - upper)[near_upper], atol=0.7)
    assert torch.allclose((last - first).norm() - below[near_lower], (lower - place)[near_lower], atol=0.7)


def test_nothing_slides_where_the_target_is_as_open_as_the_reference_or_wider(talking, triangles):
    reference = talking(0.1)
    openings = Openings(MOUTH, rasterize(reference, triangles, CROP_SIZE, CROP_SIZE), triangles)
    for gap, slides in ((0.1, False), (0.2, False), (0.05, True)):
        target = talking(gap, turn=(0.05, 0.1, 0.2))
        fragments = rasterize(target, triangles, CROP_SIZE, CROP_SIZE)
        assert (openings.slides(fragments, [(0, 0)], target, reference) is not None) == slides


def test_only_the_pairs_that_close_slide(talking, triangles):
    references = torch.cat([talking(0.2), talking(0.05)])
    targets = torch.cat([talking(0.2), talking(0.05)])
    fragments = rasterize(targets, triangles, CROP_SIZE, CROP_SIZE)
    pairs = [(0, 0), (0, 1), (1, 0), (1, 1)]
    openings = Openings(MOUTH, rasterize(references, triangles, CROP_SIZE, CROP_SIZE), triangles)
    some = openings.slides(fragments, pairs, targets[[0, 0, 1, 1]], references[[0, 1, 0, 1]])
    assert some is not None
    assert some.pairs == [(1, 0)]
    assert some.values.shape == (1, 6, CROP_SIZE, CROP_SIZE)
