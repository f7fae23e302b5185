"""Table 3 by networks: Θ with and without each of its four modules, all trained alike (§4.2, §4.3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from thcli.checkpoints import Header, read_header, sha256
from thcli.errors import WeightsError
from thcli.evaluation.suite.ablation import ABLATED, Ablation, render_by
from thcli.pipeline.models import load_generator
from thcli.records import CROP_SIZE
from thcli.render.generator import TorchGenerator

MODULES = {
    "3d-aware": "three_d",
    "hybrid-attention": "hybrid_attention",
    "non-linear": "nonlinear_composition",
    "warping": "warping",
}
"""Fields of ``GeneratorDims`` that switch the four modules, by the modules' names in ``--ablate``."""
FULL, BASELINE = "full", "baseline"
"""Names, without suffix, of the checkpoints with all and with none of the modules."""
LACKS: Mapping[str, tuple[str, ...]] = {
    FULL: (),
    **{f"no-{name}": (module,) for name, module in MODULES.items()},
    BASELINE: tuple(MODULES.values()),
}
"""Modules that each network of a folder lacks, by the name of its checkpoint without suffix."""
TRAIN_THEM = "benchmarks/ablation.py trains all six"
"""End of every error on such a folder."""


def trained_ablations(folder: Path, ablations: Sequence[str], device: str) -> list[Ablation]:
    """Return the rows of Table 3 by the networks in a folder: the full model, and the given ``options.ABLATIONS``.

    Raises WeightsError where one is missing, is not what its name says, or was not trained like the others.
    """
    stems = {FULL: "Full Model", **{_stem(name): ABLATED[name].title for name in ablations}}
    headers = {stem: _header(folder / f"{stem}.safetensors", stem) for stem in stems}
    for stem, header in headers.items():
        _check_alike(folder, stem, header, headers[FULL])
    return [_ablation(folder / f"{stem}.safetensors", title, headers[stem], device) for stem, title in stems.items()]


def _ablation(path: Path, title: str, header: Header, device: str) -> Ablation:
    size = int(header.config.get("size", CROP_SIZE))
    lacks = [name for name, module in MODULES.items() if not header.dims.get(module, True)]
    meaning = (
        f"Θ {'without ' + ', '.join(lacks) if lacks else 'with all four modules'}, "
        f"{'over the geometric picture' if header.dims.get('floor', True) else 'which paints all of the picture'}; "
        f"trained {header.step} steps at {size}², drawn at {size}²"
    )
    theta = TorchGenerator(load_generator(path), device, size=size)
    return Ablation(title, meaning, render_by(theta), {path.name: sha256(path)})


def _stem(ablation: str) -> str:
    return ablation if ablation == BASELINE else f"no-{ablation}"


def _header(path: Path, stem: str) -> Header:
    """Read the header of a checkpoint of Θ. Raises WeightsError where its modules are not those of its name."""
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
    """Check that a network has the sizes and the training of the full one. Raises WeightsError where it has not."""
    own, others = _settings(header), _settings(full)
    for name in dict.fromkeys([*others, *own]):
        if own.get(name) != others.get(name):
            raise WeightsError(
                f"{folder / stem}.safetensors: {name} {own.get(name)}, {FULL}.safetensors has {others.get(name)}; "
                f"train them alike, as {TRAIN_THEM}"
            )


def _settings(header: Header) -> dict[str, Any]:
    """Return the settings that all networks must share, by their names in errors."""
    config = {name: value for name, value in header.config.items() if name != "network"}
    dims = {name: value for name, value in header.dims.items() if name not in MODULES.values()}
    return {"steps": header.step, **_flat(config), **_flat(dims, "network."), **_flat(header.data, "data.")}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the leaves of nested mappings by their dotted names."""
    leaves: dict[str, Any] = {}
    for name, value in tree.items():
        leaves.update(_flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value})
    return leaves
