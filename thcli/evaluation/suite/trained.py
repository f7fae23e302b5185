"""Table 3 with networks: Θ with and without each of its four modules, all trained alike (§4.2, §4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from torch import Tensor

from thcli.checkpoints import Header, read_header, sha256
from thcli.errors import WeightsError
from thcli.evaluation.suite.ablation import ABLATED, Ablation, draw_by
from thcli.records import CROP_SIZE
from thcli.render.generator import FrameGenerator, TorchGenerator, resized
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames

MODULES = {
    "3d-aware": "three_d",
    "hybrid-attention": "hybrid_attention",
    "non-linear": "nonlinear_composition",
    "warping": "warping",
}
"""The four, by their names in ``--ablate``: fields of ``GeneratorDims``."""
FULL, BASELINE = "full", "baseline"
LACKS: Mapping[str, tuple[str, ...]] = {
    FULL: (),
    **{f"no-{name}": (module,) for name, module in MODULES.items()},
    BASELINE: tuple(MODULES.values()),
}
"""What each network of a folder lacks; ``full`` is that of ``full.safetensors``."""
TRAIN_THEM = "benchmarks/ablation.py trains all six"


def trained_ablations(folder: Path, ablations: Sequence[str], device: str) -> list[Ablation]:
    """The rows of Table 3 that the networks in a folder draw: the full model, and those of ``options.ABLATIONS``.

    Raises WeightsError where one is missing, is not what its name says, or was not trained as the others were.
    """
    stems = {FULL: "Full Model", **{_stem(name): ABLATED[name].title for name in ablations}}
    headers = {stem: _header(folder / f"{stem}.safetensors", stem) for stem in stems}
    for stem, header in headers.items():
        _check_alike(folder, stem, header, headers[FULL])
    return [_ablation(folder / f"{stem}.safetensors", title, headers[stem], device) for stem, title in stems.items()]


class AtSize:
    """Θ for pictures of 256² by a network that was trained on others: it sees them at its own size."""

    def __init__(self, theta: FrameGenerator, size: int) -> None:
        self.theta, self.size = theta, size

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return self.theta.embed(resized(images, self.size), resized(maps, self.size))

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.draw``; the picture is enlarged."""
        small = Frames(*(resized(getattr(frames, field.name), self.size) for field in fields(Frames)))
        return resized(self.theta.draw(small, embedding), CROP_SIZE)


def _ablation(path: Path, title: str, header: Header, device: str) -> Ablation:
    size = int(header.config.get("size", CROP_SIZE))
    lacks = [name for name, module in MODULES.items() if not header.dims.get(module, True)]
    meaning = (
        f"Θ {'without ' + ', '.join(lacks) if lacks else 'with all four modules'}, "
        f"{'over the geometric picture' if header.dims.get('floor', True) else 'which paints all of the picture'}; "
        f"trained {header.step} steps at {size}², drawn at {size}²"
    )
    theta = AtSize(TorchGenerator.load(path, device), size)
    return Ablation(title, meaning, draw_by(theta), {path.name: sha256(path)})


def _stem(ablation: str) -> str:
    return ablation if ablation == BASELINE else f"no-{ablation}"


def _header(path: Path, stem: str) -> Header:
    """Of a checkpoint of Θ that lacks what its name says, and nothing else."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such checkpoint, expected for its row of Table 3; {TRAIN_THEM}")
    header = read_header(path)
    if header.stage != "generator":
        raise WeightsError(f"{path}: a checkpoint of '{header.stage}', expected one of 'generator'; {TRAIN_THEM}")
    for name, module in MODULES.items():
        found, expected = bool(header.dims.get(module, True)), module not in LACKS[stem]
        if found != expected:
            raise WeightsError(
                f"{path}: a network {_with(found)} {name}, its name says {_with(expected)}; {TRAIN_THEM}"
            )
    return header


def _with(has: bool) -> str:
    return "with" if has else "without"


def _check_alike(folder: Path, stem: str, header: Header, full: Header) -> None:
    """That a network was trained as the full one was, and has its sizes."""
    own, others = _settings(header), _settings(full)
    for name in dict.fromkeys([*others, *own]):
        if own.get(name) != others.get(name):
            raise WeightsError(
                f"{folder / stem}.safetensors: {name} {own.get(name)}, {FULL}.safetensors has {others.get(name)}; "
                f"train them alike, as {TRAIN_THEM}"
            )


def _settings(header: Header) -> dict[str, Any]:
    """What all rows must have in common, by what an error calls it."""
    config = {name: value for name, value in header.config.items() if name != "network"}
    dims = {name: value for name, value in header.dims.items() if name not in MODULES.values()}
    return {"steps": header.step, **_flat(config), **_flat(dims, "network."), **_flat(header.data, "data.")}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Leaves by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return leaves
