"""The perceptual loss: the networks that a file may hold, where faces are cut out, and the gradients."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from thcli.checkpoints import sha256
from thcli.errors import WeightsError
from thcli.evaluation.embed import alignment
from thcli.export.exporters import export_onnx
from thcli.faces.identity import ALIGNED, ARCFACE
from thcli.records import Float
from thcli.training.perceptual import aligned, load_perceptual
from thgen_models.identity import MobileFaceNet
from thgen_models.perceptual import Vgg19

FIVE = ((36, 42), (42, 48), (30, 31), (48, 49), (54, 55))
"""Ranges of the 68 landmarks whose means are ArcFace's points."""


def export(network: nn.Module, path: Path) -> Path:
    """Write the last output of a network as ONNX, as such files are made."""
    export_onnx(network, torch.rand(1, 3, 112, 112), "x", ("y",), path)
    return path


class Last(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x)[-1]


@pytest.fixture(scope="module")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return export(Last(MobileFaceNet()).eval(), tmp_path_factory.mktemp("identity") / "faces.onnx")


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VGG19 with random weights and, as in torchvision's files, a tensor of its classifier."""
    path = tmp_path_factory.mktemp("vgg") / "vgg.safetensors"
    torch.manual_seed(1)
    save_file({**Vgg19().state_dict(), "classifier.0.weight": torch.zeros(3)}, path)
    return path


def test_load_perceptual_gives_the_features_of_the_identity_network_in_the_file(identity: Path) -> None:
    found = load_perceptual(identity, "cpu")
    assert found.faces and found.source == {
        "kind": "MobileFaceNet", "file": "faces.onnx", "sha256": sha256(identity),
    }  # fmt: skip
    image = torch.rand(1, 3, 112, 112) * 2 - 1
    expected = onnxruntime.InferenceSession(str(identity)).run(None, {"x": image.numpy()})[0]
    features = found.features(image)
    np.testing.assert_allclose(features[-1].numpy(), expected, atol=1e-4)
    assert np.abs(expected).max() > 1e-3
    assert [x.shape[-1] for x in features] == [56, 28, 14, 7, 1] and len(found.features.weights) == 5


def test_load_perceptual_takes_vgg19_as_torchvision_names_it_and_ignores_the_rest(vgg: Path) -> None:
    found = load_perceptual(vgg, "cpu")
    assert not found.faces and found.source["kind"] == "VGG19"
    network = Vgg19()
    network.load_state_dict({name: tensor for name, tensor in load_file(vgg).items() if name.startswith("features")})
    image = torch.rand(1, 3, 32, 32)
    for own, expected in zip(found.features(image), network(image), strict=True):
        assert torch.equal(own, expected)


def test_load_perceptual_refuses_other_files(tmp_path: Path) -> None:
    other = export(nn.Conv2d(3, 4, 3), tmp_path / "other.onnx")
    (tmp_path / "text.txt").write_text("nothing of the kind")
    torch.save({"a": torch.zeros(1)}, tmp_path / "new.pt")
    torch.save({"a": torch.zeros(1)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    tensors = {name: torch.zeros_like(tensor) for name, tensor in Vgg19().state_dict().items()}
    save_file({**tensors, "features.0.weight": torch.zeros(2, 3, 3, 3)}, tmp_path / "narrow.safetensors")
    del tensors["features.0.bias"]
    save_file(tensors, tmp_path / "part.safetensors")
    for path, message in (
        (other, "a network of 1 convolutions, not MobileFaceNet's"),
        (tmp_path / "text.txt", "neither safetensors nor ONNX"),
        (tmp_path / "new.pt", "a pickle, which thgen never loads"),
        (tmp_path / "old.pt", "a pickle, which thgen never loads"),
        (tmp_path / "narrow.safetensors", "not VGG19 as torchvision names it"),
        (tmp_path / "part.safetensors", "not VGG19 as torchvision names it .*features.0.bias"),
        (tmp_path / "gone", "no such file"),
    ):
        with pytest.raises(WeightsError, match=rf"{path.name}: {message}.*; expected VGG19 as .*") as caught:
            load_perceptual(path, "cpu")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mirrored", [False, True])
def test_aligned_cuts_faces_out_as_the_evaluation_does(face: Float, mirrored: bool) -> None:
    """The evaluation cuts the faces out of images in another way."""
    random = np.random.default_rng(0)
    coarse = torch.from_numpy(random.random((1, 3, 16, 16), dtype=np.float32))
    image = nn.functional.interpolate(coarse, size=(256, 256), mode="bicubic").clamp(0, 1)
    turn = np.array([[np.cos(0.2), -np.sin(0.2)], [np.sin(0.2), np.cos(0.2)]], np.float32)
    points = ((face - 128) @ turn * np.float32(1.1) + [120, 131]).astype(np.float32)
    five = np.stack([points[first:end].mean(axis=0) for first, end in FIVE])
    frame = (image[0].permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
    expected = alignment(five).extract(frame)
    if mirrored:
        # A mirrored person has the right eye on the other side, so left and right points are swapped.
        five = np.stack([[256, 0], [256, 0], [256, 0], [256, 0], [256, 0]]) + five * [-1, 1]
        expected = alignment(five[[1, 0, 2, 4, 3]]).extract(np.ascontiguousarray(frame[:, ::-1]))
        image, points = image.flip(-1), (points * [-1, 1] + [256, 0]).astype(np.float32)
    found = aligned(image, torch.from_numpy(points)[None])[0]
    assert found.shape == (3, ALIGNED, ALIGNED)
    assert (found - expected).abs().mean() < 0.01


def test_aligned_puts_landmarks_on_the_points_of_arcface(face: Float) -> None:
    """Dots at the points of a face of ArcFace's shape, only larger, are found at ArcFace's points."""
    points = torch.from_numpy(face.copy())
    goal = torch.from_numpy(1.7 * (ARCFACE + 0.5) + 20).float()
    for (first, end), place in zip(FIVE, goal, strict=True):
        points[first:end] = place
    images = torch.zeros(5, 3, 256, 256)
    for image, place in zip(images, goal, strict=True):
        x, y = (int(v) for v in place)
        image[:, y - 3 : y + 3, x - 3 : x + 3] = 1
    for image, place in zip(aligned(images, points.expand(5, -1, -1)), ARCFACE, strict=True):
        y, x = (values.float().mean() for values in torch.nonzero(image[0] > 0.5, as_tuple=True))
        assert abs(float(x) - place[0]) < 1 and abs(float(y) - place[1]) < 1


def test_perceptual_loss_is_zero_for_the_real_image_and_falls_along_its_gradient(
    identity: Path, vgg: Path, face: Float
) -> None:
    torch.manual_seed(2)
    real = torch.rand(2, 3, 64, 64) * 2 - 1
    points = torch.from_numpy(face / 4).expand(2, -1, -1)
    for path in (identity, vgg):
        loss = load_perceptual(path, "cpu")
        made = (real + 0.2 * torch.randn(real.shape)).requires_grad_()
        assert float(loss(real, real, points)) == 0
        far = loss(made, real, points)
        (slope,) = torch.autograd.grad(far, made)
        assert slope.isfinite().all() and slope.any()
        nearer = loss(made.detach() - 1e-3 * slope / slope.abs().max(), real, points)
        assert float(nearer) < float(far.detach())
        assert not any(p.requires_grad for p in loss.features.parameters())  # type: ignore[attr-defined]


def test_perceptual_loss_compares_bfloat16_features_in_float32(identity: Path, face: Float) -> None:
    loss = load_perceptual(identity, "cpu")
    points = torch.from_numpy(face / 4)[None]
    real, made = (torch.rand(1, 3, 64, 64) * 2 - 1 for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        low = loss(made, real, points)
    assert low.dtype == torch.float32 and float(low) == pytest.approx(float(loss(made, real, points)), rel=0.1)
