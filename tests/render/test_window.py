"""Parts of windows: maps enlarged to their pixels, and values moved from part to part."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from thcli.records import CROP_SIZE
from thcli.render.generator import PART_STEP
from thcli.render.window import (
    EVEN,
    WINDOW_STEP,
    Rectangle,
    changed_box,
    enlarged,
    enlarged_part,
    fitted,
    in_window,
    part_around,
    reduced_part,
)


def smooth_map(channels: int = 2) -> torch.Tensor:
    small = torch.rand(1, channels, 12, 12, generator=torch.Generator().manual_seed(0))
    return F.interpolate(small, size=(CROP_SIZE, CROP_SIZE), mode="bilinear")


@pytest.mark.parametrize("size", [208, 256, 320, 544])
@pytest.mark.parametrize("place", [(0.0, 0.0), (0.31, 0.47), (0.6, 0.52)])
def test_enlarged_is_a_part_of_the_whole_map_enlarged(size, place):
    box = Rectangle(
        int(place[0] * size) // 2 * 2, int(place[1] * size) // 2 * 2, size // 4 // 2 * 2, size // 3 // 2 * 2
    )
    whole = F.interpolate(smooth_map(), size=(size, size), mode="bilinear", align_corners=False)
    cut = whole[..., box.top : box.top + box.height, box.left : box.left + box.width]
    assert torch.allclose(enlarged(smooth_map(), box, size), cut, atol=1e-4)


def test_a_part_of_the_crop_is_enlarged_to_its_place_in_the_window():
    part, whole, size = Rectangle(64, 32, 96, 128), 192, 7 * WINDOW_STEP
    there = in_window(part, whole, size)
    assert there == Rectangle(112, 56, 168, 224)
    values = smooth_map()[..., 64:160, 32:160]
    larger = enlarged_part(values, whole, size)
    assert larger.shape[-2:] == (168, 224)
    assert (reduced_part(larger, part) - values).abs()[..., 2:-2, 2:-2].mean() < 0.01


@pytest.mark.parametrize("whole", [128, 192, 256])
def test_parts_of_theta_are_whole_and_even_pixels_of_every_window(whole):
    step = Rectangle(*[PART_STEP] * 4)
    assert all(
        edge % EVEN == 0 and edge * whole == PART_STEP * WINDOW_STEP for edge in in_window(step, whole, WINDOW_STEP)
    )


def test_fitted_keeps_what_both_parts_share():
    values = torch.rand(1, 1, 6, 8)
    moved = fitted(values, Rectangle(10, 20, 6, 8), Rectangle(8, 24, 10, 10))
    assert torch.equal(moved[..., 2:8, :4], values[..., 4:])
    moved[..., 2:8, :4] = 0
    assert not moved.any()


def test_part_around_holds_all_that_is_painted_and_nothing_without():
    paint = torch.zeros(2, 1, CROP_SIZE, CROP_SIZE)
    assert part_around(paint) is None
    paint[0, 0, 130:160, 100:110], paint[1, 0, 140:205, 90:120] = 1, 0.1
    assert part_around(paint) == Rectangle(96, 64, 128, 64)
    assert all(edge % PART_STEP == 0 for edge in part_around(paint))


def test_changed_box_holds_flow_and_paint_in_even_pixels():
    flow, paint = torch.zeros(1, 2, CROP_SIZE, CROP_SIZE), torch.zeros(1, 1, CROP_SIZE, CROP_SIZE)
    flow[0, 0, 100:120, 60:70], paint[0, 0, 110:140, 90:101] = 1, 1
    box = changed_box(flow, paint, None, 512)
    assert box.top <= 200 and box.left <= 120 and box.top + box.height >= 280 and box.left + box.width >= 202
    assert all(edge % 2 == 0 for edge in box) and box.height < 100 and box.width < 100
