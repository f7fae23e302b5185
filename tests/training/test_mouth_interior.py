"""The inside of open mouths is fitted to many people: teeth in their own size, in the colour of the skin."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.errors import MediaError
from thcli.face_model import INNER_LIPS, FaceModel
from thcli.render.mouth_interior import CORNERS, DEEP, UPPER, MouthInterior, relative_opening
from thcli.training.mouth_interior import EDGE, fit_mouth_interior

SIZE = 256
DARK, TEETH = 0.3, 1.2
"""Colours of the drawn inside over the skin's."""


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def clip(model: FaceModel, skin: float, gap: float, teeth: float) -> tuple[str, np.ndarray, np.ndarray]:
    """Return a clip of one frame: a grey face, its mouth open by ``gap``, its teeth of a height in mouth widths."""
    own = model.lip_gap
    mesh = model.canonical + model.displacement((gap * own / (own @ own)).astype(np.float32))
    mesh = (mesh * 140 + np.array([SIZE / 2, SIZE / 2 - 20, 0])).astype(np.float32)
    ring, half = mesh[list(INNER_LIPS), :2], len(INNER_LIPS) // 2
    lower, upper = ring[: half + 1], np.concatenate([ring[:1], ring[:half:-1], ring[half : half + 1]])
    width = np.linalg.norm(mesh[CORNERS[1], :2] - mesh[CORNERS[0], :2])
    y, x = np.mgrid[:SIZE, :SIZE] + 0.5
    top, bottom = (np.interp(x, lip[:, 0], lip[:, 1]) for lip in (upper, lower))
    inside = (x > ring[:, 0].min()) & (x < ring[:, 0].max()) & (y > top) & (y < bottom)
    image = np.full((SIZE, SIZE), skin)
    image[inside] = DARK * skin
    image[inside & (y < top + teeth * width)] = TEETH * skin
    frame = (np.repeat(image[..., None], 3, 2) * 255).round().astype(np.uint8)
    return "someone", frame[None], mesh[None]


def test_teeth_of_many_heights_become_one_sharp_row_and_follow_the_skin(model):
    clips = [clip(model, skin, 0.14, teeth) for skin in (0.3, 0.5, 0.7) for teeth in (0.08, 0.11, 0.15)]
    assert 0.3 < relative_opening(clips[0][2])[0] < 0.6
    made = fit_mouth_interior(clips * 8, "store")
    for skin in (0.3, 0.6):
        column = (made.upper[0] + made.upper[1] * skin)[0, :, made.upper.shape[-1] // 2] / skin
        height = (np.arange(UPPER) + 0.5) / UPPER * DEEP
        assert column[(height > 0.03) & (height < EDGE - 0.02)] == pytest.approx(TEETH, abs=0.15)
        assert column[(height > EDGE + 0.02) & (height < 0.2)] == pytest.approx(DARK, abs=0.15)


def test_mouth_interior_comes_back_from_its_file(model, tmp_path):
    made = fit_mouth_interior([clip(model, 0.5, 0.14, 0.1)], "store")
    made.save(tmp_path / "mouth_interior.safetensors")
    loaded = MouthInterior.load(tmp_path / "mouth_interior.safetensors")
    np.testing.assert_array_equal(loaded.upper, made.upper)
    np.testing.assert_array_equal(loaded.lower, made.lower)


def test_clips_without_an_open_mouth_are_refused(model):
    with pytest.raises(MediaError, match=r"^store: no clip shows the teeth"):
        fit_mouth_interior([clip(model, 0.5, -0.05, 0.1)], "store")
