"""The warper moves references onto a target mesh and gives patches of mouth and eyes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from thcli.face_model import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from thcli.images import blur
from thcli.records import CROP_SIZE, ReferenceWeights
from thcli.render.head_weights import MAP_SIZE, HeadWeightMap, prior_head_weights
from thcli.render.layers import References
from thcli.render.warped import BORDER, ReferenceWarper

ALL = HeadWeightMap(torch.ones(MAP_SIZE, MAP_SIZE))


def astronaut(size: int = CROP_SIZE) -> torch.Tensor:
    """Return an image [1, 3, size, size] of the head and shoulders of a person."""
    from skimage.data import astronaut

    image = torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None].float() / 255
    return interpolate(image, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def one(count: int, k: int) -> np.ndarray:
    """Return weights [1, count] of reference k alone."""
    return np.eye(count, dtype=np.float32)[[k]]


def whole(patch, base):
    """Return the image and the mask of a patch at the size of the whole image."""
    height, width = patch.image.shape[-2:]
    image, mask = base.clone(), torch.zeros_like(base[:, :1])
    image[..., patch.top : patch.top + height, patch.left : patch.left + width] = patch.image
    mask[..., patch.top : patch.top + height, patch.left : patch.left + width] = patch.mask
    return image, mask


@pytest.mark.parametrize("head_weights", [ALL, prior_head_weights()], ids=["all", "prior"])
@pytest.mark.parametrize("size", [256, 301])
def test_warp_onto_the_reference_s_own_mesh_gives_the_reference(face_model, faces, head_weights, size):
    image, mesh = astronaut(size), faces.mesh(turn=(0.05, 0.2, -0.1))
    warper = ReferenceWarper(References(image), mesh, face_model, head_weights)
    warped, patches = warper.warp(mesh, ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    assert warped.shape == (1, 3, size, size)
    assert (warped - image).abs().max() < 1 / 255
    for patch in patches:
        shown, mask = whole(patch, warped)
        # The edge of a window may lie between pixels of a larger image, which costs a rounding.
        assert ((shown - image).abs() * mask).max() < 1 / 255


def test_warp_onto_a_shifted_mesh_shifts_what_moves_with_the_head(face_model, faces, texture):
    warper = ReferenceWarper(References(texture), faces.mesh(), face_model, ALL)
    warped, _ = warper.warp(faces.mesh(shift=(6, -4)), ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    expected = torch.roll(texture, (-4, 6), (2, 3))
    # The image moves less and less toward its border.
    free = int(BORDER * CROP_SIZE) + 7
    assert (warped - expected)[..., free:-free, free:-free].abs().max() < 1.5 / 255
    edge = torch.ones(CROP_SIZE, CROP_SIZE, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert (warped - texture)[..., edge].abs().max() < 6 / 255


def test_warp_leaves_what_does_not_move_with_the_head(face_model, faces, texture):
    warper = ReferenceWarper(
        References(texture), faces.mesh(), face_model, HeadWeightMap(torch.zeros(MAP_SIZE, MAP_SIZE))
    )
    warped, _ = warper.warp(faces.mesh(shift=(6, -4)), ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    assert (warped - texture).abs().max() < 1 / 255


def test_warp_rests_where_the_references_show_nothing(face_model, faces, texture):
    """An image that reaches beyond its frame rests at the border of the frame and moves freely inside."""
    mesh, target, shown = faces.mesh(), faces.mesh(shift=(8, 5)), (0.0, 0.125, 0.9, 1.0)
    warper = ReferenceWarper(References(texture), mesh, face_model, ALL, shown=shown)
    warped, _ = warper.warp(target, ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    beyond = torch.ones(CROP_SIZE, CROP_SIZE, dtype=torch.bool)
    beyond[32:, :230] = False
    # Flows are computed on a grid of half the resolution, whose first moving place is a pixel inside.
    assert (warped - texture)[..., beyond].abs().max() < 1.5 / 255
    moved = torch.roll(texture, (5, 8), (2, 3))
    assert (warped - moved)[..., 64:220, 40:196].abs().max() < 1.5 / 255


def test_warp_patches_cover_lips_and_lids(face_model, faces):
    mesh = faces.mesh(np.full(20, 0.4, np.float32), turn=(0.1, 0.15, 0), shift=(5, 3))
    warper = ReferenceWarper(References(astronaut()), faces.mesh(), face_model, ALL)
    warped, patches = warper.warp(mesh, ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    assert len(patches) == 2
    for patch, seeds in zip(patches, ([*OUTER_LIPS, *INNER_LIPS], [*RIGHT_EYE, *LEFT_EYE]), strict=True):
        _, mask = whole(patch, warped)
        assert 0 <= mask.min() <= mask.max() <= 1 + 1e-5
        place = mesh[:, None, seeds, :2] / CROP_SIZE * 2 - 1
        at_seeds = torch.nn.functional.grid_sample(mask, place, align_corners=False)[0, 0, 0]
        assert at_seeds.min() > 0.9
        # The mask fades before the window ends.
        assert max(mask[..., patch.top, :].max(), mask[..., patch.left].max()) < 0.2
    mouth, eyes = (whole(patch, warped)[1] for patch in patches)
    nose = mesh[0, 4, :2].long()
    assert eyes[0, 0, nose[1], nose[0]] < 0.1
    assert (mouth * eyes).max() < 0.2


def test_warp_takes_each_part_from_its_own_reference(face_model, faces):
    """Of three references in three colours, the image has the first, the mouth the second, the eyes the third."""
    colours = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, CROP_SIZE, CROP_SIZE)
    meshes = faces.mesh().expand(3, -1, -1)
    warper = ReferenceWarper(References(colours), meshes, face_model, ALL)
    warped, (mouth, eyes) = warper.warp(faces.mesh(), ReferenceWeights(one(3, 0), one(3, 1), one(3, 2)))
    for image, colour in ((warped, 0), (mouth.image, 1), (eyes.image, 2)):
        assert torch.allclose(image, torch.eye(3)[colour].view(1, 3, 1, 1).expand_as(image), atol=1e-5)
    mixed = np.array([[0.25, 0.0, 0.75]], np.float32)
    warped, (mouth, _) = warper.warp(faces.mesh(), ReferenceWeights(mixed, mixed, mixed))
    for image in (warped, mouth.image):
        assert torch.allclose(image.mean((0, 2, 3)), torch.tensor([0.25, 0, 0.75]), atol=1e-4)


def test_warp_of_a_batch_equals_warp_of_each_frame(face_model, faces):
    images = torch.cat([astronaut(), 1 - astronaut()])
    meshes = torch.cat([faces.mesh(), faces.mesh(shift=(4, 0))])
    warper = ReferenceWarper(References(images), meshes, face_model, prior_head_weights())
    targets = torch.cat([faces.mesh(turn=(0, 0.1 * i, 0), shift=(i, -i)) for i in range(3)])
    base = np.array([[1, 0], [0.5, 0.5], [0, 1]], np.float32)
    warped, patches = warper.warp(targets, ReferenceWeights(base, base[::-1].copy(), base))
    for row in range(3):
        alone, parts = warper.warp(
            targets[row : row + 1],
            ReferenceWeights(base[row : row + 1], base[2 - row : 3 - row], base[row : row + 1]),
        )
        assert torch.allclose(warped[row], alone[0], atol=1e-4)
        for patch, part in zip(patches, parts, strict=True):
            image, mask = whole(part, alone)
            same, _ = whole(patch, warped)
            assert ((same[row] - image[0]).abs() * (mask[0] > 0)).max() < 2 / 255


@pytest.mark.parametrize("size", [64, 201, 400])
def test_warp_shows_the_same_at_any_size(face_model, faces, size):
    target = faces.mesh(np.full(20, -0.5, np.float32), blink=1.0, turn=(-0.1, 0.3, 0.1), shift=(-9, 7))
    images = []
    for side in (size, CROP_SIZE):
        warper = ReferenceWarper(References(astronaut(side)), faces.mesh(), face_model, prior_head_weights())
        warped, patches = warper.warp(target, ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
        assert warped.isfinite().all() and 0 <= warped.min() <= warped.max() <= 1
        for patch in patches:
            assert patch.image.isfinite().all() and 0 <= patch.image.min() <= patch.image.max() <= 1
            assert patch.top >= 0 and patch.left >= 0
            assert patch.top + patch.image.shape[2] <= side and patch.left + patch.image.shape[3] <= side
            assert patch.mask.shape == (1, 1, *patch.image.shape[2:])
        images.append(interpolate(warped, size=(64, 64), mode="bilinear", antialias=True))
    assert (images[0] - images[1]).abs().mean() < 0.02


@pytest.mark.parametrize("shift", [(110, 0), (0, 120), (400, 400)])
def test_warp_is_finite_for_faces_that_leave_the_image(face_model, faces, shift):
    warper = ReferenceWarper(References(astronaut()), faces.mesh(), face_model, prior_head_weights())
    warped, patches = warper.warp(faces.mesh(shift=shift), ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
    assert warped.isfinite().all()
    assert all(patch.image.isfinite().all() for patch in patches)


def test_warp_does_not_blur_squeezed_lids_of_large_images_more(face_model, faces):
    """At least as much detail of the size of a pixel is left in a large image as in a small one."""
    left, target = [], faces.mesh()
    target[..., 0] = CROP_SIZE / 2 + 0.4 * (target[..., 0] - CROP_SIZE / 2)
    for size in (256, 640):
        grain = torch.rand(1, 3, size // 5, size // 5, generator=torch.Generator().manual_seed(3))
        image = interpolate(grain, size=(size, size), mode="bicubic").clamp(0, 1)
        warper = ReferenceWarper(References(image), faces.mesh(), face_model, ALL)
        warped, patches = warper.warp(target, ReferenceWeights(one(1, 0), one(1, 0), one(1, 0)))
        shown, _ = whole(patches[1], warped)
        lids = target[0, [*LEFT_EYE], :2] * size / CROP_SIZE
        (x0, y0), (x1, y1) = lids.amin(0).int().tolist(), lids.amax(0).int().tolist()
        left.append(float((shown - blur(shown, 4.0))[..., y0 : y1 + 1, x0 : x1 + 1].std() / image.std()))
    assert 0.5 < left[0] <= left[1]
