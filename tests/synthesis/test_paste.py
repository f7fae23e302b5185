"""The crop back in the clip's own frame."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.faces.crop import CropBox, crop_frame
from thcli.synthesis.paste import FEATHER, Paster

BOXES = {
    "inside": CropBox(40, 30, 101),
    "at the corner": CropBox(0, 0, 90),
    "beyond one side": CropBox(-17, 20, 110),
    "beyond two sides": CropBox(120, 70, 131),
    "beyond all sides": CropBox(-20, -40, 260),
    "tall": CropBox(30, -25, 171),
}


def frames(count: int = 2, height: int = 151, width: int = 203) -> np.ndarray:
    """Odd sizes."""
    return np.random.default_rng(0).integers(0, 256, (count, height, width, 3), np.uint8)


def one(count: int, k: int) -> np.ndarray:
    return np.eye(count, dtype=np.float32)[[k]]


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_the_frame_s_own_crop_gives_the_frame(box):
    whole = frames()
    paster = Paster(whole, box)
    for k in range(2):
        crop = crop_frame(whole[k], box, box.side)
        assert np.array_equal(paster.paste(crop[None], one(2, k))[0], whole[k])


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_the_picture_is_there_and_beyond_the_crop_nothing_changes(box):
    whole = np.full((1, 151, 203, 3), 50, np.uint8)
    made = Paster(whole, box).paste(np.full((1, box.side, box.side, 3), 200, np.uint8), one(1, 0))[0]
    assert made.shape == whole[0].shape and made.dtype == np.uint8
    rows, columns = np.arange(151) + 0.5 - box.y0, np.arange(203) + 0.5 - box.x0
    inside = ((rows > 0) & (rows < box.side))[:, None] & ((columns > 0) & (columns < box.side))
    assert (made[~inside] == 50).all()
    deep = FEATHER * box.side
    core = ((rows > deep) & (rows < box.side - deep))[:, None] & ((columns > deep) & (columns < box.side - deep))
    assert (made[core] == 200).all()


def test_the_border_is_soft_within_the_frame_and_whole_at_its_edge():
    whole = np.zeros((1, 151, 203, 3), np.uint8)
    made = Paster(whole, CropBox(0, 20, 120)).paste(np.full((1, 120, 120, 3), 255, np.uint8), one(1, 0))[0, ..., 0]
    assert (made[60, :100] == 255).all()
    along = made[60].astype(int)
    assert np.abs(np.diff(along)).max() < 60
    down = made[:, 50].astype(int)
    assert (down[:20] == 0).all() and np.abs(np.diff(down)).max() < 60
    assert np.array_equal(down[20:140], down[20:140][::-1])


def test_the_frame_behind_is_blended_as_the_crop_was():
    whole = np.stack([np.full((151, 203, 3), value, np.uint8) for value in (40, 80, 200)])
    paster = Paster(whole, CropBox(60, 40, 60))
    crops = np.full((3, 60, 60, 3), 100, np.uint8)
    weights = np.array([[0, 1, 0], [0.5, 0.5, 0], [0.25, 0, 0.75]], np.float32)
    made = paster.paste(crops, weights)
    assert [int(frame[0, 0, 0]) for frame in made] == [80, 60, 160]
    assert (made[:, 70, 90] == 100).all()


def test_references_stay_as_they_are():
    whole = frames()
    before = whole.copy()
    paster = Paster(whole, BOXES["inside"])
    paster.paste(np.zeros((2, 101, 101, 3), np.uint8), np.array([[1, 0], [0.5, 0.5]], np.float32))
    assert np.array_equal(whole, before)


def test_tiny_crops():
    whole = frames()
    made = Paster(whole, CropBox(5, 5, 3)).paste(np.full((1, 3, 3, 3), 255, np.uint8), one(2, 0))[0]
    assert (made[6, 6] == 255).all()
    assert np.array_equal(made[20:], whole[0, 20:])
