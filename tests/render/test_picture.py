"""The geometric picture: references moved onto a mesh, and the windows of mouth and eyes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from thcli.face_model import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from thcli.images import blur
from thcli.records import CROP_SIZE
from thcli.render.head_weights import MAP_SIZE, Attachment, prior_attachment
from thcli.render.warped import BORDER, PictureRenderer

ALL = Attachment(torch.ones(MAP_SIZE, MAP_SIZE))


def astronaut(size: int = CROP_SIZE) -> torch.Tensor:
    """[1, 3, size, size], head and shoulders of a person."""
    from skimage.data import astronaut

    image = torch.from_numpy(astronaut()[:256, 96:352].copy()).permute(2, 0, 1)[None].float() / 255
    return interpolate(image, size=(size, size), mode="bicubic", antialias=True).clamp(0, 1)


def one(count: int, k: int, batch: int = 1) -> np.ndarray:
    return np.repeat(np.eye(count, dtype=np.float32)[[k]], batch, axis=0)


def whole(window, base):
    """Image and mask of a window in the size of the picture."""
    height, width = window.image.shape[-2:]
    image, mask = base.clone(), torch.zeros_like(base[:, :1])
    image[..., window.top : window.top + height, window.left : window.left + width] = window.image
    mask[..., window.top : window.top + height, window.left : window.left + width] = window.mask
    return image, mask


@pytest.mark.parametrize("attachment", [ALL, prior_attachment()], ids=["all", "prior"])
@pytest.mark.parametrize("size", [256, 301])
def test_a_mesh_that_stays_gives_the_reference(face_model, faces, attachment, size):
    image, mesh = astronaut(size), faces.mesh(turn=(0.05, 0.2, -0.1))
    renderer = PictureRenderer(image, mesh, face_model, attachment)
    picture, windows = renderer.draw(mesh, one(1, 0), one(1, 0), one(1, 0))
    assert picture.shape == (1, 3, size, size)
    assert (picture - image).abs().max() < 1 / 255
    for window in windows:
        shown, mask = whole(window, picture)
        # a pixel's worth of rounding where the window's edge lies between pixels of a larger picture
        assert ((shown - image).abs() * mask).max() < 1 / 255


def test_a_shifted_mesh_shifts_what_is_attached(face_model, faces, texture):
    renderer = PictureRenderer(texture, faces.mesh(), face_model, ALL)
    picture, _ = renderer.draw(faces.mesh(shift=(6, -4)), one(1, 0), one(1, 0), one(1, 0))
    expected = torch.roll(texture, (-4, 6), (2, 3))
    # toward the border the picture comes to rest
    free = int(BORDER * CROP_SIZE) + 7
    assert (picture - expected)[..., free:-free, free:-free].abs().max() < 1.5 / 255
    edge = torch.ones(CROP_SIZE, CROP_SIZE, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert (picture - texture)[..., edge].abs().max() < 6 / 255


def test_what_is_not_attached_stays(face_model, faces, texture):
    renderer = PictureRenderer(texture, faces.mesh(), face_model, Attachment(torch.zeros(MAP_SIZE, MAP_SIZE)))
    picture, _ = renderer.draw(faces.mesh(shift=(6, -4)), one(1, 0), one(1, 0), one(1, 0))
    assert (picture - texture).abs().max() < 1 / 255


def test_what_the_references_do_not_truly_show_rests(face_model, faces, texture):
    """A picture that reaches beyond its frame rests at the frame's border, and moves freely inside."""
    mesh, target, shown = faces.mesh(), faces.mesh(shift=(8, 5)), (0.0, 0.125, 0.9, 1.0)
    renderer = PictureRenderer(texture, mesh, face_model, ALL, shown=shown)
    picture, _ = renderer.draw(target, one(1, 0), one(1, 0), one(1, 0))
    beyond = torch.ones(CROP_SIZE, CROP_SIZE, dtype=torch.bool)
    beyond[32:, :230] = False
    assert (picture - texture)[..., beyond].abs().max() < 1 / 255
    moved = torch.roll(texture, (5, 8), (2, 3))
    assert (picture - moved)[..., 64:220, 40:196].abs().max() < 1.5 / 255


def test_windows_cover_lips_and_lids(face_model, faces):
    mesh = faces.mesh(np.full(20, 0.4, np.float32), turn=(0.1, 0.15, 0), shift=(5, 3))
    renderer = PictureRenderer(astronaut(), faces.mesh(), face_model, ALL)
    picture, windows = renderer.draw(mesh, one(1, 0), one(1, 0), one(1, 0))
    assert len(windows) == 2
    for window, seeds in zip(windows, ([*OUTER_LIPS, *INNER_LIPS], [*RIGHT_EYE, *LEFT_EYE]), strict=True):
        _, mask = whole(window, picture)
        assert 0 <= mask.min() <= mask.max() <= 1 + 1e-5
        place = mesh[:, None, seeds, :2] / CROP_SIZE * 2 - 1
        at_seeds = torch.nn.functional.grid_sample(mask, place, align_corners=False)[0, 0, 0]
        assert at_seeds.min() > 0.9
        # it fades before the window ends
        assert max(mask[..., window.top, :].max(), mask[..., window.left].max()) < 0.2
    mouth, eyes = (whole(window, picture)[1] for window in windows)
    nose = mesh[0, 4, :2].long()
    assert eyes[0, 0, nose[1], nose[0]] < 0.1
    assert (mouth * eyes).max() < 0.2


def test_each_part_comes_from_its_own_reference(face_model, faces):
    """References in three colours: the picture has the first's, the mouth the second's, the eyes the third's."""
    colours = torch.eye(3).view(3, 3, 1, 1).expand(3, 3, CROP_SIZE, CROP_SIZE)
    meshes = faces.mesh().expand(3, -1, -1)
    renderer = PictureRenderer(colours, meshes, face_model, ALL)
    picture, (mouth, eyes) = renderer.draw(faces.mesh(), one(3, 0), one(3, 1), one(3, 2))
    for image, colour in ((picture, 0), (mouth.image, 1), (eyes.image, 2)):
        assert torch.allclose(image, torch.eye(3)[colour].view(1, 3, 1, 1).expand_as(image), atol=1e-5)
    mixed = np.array([[0.25, 0.0, 0.75]], np.float32)
    picture, (mouth, _) = renderer.draw(faces.mesh(), mixed, mixed, mixed)
    for image in (picture, mouth.image):
        assert torch.allclose(image.mean((0, 2, 3)), torch.tensor([0.25, 0, 0.75]), atol=1e-4)


def test_a_batch_is_its_frames(face_model, faces):
    images = torch.cat([astronaut(), 1 - astronaut()])
    meshes = torch.cat([faces.mesh(), faces.mesh(shift=(4, 0))])
    renderer = PictureRenderer(images, meshes, face_model, prior_attachment())
    targets = torch.cat([faces.mesh(turn=(0, 0.1 * i, 0), shift=(i, -i)) for i in range(3)])
    base = np.array([[1, 0], [0.5, 0.5], [0, 1]], np.float32)
    picture, windows = renderer.draw(targets, base, base[::-1].copy(), base)
    for row in range(3):
        alone, parts = renderer.draw(
            targets[row : row + 1], base[row : row + 1], base[2 - row : 3 - row], base[row : row + 1]
        )
        assert torch.allclose(picture[row], alone[0], atol=1e-4)
        for window, part in zip(windows, parts, strict=True):
            image, mask = whole(part, alone)
            mask = mask[0]
            same, _ = whole(window, picture)
            assert ((same[row] - image[0]).abs() * (mask > 0)).max() < 2 / 255


@pytest.mark.parametrize("size", [64, 201, 400])
def test_pictures_of_any_size_are_finite_and_show_the_same(face_model, faces, size):
    target = faces.mesh(np.full(20, -0.5, np.float32), blink=1.0, turn=(-0.1, 0.3, 0.1), shift=(-9, 7))
    pictures = []
    for side in (size, CROP_SIZE):
        renderer = PictureRenderer(astronaut(side), faces.mesh(), face_model, prior_attachment())
        picture, windows = renderer.draw(target, one(1, 0), one(1, 0), one(1, 0))
        assert picture.isfinite().all() and 0 <= picture.min() <= picture.max() <= 1
        for window in windows:
            assert window.image.isfinite().all() and 0 <= window.image.min() <= window.image.max() <= 1
            assert window.top >= 0 and window.left >= 0
            assert window.top + window.image.shape[2] <= side and window.left + window.image.shape[3] <= side
            assert window.mask.shape == (1, 1, *window.image.shape[2:])
        pictures.append(interpolate(picture, size=(64, 64), mode="bilinear", antialias=True))
    assert (pictures[0] - pictures[1]).abs().mean() < 0.02


@pytest.mark.parametrize("shift", [(110, 0), (0, 120), (400, 400)])
def test_faces_that_leave_the_picture(face_model, faces, shift):
    renderer = PictureRenderer(astronaut(), faces.mesh(), face_model, prior_attachment())
    picture, windows = renderer.draw(faces.mesh(shift=shift), one(1, 0), one(1, 0), one(1, 0))
    assert picture.isfinite().all()
    assert all(window.image.isfinite().all() for window in windows)


def test_squeezed_parts_of_large_pictures_are_not_blurred_more(face_model, faces):
    """Of detail as fine as their pixels, as much is left where lids close."""
    left, target = [], faces.mesh(blink=1.0)
    for size in (256, 640):
        grain = torch.rand(1, 3, size // 5, size // 5, generator=torch.Generator().manual_seed(3))
        image = interpolate(grain, size=(size, size), mode="bicubic").clamp(0, 1)
        renderer = PictureRenderer(image, faces.mesh(), face_model, ALL)
        picture, windows = renderer.draw(target, one(1, 0), one(1, 0), one(1, 0))
        shown, _ = whole(windows[1], picture)
        lids = target[0, [*LEFT_EYE], :2] * size / CROP_SIZE
        (x0, y0), (x1, y1) = lids.amin(0).int().tolist(), lids.amax(0).int().tolist()
        left.append(float((shown - blur(shown, 4.0))[..., y0 : y1 + 1, x0 : x1 + 1].std() / image.std()))
    assert 0.5 < left[0] <= left[1]
