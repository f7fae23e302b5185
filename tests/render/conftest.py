"""A face, and pictures with enough texture to see where everything goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

import thgen_models
from thcli.face_model import FaceModel
from thcli.records import CROP_SIZE, Float
from thcli.rotations import apply_pose


@pytest.fixture(scope="session")
def face_model() -> FaceModel:
    """The shipped face model."""
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")


@pytest.fixture(scope="session")
def triangles(face_model: FaceModel) -> Tensor:
    return torch.from_numpy(face_model.faces).long()


class Faces:
    """Meshes in pixels of the crop, at the size that faces have there."""

    def __init__(self, model: FaceModel) -> None:
        self.model = model
        height = np.ptp(model.canonical[:, 1])
        self.pixels = 0.57 * CROP_SIZE / height

    def mesh(
        self,
        expression: Float | None = None,
        blink: float = 0.0,
        turn: tuple[float, float, float] = (0, 0, 0),
        shift: tuple[float, float] = (0, 0),
    ) -> Tensor:
        """[1, V, 3]; turn: rotation vector in radians, shift: pixels."""
        coefficients = np.zeros(20, np.float32) if expression is None else expression
        face = self.model.canonical + self.model.displacement(coefficients, np.float32(blink))
        posed = apply_pose(face, np.array([*turn, 0, 0, 0], np.float32))
        centre = np.array([CROP_SIZE / 2 + shift[0], CROP_SIZE / 2 + shift[1], 0])
        return torch.from_numpy((posed * self.pixels + centre).astype(np.float32))[None]


@pytest.fixture(scope="session")
def faces(face_model: FaceModel) -> Faces:
    return Faces(face_model)


def smooth_noise(seed: int, grain: int, size: int = CROP_SIZE) -> Tensor:
    """[1, 3, size, size] in 0..1, noise whose features are ``size / grain`` pixels large."""
    noise = torch.rand(1, 3, grain, grain, generator=torch.Generator().manual_seed(seed))
    return interpolate(noise, size=(size, size), mode="bicubic", align_corners=False).clamp(0, 1)


@pytest.fixture(scope="session")
def texture() -> Tensor:
    """[1, 3, 256, 256], features of eight pixels."""
    return smooth_noise(0, 32)
