"""Filling in and smoothing."""

from __future__ import annotations

import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.images import blur, fill

SHAPES = [(32, 32), (33, 47), (7, 64), (64, 5), (1, 40), (2, 2)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_known_stays(shape):
    values, weight = random(2, 3, *shape), (random(2, 1, *shape, seed=1) < 0.3).float()
    filled = fill(values, weight)
    known = weight.expand_as(values) > 0
    assert torch.equal(filled[known], values[known])


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_filled_in_lies_between_what_is_known(shape):
    values, weight = 0.2 + 0.5 * random(1, 3, *shape), torch.zeros(1, 1, *shape)
    weight[..., 0, 0] = weight[..., -1, -1] = 1
    filled = fill(values, weight)
    low, high = (torch.stack([values[..., 0, 0], values[..., -1, -1]]) for _ in range(2))
    assert (filled >= low.amin(0)[..., None, None] - 1e-5).all()
    assert (filled <= high.amax(0)[..., None, None] + 1e-5).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_constant_fills_everything(shape):
    weight = torch.zeros(1, 1, *shape)
    weight[..., 0, 0] = 1
    assert torch.allclose(fill(torch.full((1, 2, *shape), 0.7), weight), torch.tensor(0.7), atol=1e-5)


def test_uncertain_values_count_by_their_weight():
    weight = 0.1 + 0.9 * random(1, 1, 24, 31)
    assert torch.allclose(fill(torch.full((1, 1, 24, 31), -0.4), weight), torch.tensor(-0.4), atol=1e-5)


def test_nothing_known_is_zero_and_everything_known_unchanged():
    values = random(1, 3, 20, 20)
    assert not fill(values, torch.zeros(1, 1, 20, 20)).any()
    assert torch.equal(fill(values, torch.ones(1, 1, 20, 20)), values)


def test_a_gap_is_filled_smoothly():
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    weight = torch.ones(1, 1, 64, 64)
    weight[..., 24:40, 24:40] = 0
    filled = fill(ramp, weight)
    assert (filled - ramp).abs().max() < 0.15
    assert filled.diff(dim=-1).abs().max() < 0.1


def test_blur_keeps_constants_and_the_mean_and_lowers_the_variance():
    assert torch.allclose(blur(torch.full((2, 3, 9, 14), 0.3), 2.0), torch.tensor(0.3), atol=1e-6)
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    spread = blur(dot, 3.0)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(spread, spread.flip(-1)) and torch.allclose(spread, spread.transpose(-1, -2))
    offset = torch.arange(41.0) - 20
    # the kernel ends at three standard deviations
    assert float((spread[0, 0].sum(0) * offset**2).sum()) ** 0.5 == pytest.approx(3, rel=0.03)


def test_blur_of_channels_and_batch_is_that_of_each_alone():
    images = random(2, 3, 12, 15)
    assert torch.allclose(blur(images, 1.5)[1, 2], blur(images[1:, 2:], 1.5)[0, 0], atol=1e-6)


@pytest.mark.parametrize("sigma", [0.4, 1.5, 2.9, 3.1, 12.0])
def test_blur_is_scipys(sigma: float) -> None:
    image, radius = random(2, 3, 19, 43), max(1, int(3 * sigma))
    expected = image.numpy()
    for axis in (-1, -2):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=radius)
    assert torch.allclose(blur(image, sigma), torch.from_numpy(expected), atol=1e-5)
