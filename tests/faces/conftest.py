"""The face model that tracks are fitted with."""

from pathlib import Path

import pytest

import thgen_models
from thcli.face_model import FaceModel


@pytest.fixture(scope="session")
def face_model():
    """The shipped face model."""
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")
