"""Θ renders frames and parts of them, in the precision of the device or in that asked for."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from thcli import checkpoints
from thcli.checkpoints import Header, load_checkpoint, save_checkpoint, write_manifest
from thcli.config import make_dims
from thcli.errors import UsageError, WeightsError
from thcli.pipeline.models import load_generator, load_models
from thcli.render.generator import TorchGenerator, precision_of, quickest_precision
from thgen_models.generator import Frames, Generator, GeneratorDims

LEVEL = 2 / 255
"""One level of 255, for images in -1..1."""
SIDE = GeneratorDims().side
"""Side, px, of the images that the shipped Θ makes; all but two of those that it takes are half as large."""
Given = Callable[..., tuple[Tensor, Tensor, Frames]]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the Θ that ships alone, and a manifest."""
    folder = tmp_path_factory.mktemp("theta")
    shutil.copy(checkpoints.shipped_weights() / "generator.safetensors", folder)
    write_manifest(folder)
    return folder


@pytest.fixture(params=[("avx512_f", "float32"), ("avx512_bf16", "bfloat16"), ("amx_bf16", "bfloat16")])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The format in which the CPU is quickest, by what PyTorch says it is capable of."""
    capability, quickest = request.param
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, capability: True}, raising=False)
    return str(quickest)


@pytest.fixture
def given() -> Given:
    """given(B, K): random images and maps of K references, and B frames."""

    def make(batch: int, count: int) -> tuple[Tensor, Tensor, Frames]:
        random = torch.Generator().manual_seed(batch)

        def noise(number: int, channels: int, size: int = SIDE // 2) -> Tensor:
            # In images, unlike in white noise, neighbouring pixels are alike.
            values = interpolate(torch.rand(number, channels, 64, 64, generator=random), size=size, mode="bilinear")
            return values * 2 - 1 if channels == 3 else values

        images = [noise(batch, *shape[:2]) for shape in GeneratorDims().frame_shapes]
        return noise(count, 3), noise(count, 1), Frames(*images)

    return make


def shipped(weights: Path) -> TorchGenerator:
    """Return the Θ of a folder in float32."""
    return TorchGenerator(load_generator(weights / "generator.safetensors"), precision=torch.float32)


def test_render_gives_a_frame_alone_as_in_a_batch(weights: Path, given: Given) -> None:
    images, maps, frames = given(3, 2)
    theta = shipped(weights)
    embedding = theta.embed(images, maps)
    together = theta.render(frames, embedding)
    assert together.shape == (3, 3, SIDE, SIDE) and (together - frames.geometric).abs().max() > 10 * LEVEL
    last = Frames(*(getattr(frames, field.name)[2:] for field in dataclasses.fields(Frames)))
    assert (theta.render(last, embedding) - together[2:]).abs().max() <= LEVEL / 2
    assert theta.render(frames, embedding).numpy().tobytes() == together.numpy().tobytes()


def test_render_part_of_everything_is_render(weights: Path, given: Given) -> None:
    images, maps, frames = given(2, 3)
    theta = shipped(weights)
    embedding = theta.embed(images, maps)
    assert torch.equal(theta.render_part(frames, embedding, frames.target_map, (0, 0)), theta.render(frames, embedding))


def test_render_part_is_a_part_of_render_but_for_its_border(given: Given) -> None:
    images, maps, frames = given(1, 2)
    theta = TorchGenerator(load_generator(checkpoints.find_weights("generator.safetensors")), precision=torch.float32)
    embedding = theta.embed(images, maps)
    whole = theta.render(frames, embedding)[..., 64:192, 32:224]
    cut = Frames(
        *(
            x[..., 64:192, 32:224] if x.shape[-1] == SIDE else x[..., 32:96, 16:112]
            for x in (getattr(frames, field.name) for field in dataclasses.fields(Frames))
        )
    )
    part = theta.render_part(cut, embedding, frames.target_map, (64, 32))
    assert part.shape == whole.shape
    inside = (..., slice(24, -24), slice(24, -24))
    # Θ changes an image of noise a lot; parts of real frames differ by less than 1 of 255.
    assert (part - whole)[inside].abs().mean() < 0.15 * (whole - cut.geometric)[inside].abs().mean()


def test_torch_generator_in_bfloat16_rounds_little_and_repeatably(given: Given) -> None:
    images, maps, frames = given(2, 3)
    network = load_generator(checkpoints.find_weights("generator.safetensors"))
    exact, rounded = (
        TorchGenerator(copy.deepcopy(network), precision=kind) for kind in (torch.float32, torch.bfloat16)
    )
    embedding = exact.embed(images, maps)
    for one, other in zip(embedding.tensors(), rounded.embed(images, maps).tensors(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-4)  # sums in another order of memory
    one, other = exact.render(frames, embedding), rounded.render(frames, embedding)
    assert other.dtype == torch.float32
    # Θ changes an image of noise a lot.
    change, error = (one - frames.geometric).abs(), (one - other).abs()
    assert 0 < error.mean() < change.mean() / 20 and error.max() < change.max() / 5
    assert rounded.render(frames, embedding).numpy().tobytes() == other.numpy().tobytes()


def test_torch_generator_in_bfloat16_does_not_round_what_theta_leaves(given: Given) -> None:
    images, maps, frames = given(2, 2)
    untrained = TorchGenerator(Generator(GeneratorDims()), precision=torch.bfloat16)
    assert torch.equal(untrained.render(frames, untrained.embed(images, maps)), frames.geometric)


@pytest.mark.parametrize("device", ["cpu", "cuda:0", "mps"])
def test_quickest_precision_is_bfloat16_only_on_cpus_that_have_it(processor: str, device: str) -> None:
    assert quickest_precision(device) == (getattr(torch, processor) if device == "cpu" else torch.float32)


def test_models_run_theta_in_the_precision_asked_for(weights: Path, theta_weights: Path) -> None:
    for folder in (weights, theta_weights):
        rounded = load_models(folder, "cpu", "bf16").theta
        assert isinstance(rounded, TorchGenerator) and rounded.precision == torch.bfloat16
    exact = load_models(theta_weights, "cpu", "fp32").theta
    assert isinstance(exact, TorchGenerator) and exact.precision == torch.float32


def test_models_refuse_fp16_on_the_cpu(weights: Path) -> None:
    with pytest.raises(UsageError, match=r"^--precision fp16: is for GPUs; use bf16 or fp32 on the CPU$"):
        load_models(weights, "cpu", "fp16").theta
    assert precision_of("fp16", "cuda:1") == torch.float16


def test_quickest_precision_is_float32_where_pytorch_does_not_know_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    assert quickest_precision("cpu") == torch.float32


def spoil(folder: Path, how: str) -> None:
    """Damage the file of Θ in a folder; except for ``changed`` the manifest lists it as it is then."""
    file = folder / "generator.safetensors"
    if how == "missing":
        file.unlink()
    elif how == "damaged":
        file.write_bytes(file.read_bytes()[:1000])
    elif how == "changed":
        file.write_bytes(file.read_bytes() + b"\0")
        return
    write_manifest(folder)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("missing", "holds none of the weights looked for"),
        ("damaged", "generator.safetensors: not a thgen checkpoint"),
        ("changed", "generator.safetensors: SHA-256 is"),
    ],
)
def test_models_refuse_an_unusable_file_of_theta(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, words: str
) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(weights, folder)
    spoil(folder, how)
    monkeypatch.setattr(checkpoints, "shipped_weights", lambda: tmp_path)
    with pytest.raises(WeightsError) as caught:
        load_models(folder, "cpu").theta
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_models_refuse_a_checkpoint_of_another_stage_as_theta(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "generator.safetensors", Header("expression", {}), {"a": torch.zeros(1)})
    with pytest.raises(WeightsError, match="a checkpoint of 'expression', expected one of 'generator'"):
        load_models(tmp_path, "cpu").theta


@pytest.mark.parametrize("without", [{}, {"warping": False}, {"three_d": False}, {"nonlinear_composition": False}])
def test_torch_generator_clamps_the_image_of_the_network(
    theta_weights: Path, given: Given, without: dict[str, bool]
) -> None:
    header = load_checkpoint(theta_weights / "generator.safetensors", "generator").header
    dims = make_dims(GeneratorDims, header.dims, "test")
    torch.manual_seed(0)
    network = Generator(dataclasses.replace(dims, **without)).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    images, maps, frames = given(2, 3)
    theta = TorchGenerator(network, precision=torch.float32)
    rendered = theta.render(frames, theta.embed(images, maps))
    with torch.no_grad():
        image = network(frames, network.embed(images[None], maps[None])).image
    assert image.abs().max() > 1 and rendered.abs().max() == 1
    assert (image.clamp(-1, 1) - rendered).abs().max() < 1e-5
    assert (rendered - frames.geometric).abs().mean() > LEVEL
