"""Augmentation of face crops for the tracker's mesh network."""

import numpy as np
import pytest
import torch
from torch import Tensor

from thcli.checkpoints import shipped_weights
from thcli.face_model import OUTER_EYE_CORNERS, FaceModel
from thcli.training.augment import random_views, spoil, tracked_crops
from thcli.training.unprojection import mirror_permutation

DOTS = {33: (255, 0, 0), 263: (0, 255, 0), 1: (0, 0, 255), 61: (255, 255, 0), 291: (0, 255, 255), 152: (255, 0, 255)}
"""Colours in which some vertices are drawn."""


@pytest.fixture(scope="module")
def canonical() -> np.ndarray:
    return FaceModel.load(shipped_weights() / "face_model.safetensors").canonical


@pytest.fixture(scope="module")
def faces(canonical: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """Eight grey images [8, 3, 256, 256] with coloured dots at vertices, their meshes, and the mirror permutation."""
    random = np.random.default_rng(0)
    images, meshes = np.full((8, 256, 256, 3), 90, np.uint8), []
    for image in images:
        mesh = (canonical - canonical.mean(0)) * random.uniform(60, 80) + [128, 128, 0]
        for vertex, colour in DOTS.items():
            x, y = mesh[vertex, :2].astype(int)
            image[y - 3 : y + 4, x - 3 : x + 4] = colour
        meshes.append(mesh)
    meshes = torch.tensor(np.stack(meshes), dtype=torch.float32)
    return torch.from_numpy(images).permute(0, 3, 1, 2), meshes, torch.from_numpy(mirror_permutation(canonical))


def seed(value: int) -> torch.Generator:
    return torch.Generator().manual_seed(value)


def looked_up(crops: Tensor, points: Tensor) -> Tensor:
    """Colours [B, N, 3] of crops at points [B, N, 2] in units of the crop."""
    return torch.nn.functional.grid_sample(crops, points[:, None] * 2 - 1, align_corners=False)[:, :, 0].mT


def hue(colours: Tensor) -> Tensor:
    """The part of a colour that light and contrast do not change."""
    colours = colours - colours.mean(-1, keepdim=True)
    return colours / colours.norm(dim=-1, keepdim=True).clamp(min=1e-3)


def test_mirror_permutation_is_its_own_inverse_and_swaps_the_sides(canonical: np.ndarray) -> None:
    mirror = mirror_permutation(canonical)
    np.testing.assert_array_equal(mirror[mirror], np.arange(478))
    assert mirror[33] == 263 and mirror[61] == 291 and mirror[1] == 1 and mirror[152] == 152


def test_random_views_lay_the_mesh_on_the_face_in_the_crop(
    faces: tuple[Tensor, Tensor, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thcli.training.augment.spoil", lambda crops, *_, **__: crops)
    images, meshes, mirror = faces
    views = random_views(images, meshes, mirror, 192, seed(3), missed=0.0)
    # In a mirrored view the dot of the right eye is at the left eye, so the colours follow the permutation.
    drawn = hue(torch.tensor(list(DOTS.values())).float() / 255)
    seen = hue(looked_up(views.crops, views.mesh[:, list(DOTS), :2]))
    swapped = hue(looked_up(views.crops, views.mesh[:, mirror[list(DOTS)], :2]))
    plain = (seen * drawn).sum(-1).amin(1) > 0.9
    flipped = (swapped * drawn).sum(-1).amin(1) > 0.9
    assert (plain | flipped).all() and plain.any() and flipped.any()
    eyes = (views.mesh[:, OUTER_EYE_CORNERS[1]] - views.mesh[:, OUTER_EYE_CORNERS[0]])[:, 0]
    assert (eyes > 0).all()


def test_random_views_depend_on_the_seed_alone_and_say_which_crops_miss_the_face(
    faces: tuple[Tensor, Tensor, Tensor],
) -> None:
    images, meshes, mirror = faces
    one, two = (random_views(images, meshes, mirror, 64, seed(5), missed=0.5) for _ in range(2))
    assert torch.equal(one.crops, two.crops) and torch.equal(one.mesh, two.mesh) and torch.equal(one.face, two.face)
    assert one.crops.shape == (8, 3, 64, 64) and one.crops.min() >= 0 and one.crops.max() <= 1
    assert set(one.face.tolist()) == {0.0, 1.0}
    assert random_views(images, meshes, mirror, 64, seed(5), missed=0.0).face.all()
    centre = random_views(images, meshes, mirror, 64, seed(6), missed=0.0).mesh[..., :2].mean(1)
    assert (centre - 0.5).abs().max() < 0.3


def test_tracked_crops_are_upright_and_lead_back_to_the_image(faces: tuple[Tensor, Tensor, Tensor]) -> None:
    images, meshes, _ = faces
    turn = torch.tensor([[0.9, -0.436], [0.436, 0.9]])
    turned = torch.cat([(meshes[..., :2] - 128) @ turn.T + 128, meshes[..., 2:]], -1)
    crops, to_image = tracked_crops(images, turned, 96, seed(1))
    assert crops.shape == (8, 3, 96, 96)
    corners = to_image(torch.tensor([[[0.0, 0.0], [1.0, 0.0], [0.5, 0.5]]]).expand(8, 3, 2))
    across = corners[:, 1] - corners[:, 0]
    eyes = (turned[:, 263] - turned[:, 33])[:, :2]
    cosine = torch.nn.functional.cosine_similarity(across, eyes)
    torch.testing.assert_close(cosine, torch.ones(8), atol=1e-4, rtol=0)
    assert (corners[:, 2] - turned[..., :2].mean(1)).norm(dim=-1).max() < 0.2 * across.norm(dim=-1).max()


@pytest.mark.parametrize("occluded", [0.0, 1.0])
def test_spoil_keeps_shape_and_range(occluded: float) -> None:
    crops = spoil(torch.rand(16, 3, 64, 64, generator=seed(0)), seed(1), occluded, 0.25)
    assert crops.shape == (16, 3, 64, 64) and crops.min() >= 0 and crops.max() <= 1 and crops.isfinite().all()
