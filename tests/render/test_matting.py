"""The matting network that ships tells a person from the background."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Images

from thcli.checkpoints import DETECTION, MATTING, shipped_weights
from thcli.errors import WeightsError
from thcli.render.matting import Matting


@pytest.fixture(scope="module")
def matting() -> Matting:
    return Matting(shipped_weights() / MATTING)


@pytest.fixture(scope="module")
def portrait(portrait_png) -> np.ndarray:
    return np.array(Images.open(portrait_png).convert("RGB"))


def test_a_portrait_is_opaque_on_face_and_shoulders_and_clear_beside_the_head(matting, portrait):
    (opacity,) = matting.opacity(portrait[None])
    assert opacity.shape == (256, 256) and opacity.dtype == np.uint8
    assert opacity[70:170, 100:150].min() > 230
    assert opacity[240:, 80:180].mean() > 230
    assert opacity[5:60, :30].mean() < 25 and opacity[5:60, -30:].mean() < 25


@pytest.mark.parametrize("side", [128, 400])
def test_opacity_has_the_size_of_the_images_and_does_not_depend_on_it(matting, portrait, side):
    sized = np.array(Images.fromarray(portrait).resize((side, side), Images.Resampling.BICUBIC))
    (opacity,) = matting.opacity(sized[None])
    assert opacity.shape == (side, side)
    back = np.asarray(Images.fromarray(opacity).resize((256, 256), Images.Resampling.BILINEAR), np.float32)
    assert np.abs(back - matting.opacity(portrait[None])[0]).mean() < 8


def test_opacity_of_many_images_is_that_of_each(matting, portrait):
    images = np.stack([np.roll(portrait, 7 * i, 1) for i in range(6)])
    together = matting.opacity(images)
    for image, opacity in zip(images, together, strict=True):
        assert np.abs(matting.opacity(image[None])[0].astype(int) - opacity).max() <= 1


def test_another_network_is_refused(tmp_path):
    with pytest.raises(WeightsError, match=r"detection.onnx: not the matting network .* get the file again"):
        Matting(shipped_weights() / DETECTION)
    (tmp_path / MATTING).write_bytes(b"nothing")
    with pytest.raises(WeightsError, match=r"matting.onnx: not a network of matting"):
        Matting(tmp_path / MATTING)
