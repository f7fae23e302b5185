"""Losses of Θ, each on images for which it is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage.metrics import structural_similarity
from torch import Tensor

from thcli.training.generator_loss import detail_error, roughness, sharpness, ssim, temporal_error, weighted_error

SIDE = 48
EVEN = torch.ones(1, 1, SIDE, SIDE)


def noise(seed: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def checkerboard(strength: float) -> Tensor:
    """Neighbours differ by twice ``strength``; the Laplacian is 8 times it everywhere but at the border."""
    odd = torch.arange(SIDE)[:, None] + torch.arange(SIDE)
    return (strength * (1 - 2 * (odd % 2))).float().expand(1, 3, SIDE, SIDE)


def test_weighted_error_counts_pixels_by_their_weight() -> None:
    image = torch.zeros(1, 3, SIDE, SIDE)
    image[..., : SIDE // 2] = 0.5
    weight = EVEN.clone()
    assert float(weighted_error(image, 0 * image, weight)) == pytest.approx(0.25)
    weight[..., : SIDE // 2] = 3
    assert float(weighted_error(image, 0 * image, weight)) == pytest.approx(0.375)


@pytest.mark.parametrize("mix", [0.0, 0.3, 1.0])
def test_ssim_is_that_of_scikit_image(mix: float) -> None:
    real = noise(1)
    image = mix * noise(2) + (1 - mix) * real
    own = ssim(image, real)[0, 0].numpy()
    x, y = (((image[0] + 1) / 2).permute(1, 2, 0).double().numpy() for image in (image, real))
    _, whole = structural_similarity(
        x, y, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1.0, channel_axis=2, full=True
    )
    np.testing.assert_allclose(own, whole[5:-5, 5:-5].mean(axis=2), atol=1e-4)


def test_detail_error_compares_strength_and_not_place() -> None:
    strong, weak = checkerboard(0.1), checkerboard(0.04)
    assert float(detail_error(strong, strong, weak, EVEN)) == pytest.approx(8 * 0.06, rel=0.1)
    assert float(detail_error(strong, strong, -strong, EVEN)) == pytest.approx(0, abs=1e-3)
    assert float(detail_error(strong, strong, strong + 0.3, EVEN)) == pytest.approx(0, abs=1e-3)
    soft = 0 * strong
    assert float(detail_error(soft, strong, strong, EVEN)) > float(detail_error(weak, strong, strong, EVEN))


def test_detail_error_gives_no_credit_for_painted_detail() -> None:
    # There is as much detail as asked for, but it is laid over a photograph that has another, or none.
    stripes = checkerboard(0.1).abs() * torch.tensor([1.0, -1.0]).repeat(SIDE // 2)
    real = checkerboard(0.1)
    for photograph in (0 * real, stripes):
        blurred = float(detail_error(photograph, photograph, real, EVEN))
        woven = float(detail_error(photograph + real, photograph, real, EVEN))
        assert woven == pytest.approx(blurred, abs=0.05)
    assert float(detail_error(0 * real, real, real, EVEN)) == pytest.approx(0.8, rel=0.05)


def test_roughness_is_the_mean_step_between_neighbours() -> None:
    ramp = torch.arange(SIDE).float().expand(1, 2, SIDE, SIDE) / 4
    assert float(roughness(ramp)) == pytest.approx(0.25)
    assert float(roughness(0 * ramp + 3)) == 0
    assert float(roughness(ramp[:, :0])) == 0


def test_sharpness_is_the_variance_of_the_laplacian_inside() -> None:
    inside = torch.zeros(1, 1, SIDE, SIDE)
    inside[..., 8:-8, 8:-8] = 1
    image = noise(3)
    image[..., 8:-8, 8:-8] = checkerboard(0.1)[..., 8:-8, 8:-8]
    within = torch.zeros_like(inside)
    within[..., 9:-9, 9:-9] = 1
    assert float(sharpness(image, within)) == pytest.approx(0.64, rel=1e-4)
    assert float(sharpness(image + 0.2, within)) == pytest.approx(0.64, rel=1e-4)


def test_temporal_error_is_of_changes_within_a_window() -> None:
    real = noise(4, 4)
    weight = EVEN.expand(4, -1, -1, -1)
    constant = torch.tensor([0.3, 0.3, -0.5, -0.5]).view(4, 1, 1, 1)
    assert float(temporal_error(real + constant, real, weight, 2)) == pytest.approx(0, abs=1e-6)
    assert float(temporal_error(real + constant, real, weight, 4)) == pytest.approx(0.8 / 3, rel=1e-4)
    flicker = torch.tensor([0.1, -0.1, 0.1, -0.1]).view(4, 1, 1, 1)
    assert float(temporal_error(real + flicker, real, weight, 2)) == pytest.approx(0.2, rel=1e-4)


def test_losses_have_finite_gradients_where_images_are_equal_and_flat() -> None:
    for real in (noise(5, 2), torch.zeros(2, 3, SIDE, SIDE)):
        image = real.clone().requires_grad_()
        weight = EVEN.expand(2, -1, -1, -1)
        loss = weighted_error(image, real, weight) + detail_error(image, image, real, weight)
        (loss + temporal_error(image, real, weight, 2) + (1 - ssim(image, real)).mean()).backward()
        assert image.grad is not None and image.grad.isfinite().all()
