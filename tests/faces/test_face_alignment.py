"""The face-alignment backend: completing the mesh, and what happens without the package or its weights."""

import sys
from types import ModuleType

import numpy as np
import pytest

from thcli.errors import UsageError, WeightsError
from thcli.face_model import INNER_LIPS, LANDMARKS_68
from thcli.faces.face_alignment import FaceAlignmentTracker, fit_mesh
from thcli.rotations import apply_pose


@pytest.fixture
def posed(face_model):
    """Meshes in pixels of speaking people of another shape."""
    generator = np.random.default_rng(0)
    shape = face_model.canonical * np.float32([0.97, 1.04, 1])
    expression = generator.normal(size=(6, 20)).astype(np.float32)
    pose = generator.normal(0, [0.1, 0.3, 0.1, 0.1, 0.1, 0.1], (6, 6)).astype(np.float32)
    return apply_pose(shape + face_model.displacement(expression), pose) * np.float32(75) + np.float32([128, 128, 0])


def test_fit_mesh_finds_a_mesh_from_its_own_landmarks(face_model, posed):
    for mesh in posed:
        fitted = fit_mesh(mesh[list(LANDMARKS_68)], face_model)
        error = np.linalg.norm(fitted - mesh, axis=-1) / 75
        assert error[list(LANDMARKS_68)].mean() < 0.01
        assert error.mean() < 0.03
        assert error[list(INNER_LIPS)].mean() < 0.02


def test_face_alignment_tracker_says_what_to_install_without_the_package(monkeypatch, face_model):
    monkeypatch.setitem(sys.modules, "face_alignment", None)
    with pytest.raises(UsageError, match=r"face-alignment.*pip install.*--tracker builtin"):
        FaceAlignmentTracker(face_model)


@pytest.fixture
def package(monkeypatch):
    """A stand-in for the package, which must not be asked for its network."""
    names = ["face_alignment", "face_alignment.api", "face_alignment.detection", "face_alignment.detection.sfd"]
    modules = {name: ModuleType(name) for name in [*names, "face_alignment.detection.sfd.sfd_detector"]}
    modules["face_alignment.api"].models_urls = {"3DFAN-4": "any/fan.pth.tar", "depth": "any/depth.pth.tar"}
    modules["face_alignment.detection.sfd.sfd_detector"].models_urls = {"s3fd": "any/s3fd.pth"}
    for name, module in modules.items():
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(modules[parent], child, module)
        monkeypatch.setitem(sys.modules, name, module)


@pytest.mark.usefixtures("package")
def test_face_alignment_tracker_names_missing_weights_and_fetches_none(monkeypatch, tmp_path, face_model):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "s3fd.pth").touch()
    with pytest.raises(WeightsError, match=r"no fan\.pth\.tar, depth\.pth\.tar"):
        FaceAlignmentTracker(face_model)
