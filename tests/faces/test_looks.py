"""Looks tell two people of one video apart, whatever the size and place of their faces."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from thcli.checkpoints import shipped_weights
from thcli.face_model import FaceModel
from thcli.faces.looks import SAME, distance, look_at

MODEL = FaceModel.load(shipped_weights() / "face_model.safetensors")


@pytest.fixture
def portrait(portrait_png) -> np.ndarray:
    return np.asarray(Image.open(portrait_png).convert("RGB"))


def mesh(scale: float = 1.0) -> np.ndarray:
    """Return the mean face about where the portrait's face is."""
    return ((MODEL.canonical * np.float32(58) + np.float32([128, 110, 0])) * np.float32(scale)).astype(np.float32)


def test_size_does_not_matter(portrait):
    small = np.asarray(Image.fromarray(portrait).resize((160, 160), Image.Resampling.LANCZOS))
    assert distance(look_at(small, mesh(160 / 256), MODEL), [look_at(portrait, mesh(), MODEL)]) < SAME / 2


def test_a_little_light_does_not_matter(portrait):
    darker = (portrait * 0.8).astype(np.uint8)
    assert distance(look_at(darker, mesh(), MODEL), [look_at(portrait, mesh(), MODEL)]) < SAME / 2


def test_other_colours_are_another_person(portrait):
    other = portrait[..., [1, 2, 0]]
    assert distance(look_at(other, mesh(), MODEL), [look_at(portrait, mesh(), MODEL)]) > SAME


def test_nobody_is_near_to_no_looks(portrait):
    assert distance(look_at(portrait, mesh(), MODEL), []) == float("inf")
