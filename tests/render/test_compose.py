"""The composition lays patches over an image without seams."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import interpolate

from thcli.render.compose import LARGEST_CORRECTION, Patch, compose

TOP, LEFT, HEIGHT, WIDTH = 30, 22, 40, 64


def textured(seed: int = 0, count: int = 2) -> torch.Tensor:
    """Return images [count, 3, 96, 112] with texture, well within the range of colours."""
    noise = torch.rand(count, 3, 24, 28, generator=torch.Generator().manual_seed(seed))
    return 0.3 + 0.4 * interpolate(noise, size=(96, 112), mode="bilinear", align_corners=False)


def soft_mask(count: int = 2, height: int = HEIGHT, width: int = WIDTH) -> torch.Tensor:
    """Return masks that are 1 in the middle and fall smoothly to 0 before the window's border."""
    y = torch.linspace(-1, 1, height)[:, None]
    x = torch.linspace(-1, 1, width)[None]
    share = ((1 - torch.sqrt(x * x + y * y)) / 0.5).clamp(0, 1)
    return (share * share * (3 - 2 * share)).expand(count, 1, height, width)


def cut(image: torch.Tensor) -> torch.Tensor:
    """Return a view of the window alone."""
    return image[..., TOP : TOP + HEIGHT, LEFT : LEFT + WIDTH]


def patch_of(image: torch.Tensor) -> Patch:
    """Return the window of an image as a patch with a soft mask."""
    return Patch(cut(image).clone(), soft_mask(len(image)), TOP, LEFT)


def test_compose_with_a_patch_equal_to_the_base_changes_nothing():
    base = textured()
    assert torch.allclose(compose(base, [patch_of(base)]), base, atol=1e-6)


def test_compose_without_patches_returns_a_copy_of_the_base():
    base = textured()
    made = compose(base, [])
    assert torch.equal(made, base)
    assert made.data_ptr() != base.data_ptr()


def test_compose_leaves_the_base_unmodified():
    base = textured()
    before = base.clone()
    compose(base, [patch_of(textured(1))])
    assert torch.equal(base, before)


@pytest.mark.parametrize("offset", [-0.1, 0.05, 0.11])
def test_compose_evens_out_a_difference_of_brightness(offset):
    base = textured()
    made = compose(base, [patch_of(base + offset)])
    assert (made - base).abs().max() < 1e-3


def test_compose_evens_out_a_difference_of_the_light_s_colour():
    base = textured()
    made = compose(base, [patch_of(base + torch.tensor([0.06, -0.02, -0.08]).view(1, 3, 1, 1))])
    assert (made - base).abs().max() < 1e-3


def test_compose_corrects_colours_by_no_more_than_the_largest_correction():
    base = textured()
    made = compose(base, [patch_of(base - 2 * LARGEST_CORRECTION)])
    middle = (made - base)[..., TOP + HEIGHT // 2, LEFT + WIDTH // 2]
    assert torch.allclose(middle, torch.tensor(-LARGEST_CORRECTION), atol=5e-3)


def test_compose_shows_the_patch_inside_its_mask_and_the_base_outside():
    base = torch.full((1, 3, 96, 112), 0.5)
    other = base.clone()
    stripes = (torch.arange(112) % 4 < 2).float() * 0.2 - 0.1
    other[..., :] += stripes
    made = compose(base, [patch_of(other)])
    row = made[0, 0, TOP + HEIGHT // 2, LEFT + WIDTH // 2 - 6 : LEFT + WIDTH // 2 + 6]
    assert row.diff().abs().max() == pytest.approx(0.2, abs=0.02)
    hidden = torch.ones_like(base, dtype=torch.bool)
    cut(hidden)[:] = soft_mask(1) == 0
    assert torch.equal(made[hidden], base[hidden])


@pytest.mark.parametrize("offset", [0.1, 0.3])
def test_compose_makes_no_seam_on_a_flat_image(offset):
    """A patch of another brightness nowhere makes a step that the eye sees as an edge."""
    base = torch.full((1, 3, 96, 112), 0.4)
    made = compose(base, [patch_of(base + offset)])
    steps = torch.cat([made.diff(dim=-1).flatten(), made.diff(dim=-2).flatten()]).abs()
    # The difference that remains fades over the whole soft border.
    remaining = max(offset - LARGEST_CORRECTION, 0.0)
    assert steps.max() < 0.005 + remaining / 5


def test_compose_makes_no_seam_where_light_comes_from_one_side():
    base = textured()
    slope = torch.linspace(-0.1, 0.1, 112)
    made = compose(base, [patch_of(base + slope)])
    assert (made - base).abs().max() < 0.05


def test_compose_of_a_batch_equals_compose_of_each_image():
    base, other = textured(), textured(3)
    both = compose(base, [patch_of(other)])
    for row in range(2):
        assert torch.allclose(both[row], compose(base[row : row + 1], [patch_of(other[row : row + 1])])[0], atol=1e-6)


def test_compose_lays_later_patches_over_earlier_ones():
    base, first, second = textured(), textured(4), textured(5)
    made = compose(base, [patch_of(first), patch_of(second)])
    assert torch.allclose(made, compose(compose(base, [patch_of(first)]), [patch_of(second)]), atol=1e-6)


@pytest.mark.parametrize(("height", "width"), [(1, 9), (5, 70), (33, 3)])
def test_compose_accepts_windows_of_any_shape(height, width):
    base = textured()
    window = Patch(base[..., 3 : 3 + height, 5 : 5 + width] + 0.05, soft_mask(2, height, width), 3, 5)
    made = compose(base, [window])
    assert made.isfinite().all()
    assert (made - base).abs().max() < 0.06


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_compose_with_a_constant_mask_shows_the_patch_or_the_base_unchanged(share):
    """Without a soft border there is nothing to compare, so the patch is laid on as it is, or not at all."""
    base, other = textured(), textured(6)
    mask = torch.full((2, 1, HEIGHT, WIDTH), share)
    made = compose(base, [Patch(cut(other), mask, TOP, LEFT)])
    assert torch.allclose(cut(made), cut(other if share else base), atol=1e-6)


def test_compose_keeps_colours_in_range():
    base = torch.ones(1, 3, 96, 112)
    made = compose(base, [patch_of(0.9 + 0.1 * torch.rand(1, 3, 96, 112))])
    assert 0 <= made.min() <= made.max() <= 1


def test_light_of_a_large_patch_is_that_of_the_same_patch_in_small():
    """Light is compared on reduced images; the colours of a patch do not depend on its size."""
    base, shade = textured(), torch.linspace(-0.08, 0.08, WIDTH)
    small = Patch(cut(base) + shade, soft_mask(), TOP, LEFT)
    large_base, large_image, large_mask = (
        interpolate(x, scale_factor=4, mode="bilinear", align_corners=False) for x in (base, small.image, small.mask)
    )
    large = compose(large_base, [Patch(large_image, large_mask, 4 * TOP, 4 * LEFT)])
    difference = interpolate(large, scale_factor=0.25, mode="area") - compose(base, [small])
    assert difference.abs().mean() < 0.003 < 0.01 < (cut(compose(base, [small])) - small.image).abs().mean()
