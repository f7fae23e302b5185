"""Θ at work: the two ways to run it, and where they look for its files."""

from __future__ import annotations

import copy
import dataclasses
import io
import shutil
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from thcli import checkpoints
from thcli.checkpoints import Header, load_checkpoint, save_checkpoint, write_manifest
from thcli.config import make_dims
from thcli.errors import UsageError, WeightsError
from thcli.export.exporters import export_generator
from thcli.render.generator import (
    OnnxGenerator,
    TorchGenerator,
    find_generator,
    load_generator,
    precision_of,
    quickest_precision,
)
from thgen_models.generator import Frames, Generator, GeneratorDims

LEVEL = 2 / 255
"""One level of 255, of pictures in -1..1."""
ONNX = {"generator.onnx", "generator_embedding.onnx"}
Given = Callable[..., tuple[Tensor, Tensor, Frames]]


@pytest.fixture(scope="module")
def weights(theta_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny Θ, moved as if it had been trained: checkpoint, exported networks and manifest."""
    folder = tmp_path_factory.mktemp("exported")
    shutil.copy(theta_weights / "generator.safetensors", folder)
    network = network_of(folder / "generator.safetensors")
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        export_generator(network, folder)
    assert said.getvalue() == ""
    assert {path.name for path in folder.iterdir()} == ONNX | {"generator.safetensors"}
    write_manifest(folder)
    return folder


@pytest.fixture(params=["float32", "bfloat16"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the CPU is quickest in, as PyTorch says it."""
    known = {"amx_bf16": request.param == "bfloat16"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: known, raising=False)
    return str(request.param)


@pytest.fixture
def given() -> Given:
    """Random input: (B, K) → images and maps of references, frames."""

    def make(batch: int, count: int) -> tuple[Tensor, Tensor, Frames]:
        random = torch.Generator().manual_seed(batch)

        def draw(number: int, channels: int) -> Tensor:
            # not white noise: pictures have neighbours that are alike
            values = interpolate(torch.rand(number, channels, 64, 64, generator=random), size=256, mode="bilinear")
            return values * 2 - 1 if channels == 3 else values

        pictures = [draw(batch, channels) for channels in (3, 3, 3, 1, 1)]
        return draw(count, 3), draw(count, 1), Frames(*pictures)

    return make


def onnx_and_torch(weights: Path) -> tuple[OnnxGenerator, TorchGenerator]:
    checkpoint, *exported = (weights / f"generator{rest}" for rest in (".safetensors", ".onnx", "_embedding.onnx"))
    return OnnxGenerator(*exported), TorchGenerator(network_of(checkpoint), precision=torch.float32)


def network_of(path: Path) -> Generator:
    checkpoint = load_checkpoint(path, "generator")
    network = Generator(make_dims(GeneratorDims, checkpoint.header.dims, "test"))
    network.load_state_dict(dict(checkpoint.tensors))
    return network


@pytest.mark.parametrize(("batch", "count"), [(1, 1), (2, 3), (5, 8)])
def test_onnx_runtime_and_pytorch_draw_the_same(weights: Path, given: Given, batch: int, count: int) -> None:
    images, maps, frames = given(batch, count)
    embeddings, drawn = [], []
    for theta in onnx_and_torch(weights):
        embeddings.append(theta.embed(images, maps))
        drawn.append(theta.draw(frames, embeddings[-1]))
    for one, other in zip(*(embedding.tensors() for embedding in embeddings), strict=True):
        assert one.shape == other.shape and (one - other).abs().max() < 1e-3
    one, other = drawn
    assert one.shape == other.shape == (batch, 3, 256, 256)
    assert (one - other).abs().max() <= LEVEL / 2
    assert (one - frames.geometric).abs().max() > 10 * LEVEL


def test_a_frame_comes_out_the_same_alone(weights: Path, given: Given) -> None:
    images, maps, frames = given(3, 2)
    for theta in onnx_and_torch(weights):
        embedding = theta.embed(images, maps)
        together = theta.draw(frames, embedding)
        last = Frames(*(getattr(frames, field.name)[2:] for field in dataclasses.fields(Frames)))
        assert (theta.draw(last, embedding) - together[2:]).abs().max() <= LEVEL / 2
        assert theta.draw(frames, embedding).numpy().tobytes() == together.numpy().tobytes()


def test_bfloat16_rounds_little(given: Given) -> None:
    images, maps, frames = given(2, 3)
    network = network_of(checkpoints.find_weights("generator.safetensors"))
    exact, rounded = (
        TorchGenerator(copy.deepcopy(network), precision=kind) for kind in (torch.float32, torch.bfloat16)
    )
    embedding = exact.embed(images, maps)
    for one, other in zip(embedding.tensors(), rounded.embed(images, maps).tensors(), strict=True):
        assert torch.equal(one, other)
    one, other = exact.draw(frames, embedding), rounded.draw(frames, embedding)
    assert other.dtype == torch.float32
    change, error = (one - frames.geometric).abs(), (one - other).abs()  # of noise it changes a lot
    assert 0 < error.mean() < change.mean() / 20 and error.max() < change.max() / 5
    assert rounded.draw(frames, embedding).numpy().tobytes() == other.numpy().tobytes()


def test_what_theta_does_not_paint_is_not_rounded(given: Given) -> None:
    images, maps, frames = given(2, 2)
    untrained = TorchGenerator(Generator(GeneratorDims()), precision=torch.bfloat16)
    assert torch.equal(untrained.draw(frames, untrained.embed(images, maps)), frames.geometric)


def test_where_it_runs(processor: str, weights: Path, theta_weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    exported = processor == "float32"
    assert {path.name for path in find_generator(weights, "cpu")} == (ONNX if exported else {"generator.safetensors"})
    assert [path.name for path in find_generator(weights, "cuda:0")] == ["generator.safetensors"]
    assert isinstance(load_generator(weights, "cpu"), OnnxGenerator if exported else TorchGenerator)
    # a folder of one's own has no exported networks: those shipped are another network's
    monkeypatch.setattr(checkpoints, "shipped_weights", lambda: weights)
    assert find_generator(theta_weights, "cpu") == (theta_weights / "generator.safetensors",)
    assert isinstance(load_generator(theta_weights, "cpu"), TorchGenerator)
    assert find_generator(None, "cpu")[0].parent == weights


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_bfloat16_is_for_cpus_that_have_it(processor: str, device: str) -> None:
    assert quickest_precision(device) == (getattr(torch, processor) if device == "cpu" else torch.float32)


def test_a_precision_that_is_asked_for(weights: Path, theta_weights: Path) -> None:
    assert isinstance(load_generator(weights, "cpu", "fp32"), OnnxGenerator)
    for folder in (weights, theta_weights):
        rounded = load_generator(folder, "cpu", "bf16")
        assert isinstance(rounded, TorchGenerator) and rounded.precision == torch.bfloat16
    assert load_generator(theta_weights, "cpu", "fp32").precision == torch.float32
    with pytest.raises(UsageError, match=r"^--precision fp16: is for GPUs; use bf16 or fp32 on the CPU$"):
        load_generator(weights, "cpu", "fp16")
    assert precision_of("fp16", "cuda:1") == torch.float16


def test_a_pytorch_that_cannot_say_what_the_cpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quickest_precision("cpu") == torch.float32


def spoil(folder: Path, how: str) -> None:
    frames, embedding = folder / "generator.onnx", folder / "generator_embedding.onnx"
    if how == "missing":
        (folder / "generator.safetensors").unlink()
    elif how == "half":
        embedding.unlink()
    elif how == "damaged":
        frames.write_bytes(frames.read_bytes()[:1000])
    elif how == "changed":
        frames.write_bytes(frames.read_bytes() + b"\0")
        return
    elif how == "swapped":
        shutil.copy(embedding, frames)
    write_manifest(folder)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "generator.safetensors: no such weights in"),
        ("half", "generator_embedding.onnx: no such file, expected beside generator.onnx; export both anew"),
        ("damaged", "generator.onnx: not a network of Θ"),
        ("changed", "generator.onnx: SHA-256 is"),
        ("swapped", "generator.onnx: has the inputs images, maps, expected geometric, projected"),
    ],
)
def test_files_that_will_not_do(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    spoil(folder, how)
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict, raising=False)
    monkeypatch.setattr(checkpoints, "shipped_weights", lambda: tmp_path)
    with pytest.raises(WeightsError) as caught:
        load_generator(folder, "cpu")
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_checkpoint_of_another_stage(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "generator.safetensors", Header("expression", {}), {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="a checkpoint of 'expression', expected one of 'generator'"):
        load_generator(tmp_path)


@pytest.mark.parametrize("without", [{}, {"warping": False}, {"three_d": False}, {"nonlinear_composition": False}])
def test_the_picture_is_theta_s_cut_off(theta_weights: Path, given: Given, without: dict[str, bool]) -> None:
    header = load_checkpoint(theta_weights / "generator.safetensors", "generator").header
    dims = make_dims(GeneratorDims, header.dims, "test")
    torch.manual_seed(0)
    network = Generator(dataclasses.replace(dims, **without)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images, maps, frames = given(2, 3)
    theta = TorchGenerator(network, precision=torch.float32)
    picture = theta.draw(frames, theta.embed(images, maps))
    with torch.no_grad():
        image = network(frames, network.embed(images[None], maps[None])).image
    assert image.abs().max() > 1 and picture.abs().max() == 1
    assert (image.clamp(-1, 1) - picture).abs().max() < 1e-5
    assert (picture - frames.geometric).abs().mean() > LEVEL
