"""Rendered images are pasted back into the clip's own frames."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.cropping import crop_frame
from thcli.records import CropBox
from thcli.render.paste import FEATHER, Paster, head_mask, soft_border

BOXES = {
    "inside": CropBox(40, 30, 101),
    "at the corner": CropBox(0, 0, 90),
    "beyond one side": CropBox(-17, 20, 110),
    "beyond two sides": CropBox(120, 70, 131),
    "beyond all sides": CropBox(-20, -40, 260),
    "tall": CropBox(30, -25, 171),
}


def frames(count: int = 2, height: int = 151, width: int = 203) -> np.ndarray:
    """Return random frames of odd size."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def one(count: int, k: int) -> np.ndarray:
    """Return weights [1, count] of reference k alone."""
    return np.eye(count, dtype=np.float32)[[k]]


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_paster_gives_the_frame_again_for_its_own_crop(box):
    whole = frames()
    paster = Paster(whole, box)
    for k in range(2):
        crop = crop_frame(whole[k], box, box.side)
        assert np.array_equal(paster.paste(crop[None], one(2, k))[0], whole[k])


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_paster_changes_the_frame_inside_the_box_only(box):
    whole = np.full((1, 151, 203, 3), 50, np.uint8)
    made = Paster(whole, box).paste(np.full((1, box.side, box.side, 3), 200, np.uint8), one(1, 0))[0]
    assert made.shape == whole[0].shape and made.dtype == np.uint8
    rows, columns = np.arange(151) + 0.5 - box.y0, np.arange(203) + 0.5 - box.x0
    inside = ((rows > 0) & (rows < box.side))[:, None] & ((columns > 0) & (columns < box.side))
    assert (made[~inside] == 50).all() and (made[inside] == 200).all()


def test_paster_blends_the_frames_behind_by_the_weights():
    whole = np.stack([np.full((151, 203, 3), value, np.uint8) for value in (40, 80, 200)])
    paster = Paster(whole, CropBox(60, 40, 60))
    images = np.full((3, 60, 60, 3), 100, np.uint8)
    weights = np.array([[0, 1, 0], [0.5, 0.5, 0], [0.25, 0, 0.75]], np.float32)
    made = paster.paste(images, weights)
    assert [int(frame[0, 0, 0]) for frame in made] == [80, 60, 160]
    assert (made[:, 70, 90] == 100).all()


def test_paster_leaves_the_reference_frames_unmodified():
    whole = frames()
    before = whole.copy()
    paster = Paster(whole, BOXES["inside"])
    paster.paste(np.zeros((2, 101, 101, 3), np.uint8), np.array([[1, 0], [0.5, 0.5]], np.float32))
    assert np.array_equal(whole, before)


def test_soft_border_fades_only_where_the_outer_square_goes_on():
    border = soft_border(CropBox(40, 10, 120), CropBox(0, 10, 200)).numpy()
    assert border.shape == (120, 120)
    along, down = border[60], border[:, 60]
    width = int(FEATHER * 120)
    assert along[0] < 0.05 and along[-1] < 0.05 and (along[width + 1 : -width - 1] == 1).all()
    assert np.abs(np.diff(along)).max() < 0.3
    # Both squares have the same upper edge.
    assert (down[: -width - 1] == 1).all() and down[-1] < 0.05
    assert (soft_border(BOXES["inside"], BOXES["inside"]) == 1).all()


def disc(x: float, y: float, radius: float = 50.0) -> torch.Tensor:
    """Return a mask [1, 1, 256, 256] of a disc around a point."""
    rows, columns = torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="ij")
    return ((columns - x) ** 2 + (rows - y) ** 2 < radius**2).float()[None, None]


def test_head_mask_covers_the_head_softly_and_nothing_else():
    mask = head_mask(disc(120, 110))
    assert mask.shape == (1, 1, 256, 256) and mask.min() >= 0 and mask.max() <= 1 + 1e-5
    assert mask[disc(120, 110, 48) > 0].min() > 0.85
    assert mask[disc(120, 110, 85) == 0].max() < 0.01
    for axis in (2, 3):
        assert mask.diff(dim=axis).abs().max() < 0.15


def test_head_mask_follows_the_head():
    moved = torch.roll(head_mask(disc(120, 110)), (9, -14), (2, 3))
    assert torch.allclose(head_mask(disc(106, 119)), moved, atol=1e-5)


def test_head_mask_leaves_out_what_hardly_moves_with_the_head():
    assert head_mask(0.45 * disc(120, 110)).max() == 0
    neck = head_mask(0.7 * disc(120, 110))[0, 0, 110, 120]
    assert 0.2 < neck < 0.8
