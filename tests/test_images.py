"""Images are filled in from what is known, smoothed, resized and sampled, by OpenCV as by PyTorch."""

from __future__ import annotations

import cv2
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.images import averaged, blur, fill, resized, resized_to, sampled, widened

SHAPES = [(32, 32), (33, 47), (7, 64), (64, 5), (1, 40), (2, 2)]


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    """Return random values in 0..1."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
def test_fill_keeps_known_values(shape):
    values, weight = random(2, 3, *shape), (random(2, 1, *shape, seed=1) < 0.3).float()
    filled = fill(values, weight)
    known = weight.expand_as(values) > 0
    assert torch.equal(filled[known], values[known])


@pytest.mark.parametrize("shape", SHAPES)
def test_fill_stays_between_the_known_values(shape):
    values, weight = 0.2 + 0.5 * random(1, 3, *shape), torch.zeros(1, 1, *shape)
    weight[..., 0, 0] = weight[..., -1, -1] = 1
    filled = fill(values, weight)
    low, high = (torch.stack([values[..., 0, 0], values[..., -1, -1]]) for _ in range(2))
    assert (filled >= low.amin(0)[..., None, None] - 1e-5).all()
    assert (filled <= high.amax(0)[..., None, None] + 1e-5).all()


@pytest.mark.parametrize("shape", SHAPES)
def test_fill_spreads_a_single_known_value_everywhere(shape):
    weight = torch.zeros(1, 1, *shape)
    weight[..., 0, 0] = 1
    assert torch.allclose(fill(torch.full((1, 2, *shape), 0.7), weight), torch.tensor(0.7), atol=1e-5)


def test_fill_keeps_a_constant_for_any_weights():
    weight = 0.1 + 0.9 * random(1, 1, 24, 31)
    assert torch.allclose(fill(torch.full((1, 1, 24, 31), -0.4), weight), torch.tensor(-0.4), atol=1e-5)


def test_fill_returns_zeros_where_nothing_is_known_and_the_values_where_all_is():
    values = random(1, 3, 20, 20)
    assert not fill(values, torch.zeros(1, 1, 20, 20)).any()
    assert torch.equal(fill(values, torch.ones(1, 1, 20, 20)), values)


def test_fill_closes_a_gap_smoothly():
    ramp = torch.linspace(0, 1, 64).expand(1, 1, 64, 64)
    weight = torch.ones(1, 1, 64, 64)
    weight[..., 24:40, 24:40] = 0
    filled = fill(ramp, weight)
    assert (filled - ramp).abs().max() < 0.15
    assert filled.diff(dim=-1).abs().max() < 0.1


def test_blur_keeps_constants_and_spreads_a_dot_by_its_standard_deviation():
    assert torch.allclose(blur(torch.full((2, 3, 9, 14), 0.3), 2.0), torch.tensor(0.3), atol=1e-6)
    dot = torch.zeros(1, 1, 41, 41)
    dot[..., 20, 20] = 1
    spread = blur(dot, 3.0)
    assert spread.sum() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(spread, spread.flip(-1)) and torch.allclose(spread, spread.transpose(-1, -2))
    offset = torch.arange(41.0) - 20
    # The kernel ends at three standard deviations, so that the deviation measured is a little smaller.
    assert float((spread[0, 0].sum(0) * offset**2).sum()) ** 0.5 == pytest.approx(3, rel=0.03)


def test_blur_of_a_batch_equals_blur_of_each_channel():
    images = random(2, 3, 12, 15)
    assert torch.allclose(blur(images, 1.5)[1, 2], blur(images[1:, 2:], 1.5)[0, 0], atol=1e-6)


@pytest.mark.parametrize("sigma", [0.4, 1.5, 2.9, 3.1, 12.0])
def test_blur_equals_the_gaussian_filter_of_scipy(sigma: float) -> None:
    image, radius = random(2, 3, 19, 43), max(1, int(3 * sigma))
    expected = image.numpy()
    for axis in (-1, -2):
        expected = gaussian_filter1d(expected, sigma, axis=axis, mode="nearest", radius=radius)
    assert torch.allclose(blur(image, sigma), torch.from_numpy(expected), atol=1e-5)


def by_both(change, *images):
    """Return what becomes of float32 images by OpenCV, and of the same images in float64, which is PyTorch's work."""
    return change(*images), change(*(image.double() for image in images)).float()


@pytest.mark.parametrize("shape", [*SHAPES, (64, 96)])
@pytest.mark.parametrize(
    "change",
    [
        lambda image: blur(image, 0.8),
        lambda image: blur(image, 5.0),
        lambda image: averaged(image, 2),
        lambda image: averaged(image, 3),
        lambda image: resized_to(image, (50, 31)),
        lambda image: resized_to(image, (128, 192)),
        lambda image: fill(image, (image[:, :1] < 0.4).to(image.dtype)),
        lambda image: widened(image - 0.5, 1),
        lambda image: widened(image - 0.5, 7.4),
    ],
    ids=["blur", "wide blur", "halves", "thirds", "resized", "enlarged", "fill", "widened", "widened by much"],
)
def test_opencv_makes_what_pytorch_makes(shape, change):
    by_opencv, by_pytorch = by_both(change, random(2, 3, *shape))
    assert by_opencv.shape == by_pytorch.shape and by_opencv.dtype == torch.float32
    assert (by_opencv - by_pytorch).abs().max() < 2e-5


@pytest.mark.parametrize("cubic", [False, True], ids=["linear", "cubic"])
@pytest.mark.parametrize("of", [None, [2, 0, 2]], ids=["in order", "chosen"])
def test_opencv_samples_what_pytorch_samples_also_beyond_the_border(cubic, of):
    images, places = random(3, 4, 33, 47), 80 * random(3, 2, 20, 30, seed=1) - 15
    by_opencv, by_pytorch = by_both(lambda image, at: sampled(image, at, of, cubic), images, places)
    assert by_opencv.shape == (3, 4, 20, 30)
    # Older versions of OpenCV round places to 1/32 px.
    assert (by_opencv - by_pytorch).abs().mean() < 1e-2
    if int(cv2.__version__.split(".")[0]) >= 5:
        assert (by_opencv - by_pytorch).abs().max() < 1e-4


def test_images_of_which_a_gradient_is_asked_are_left_to_pytorch():
    image = random(1, 3, 16, 16).requires_grad_()
    made = [blur(image, 1.0), resized(image, 24), averaged(image, 2), sampled(image, 16 * random(1, 2, 8, 8, seed=1))]
    sum(one.sum() for one in made).backward()
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.abs().sum() > 0


@pytest.mark.parametrize("change", [lambda image, _: blur(image, 1.5), lambda image, _: resized(image, 96), sampled])
def test_what_becomes_of_an_image_does_not_depend_on_its_batch(change):
    images, places = random(3, 2, 64, 64), 64 * random(3, 2, 40, 40, seed=1)
    assert torch.equal(change(images, places)[1], change(images[1:2], places[1:2])[0])
