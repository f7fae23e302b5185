"""Fixtures for the renderer: a face at any place, and images with enough texture to see where everything goes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from thcli.face_model import FaceModel
from thcli.pipeline.models import Models, load_models
from thcli.records import CROP_SIZE, Float
from thcli.rotations import apply_pose


@pytest.fixture(scope="session")
def models() -> Models:
    """The shipped networks on the CPU."""
    return load_models(device="cpu")


@pytest.fixture(scope="session")
def face_model(models: Models) -> FaceModel:
    """The shipped face model."""
    return models.face_model


@pytest.fixture(scope="session")
def triangles(face_model: FaceModel) -> Tensor:
    """The triangles [F, 3] of the face mesh."""
    return torch.from_numpy(face_model.faces).long()


class Faces:
    """Makes meshes in pixels of the crop, as large as faces are there."""

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
        """Return a mesh [1, V, 3] with an expression and a blink.

        turn: rotation vector in radians; shift: pixels to the right and down
        """
        coefficients = np.zeros(20, np.float32) if expression is None else expression
        face = self.model.canonical + self.model.displacement(coefficients, np.float32(blink))
        posed = apply_pose(face, np.array([*turn, 0, 0, 0], np.float32))
        centre = np.array([CROP_SIZE / 2 + shift[0], CROP_SIZE / 2 + shift[1], 0])
        return torch.from_numpy((posed * self.pixels + centre).astype(np.float32))[None]


@pytest.fixture(scope="session")
def faces(face_model: FaceModel) -> Faces:
    """A maker of meshes of the shipped face model."""
    return Faces(face_model)


@pytest.fixture(scope="session")
def smooth_noise() -> Callable[[int, int], Tensor]:
    """smooth_noise(seed, grain): noise [1, 3, 256, 256] in 0..1 whose features are ``256 / grain`` pixels large."""

    def make(seed: int, grain: int) -> Tensor:
        noise = torch.rand(1, 3, grain, grain, generator=torch.Generator().manual_seed(seed))
        return interpolate(noise, size=(CROP_SIZE, CROP_SIZE), mode="bicubic", align_corners=False).clamp(0, 1)

    return make


@pytest.fixture(scope="session")
def texture(smooth_noise: Callable[[int, int], Tensor]) -> Tensor:
    """Noise [1, 3, 256, 256] with features of eight pixels."""
    return smooth_noise(0, 32)
