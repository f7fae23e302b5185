"""Light that is steady stays as it is; frames of another light are brought to the usual one, or left out."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.records import CropBox
from thcli.render.light import Light, measure_light

BOX = CropBox(16, 8, 112)
FRAMES = 40


@pytest.fixture(scope="module")
def mesh() -> np.ndarray:
    """The same 478 points in the middle of the crop, in every frame."""
    points = np.random.default_rng(0).uniform(80, 180, (478, 3)).astype(np.float32)
    return np.repeat(points[None], FRAMES, axis=0)


def lit(factors: np.ndarray, tint: tuple[float, float, float] = (1, 1, 1)) -> np.ndarray:
    """Frames [T, 128, 160, 3] of one picture times factors [T]; the tint grows as they do."""
    picture = np.random.default_rng(1).integers(60, 180, (128, 160, 3)).astype(np.float32)
    change = np.asarray(factors)[:, None] ** np.array(tint)
    return np.round(picture * change[:, None, None]).clip(0, 255).astype(np.uint8)


def brightness(light: Light, frames: np.ndarray) -> np.ndarray:
    which = np.flatnonzero(light.usual)
    return light.evened(frames, which).mean(axis=(1, 2))


def test_measure_light_of_steady_frames_is_none(mesh):
    assert measure_light(lit(np.ones(FRAMES)), BOX, mesh, 8) is None
    assert measure_light(lit(1 + 0.008 * np.sin(np.arange(FRAMES))), BOX, mesh, 8) is None
    assert measure_light(lit(np.ones(1)), BOX, mesh[:1], 8) is None


def test_measure_light_is_none_where_only_something_bright_moves(mesh):
    frames = lit(np.ones(FRAMES))
    for t in range(FRAMES):
        frames[t, 30:90, 2 * t : 2 * t + 50] = 240
    assert measure_light(frames, BOX, mesh, 8) is None


def test_measure_light_leaves_out_the_dark_frames_of_a_fade(mesh):
    factors = np.minimum((np.arange(FRAMES) + 1) / 20, 1)
    frames = lit(factors)
    light = measure_light(frames, BOX, mesh, 8)
    assert not light.usual[:15].any() and light.usual[19:].all()
    assert np.ptp(brightness(light, frames), axis=0).max() < 1
    assert brightness(light, frames).mean() == pytest.approx(frames[-1].mean(), abs=1)


@pytest.mark.parametrize("tint", [(1, 1, 1), (1.5, 1, 0.5)])
def test_measure_light_evens_automatic_exposure_and_white_balance(mesh, tint):
    frames = lit(1 + 0.1 * np.sin(np.arange(FRAMES) / 5), tint)
    light = measure_light(frames, BOX, mesh, 8)
    assert np.ptp(frames.mean(axis=(1, 2)), axis=0).max() > 20
    assert np.ptp(brightness(light, frames), axis=0).max() < 1.5


def test_measure_light_takes_the_nearest_frames_where_few_have_the_usual_light(mesh):
    frames = lit(np.geomspace(0.1, 1, FRAMES))
    assert measure_light(frames, BOX, mesh, 8).usual.sum() >= 8
