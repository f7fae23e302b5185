"""Parts laid over a picture, without seams."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from thcli.render.compose import LARGEST_CORRECTION, Part, compose

TOP, LEFT, HEIGHT, WIDTH = 30, 22, 40, 64


def picture(seed: int = 0, count: int = 2) -> torch.Tensor:
    """[count, 3, 96, 112] with texture, well within the range of colours."""
    noise = torch.rand(count, 3, 24, 28, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.4 * interpolate(noise, size=(96, 112), mode="bilinear", align_corners=False)


def soft_mask(count: int = 2, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """1 in the middle, falling smoothly to 0 before the window's border."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    share = ((1 - torch.sqrt(x * x + y * y)) / 0.5).clamp(0, 1)
    return (share * share * (3 - 2 * share)).expand(count, 1, height, width)


def cut(image: torch.Tensor) -> torch.Tensor:
    return image[..., TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]


def part_of(image: torch.Tensor) -> Part:
    return Part(cut(image).clone(), soft_mask(len(image)), TOP, LEFT)


def test_a_part_like_the_base_changes_nothing():
    base = picture()
    assert torch.allclose(compose(base, [part_of(base)]), base, atol=1e-6)


def test_no_parts_give_the_base_and_never_the_same_memory():
    base = picture()
    made = compose(base, [])
    assert torch.equal(made, base)
    before = base.clone()
    compose(base, [part_of(picture(1))])
    assert torch.equal(base, before)


@pytest.mark.parametrize("offset", [-0.1, 0.05, 0.11])
def test_a_difference_of_light_is_evened_out(offset):
    base = picture()
    made = compose(base, [part_of(base + offset)])
    assert (made - base).abs().max() < 1e-3


def test_a_difference_of_the_light_s_colour_is_evened_out():
    base = picture()
    made = compose(base, [part_of(base + torch.tensor([0.06, -0.02, -0.08]).view(1, 3, 1, 1))])
    assert (made - base).abs().max() < 1e-3


def test_what_is_no_matter_of_light_is_evened_out_only_so_far():
    base = picture()
    made = compose(base, [part_of(base - 2 * LARGEST_CORRECTION)])
    middle = (made - base)[..., TOP + HEIGHT // 2, LEFT + WIDTH // 2]
    assert torch.allclose(middle, torch.tensor(-LARGEST_CORRECTION), atol=5e-3)


def test_the_middle_shows_the_part_and_beyond_the_mask_all_stays():
    base = torch.full((1, 3, 96, 112), 0.5)
    other = base.clone()
    stripes = (torch.arange(112) % 4 < 2).float() * 0.2 - 0.1
    other[..., :] += stripes
    made = compose(base, [part_of(other)])
    row = made[0, 0, TOP + HEIGHT // 2, LEFT + WIDTH // 2 - 6 : LEFT + WIDTH // 2 + 6]
    assert row.diff().abs().max() == pytest.approx(0.2, abs=0.02)
    hidden = torch.ones_like(base, dtype=torch.bool)
    cut(hidden)[:] = soft_mask(1) == 0
    assert torch.equal(made[hidden], base[hidden])


@pytest.mark.parametrize("offset", [0.1, 0.3])
def test_there_is_no_seam(offset):
    """On a flat picture, a part of another light nowhere makes a step that the eye sees as an edge."""
    base = torch.full((1, 3, 96, 112), 0.4)
    made = compose(base, [part_of(base + offset)])
    steps = torch.cat([made.diff(dim=-1).flatten(), made.diff(dim=-2).flatten()]).abs()
    # whatever light remains changes over the whole soft border
    remaining = max(offset - LARGEST_CORRECTION, 0.0)
    assert steps.max() < 0.005 + remaining / 5


def test_light_from_one_side_leaves_no_seam():
    base = picture()
    slope = torch.linspace(-0.1, 0.1, 112)
    made = compose(base, [part_of(base + slope)])
    assert (made - base).abs().max() < 0.05


def test_each_picture_has_its_own_part():
    base, other = picture(), picture(3)
    both = compose(base, [part_of(other)])
    for row in range(2):
        assert torch.allclose(both[row], compose(base[row : row + 1], [part_of(other[row : row + 1])])[0], atol=1e-6)


def test_a_later_part_lies_over_an_earlier_one():
    base, first, second = picture(), picture(4), picture(5)
    made = compose(base, [part_of(first), part_of(second)])
    assert torch.allclose(made, compose(compose(base, [part_of(first)]), [part_of(second)]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 9), (5, 70), (33, 3)])
def test_windows_of_any_shape(height, width):
    base = picture()
    window = Part(base[..., 3 : 3 + height, 5 : 5 + width] + 0.05, soft_mask(2, height, width), 3, 5)
    made = compose(base, [window])
    assert made.isfinite().all()
    assert (made - base).abs().max() < 0.06


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_mask_without_a_border(share):
    """Nothing to compare: the part is laid on as it is, or not at all."""
    base, other = picture(), picture(6)
    mask = torch.full((2, 1, HEIGHT, WIDTH), share)
    made = compose(base, [Part(cut(other), mask, TOP, LEFT)])
    assert torch.allclose(cut(made), cut(other if share else base), atol=1e-6)


def test_colours_stay_in_range():
    base = torch.ones(1, 3, 96, 112)
    made = compose(base, [part_of(0.9 + 0.1 * torch.rand(1, 3, 96, 112))])
    assert 0 <= made.min() <= made.max() <= 1
