"""The lower face is drawn anew where it is to change, and everything else stays bit by bit."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from thcli.checkpoints import MOUTH_INTERIOR, shipped_weights
from thcli.face_model import FaceModel, mouth_opening
from thcli.pipeline.models import load_models
from thcli.records import CROP_SIZE
from thcli.render.lower_face import LowerFace, LowerFaceRenderer, light_gain, lip_weight, lower_weight
from thcli.render.mouth_interior import MouthInterior
from thcli.render.window import Rectangle

MODEL = FaceModel.load(shipped_weights() / "face_model.safetensors")
MODELS = SimpleNamespace(
    device="cpu", face_model=MODEL, mouth_interior=MouthInterior.load(shipped_weights() / MOUTH_INTERIOR)
)
SIDE = 320


class Still:
    """A window of a made-up frame."""

    side = SIDE

    def __init__(self, seed: int = 0) -> None:
        random = torch.Generator().manual_seed(seed)
        small = torch.rand(1, 3, 20, 20, generator=random)
        self.image = torch.nn.functional.interpolate(small, size=(SIDE, SIDE), mode="bilinear")[0]

    def part(self, top: int, left: int, height: int, width: int) -> torch.Tensor:
        return self.image[:, top : top + height, left : left + width]

    def reduced(self, size: int, part: Rectangle) -> torch.Tensor:
        image = torch.nn.functional.interpolate(self.image[None], size=(size, size), mode="bilinear", antialias=True)
        return image[0, :, part.top : part.top + part.height, part.left : part.left + part.width]


def mesh(opening: float = 0.0) -> np.ndarray:
    """Return the mean face in the middle of the crop, with the mouth opened by some deviations."""
    expression = np.zeros(20, np.float32)
    expression[0] = opening
    face = MODEL.canonical + MODEL.displacement(expression) * lower_weight(MODEL)
    return (face * np.float32(75) + np.float32([128, 130, 0])).astype(np.float32)


@pytest.fixture(scope="module")
def renderer() -> LowerFaceRenderer:
    references = torch.stack([Still(1).image, Still(2).image])
    return LowerFaceRenderer(MODELS, references, np.stack([mesh(0), mesh(2)]))


def lower_face(filmed, target, share=1.0, seed=0) -> LowerFace:
    return LowerFace(Still(seed), filmed, target, np.float32([0.4, 0.6]), np.ones(3, np.float32), share)


def drawn(renderer, filmed, target, share=1.0):
    """Return the change on the whole window."""
    [one] = renderer.draw([lower_face(filmed, target, share)])
    whole = torch.zeros(3, SIDE, SIDE)
    whole[:, one.top : one.top + one.change.shape[1], one.left : one.left + one.change.shape[2]] = one.change
    return whole


def test_weights_leave_nose_and_eyes_and_hold_the_lips():
    lower, lips = lower_weight(MODEL)[:, 0], lip_weight(MODEL)[:, 0]
    assert lower[[4, 33, 263, 10]].tolist() == [0, 0, 0, 0] and lower[[14, 17, 152]].tolist() == [1, 1, 1]
    assert lips[[13, 14, 61]].min() > 0.9 and lips[152] < 0.5 and (lips <= lower + 1e-6).all()


def test_far_from_the_lower_face_nothing_changes_at_all(renderer):
    change = drawn(renderer, mesh(0), mesh(3))
    scale = SIDE / CROP_SIZE
    eyes = int((130 - 0.2 * 75) * scale)
    assert (change[:, :eyes] == 0).all()
    assert (change[:, -4:] == 0).all() and (change[:, :, :4] == 0).all() and (change[:, :, -4:] == 0).all()
    assert change.abs().max() > 0.05


def test_an_expression_that_stays_moves_nothing_but_the_patch(renderer):
    change = drawn(renderer, mesh(0), mesh(0))
    chin = round((130 + 0.98 * 75) * SIDE / CROP_SIZE)
    assert (change[:, chin + 2 :] == 0).all()


def test_the_chin_moves_with_the_jaw(renderer):
    change = drawn(renderer, mesh(3), mesh(0))
    chin = round((130 + 0.98 * 75) * SIDE / CROP_SIZE)
    assert change[:, chin : chin + 10].abs().mean() > 0.002


def test_half_the_opacity_is_half_the_change(renderer):
    whole, half = (drawn(renderer, mesh(0), mesh(2), share) for share in (1.0, 0.5))
    assert torch.allclose(half, whole / 2, atol=1e-6)


def test_a_face_is_drawn_alone_as_among_others(renderer):
    faces = [lower_face(mesh(0), mesh(2)), lower_face(mesh(0), mesh(2), 0.5, seed=3), lower_face(mesh(0), mesh(0))]
    faces[2] = dataclasses.replace(faces[2], gain=np.float32([1.1, 1, 0.9]))
    for one, [alone] in zip(renderer.draw(faces), (renderer.draw([face]) for face in faces), strict=True):
        together, single = (torch.zeros(3, SIDE, SIDE) for _ in range(2))
        for whole, part in ((together, one), (single, alone)):
            height, width = part.change.shape[1:]
            whole[:, part.top : part.top + height, part.left : part.left + width] = part.change
        assert (together - single).abs().max() < 0.02 and single.abs().max() > 0.05


def test_theta_changes_the_lower_face_alone(theta_weights):
    models = load_models(theta_weights, "cpu")
    references = torch.stack([Still(1).image, Still(2).image])
    both = [
        LowerFaceRenderer(MODELS, references, np.stack([mesh(0), mesh(2)]), theta) for theta in (None, models.theta)
    ]
    without, with_theta = (drawn(one, mesh(0), mesh(2)) for one in both)
    scale = SIDE / CROP_SIZE
    eyes, chin = int((130 - 0.2 * 75) * scale), int((130 + 1.2 * 75) * scale)
    for far in (slice(eyes), slice(chin, None)):
        assert torch.allclose(without[:, far], with_theta[:, far], atol=1e-6)
    assert (without - with_theta).abs().max() > 0.02


def test_the_same_call_gives_the_same_bytes(renderer):
    assert torch.equal(drawn(renderer, mesh(0), mesh(2)), drawn(renderer, mesh(0), mesh(2)))


def test_light_gain_brings_one_skin_to_another():
    skin = np.full((8, 3), 100.0, np.float32)
    assert np.allclose(light_gain(skin, 1.2 * skin), 1.2, atol=0.02)
    assert np.allclose(light_gain(skin, 9 * skin), 1.7)


def test_the_made_up_mouth_opens():
    assert mouth_opening(mesh(3)) > mouth_opening(mesh(0))
