"""``thgen export --onnx DIR``: Ψ, Φ, the tracker's two networks and Θ's two, checked, with a manifest."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thcli import __version__
from thcli.checkpoints import MANIFEST, find_weights, list_files, sha256, verify, write_atomic
from thcli.errors import MediaError, UsageError
from thcli.export.check import BOUND, SEED, difference, open_session, theta_differences
from thcli.export.exporters import check_exporter, export_generator
from thcli.export.restored import restored
from thcli.motion.expression import WEIGHTS as PSI
from thcli.motion.expression import load_expression_learner
from thcli.motion.head import WEIGHTS as PHI
from thcli.motion.head import load_head_motion_learner
from thcli.render.generator import CHECKPOINT, EMBEDDING, FRAMES, load_network

LISTING = "manifest.json"
TRACKER = ("detection.onnx", "unprojection.onnx")
TRACED, CHECKED = 9, 40
"""Frames of the example that is traced, and of the one that is compared: the length must not have stuck."""


@dataclass(frozen=True)
class Exported:
    """A written file.

    network: what it is; source: name and SHA-256 of what it was made from; copied: it was ONNX already
    inputs, outputs: shapes by name, with names for the axes of any length
    difference: from PyTorch on random input, as ``check.BOUND`` has it
    """

    file: str
    sha256: str
    network: str
    source: tuple[str, str]
    copied: bool
    inputs: Mapping[str, list[int | str]]
    outputs: Mapping[str, list[int | str]]
    difference: float


def export_all(folder: Path, weights: Path | None = None, overwrite: bool = False) -> list[Exported]:
    """Write all networks into a folder, with ``manifest.json`` and ``SHA256SUMS``; nothing is left on an error.

    Raises UsageError where files are there already, or the exporter's packages are missing; MediaError, WeightsError.
    """
    names = ("expression.onnx", "head_motion.onnx", *TRACKER, FRAMES, EMBEDDING, LISTING, MANIFEST)
    present = [folder / name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise UsageError(f"{present[0]}: exists already; add --overwrite, or name another folder")
    if not folder.parent.is_dir():
        raise MediaError(f"{folder.parent}: no such folder to make {folder.name} in; make it first")
    check_exporter()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        scratch = Path(name)
        written = [_psi(scratch, weights), _phi(scratch, weights)]
        written += [_tracker(scratch, network, weights) for network in TRACKER]
        written += _theta(scratch, weights)
        list_files(scratch, {one.file: one.sha256 for one in written})
        write_atomic(scratch / LISTING, (json.dumps(_listing(written), indent=2, ensure_ascii=False) + "\n").encode())
        folder.mkdir(exist_ok=True)
        for name in names:
            os.replace(scratch / name, folder / name)
    return written


def _listing(written: list[Exported]) -> dict[str, Any]:
    how = f"against PyTorch, on random input of seed {SEED}: largest difference, over the largest value or 1"
    files = [{**asdict(one), "source": {"file": one.source[0], "sha256": one.source[1]}} for one in written]
    return {"thgen": __version__, "torch": torch.__version__, "checked": how, "bound": BOUND, "files": files}


def _psi(folder: Path, weights: Path | None) -> Exported:
    """Ψ: log-mel features [1, T + 2 reach, steps, mels], and the reference expression."""
    source = find_weights(PSI, weights)
    network = load_expression_learner(weights)
    dims = network.dims
    if dims.front_end == "raw":
        raise UsageError(f"{source}: hears raw samples, and only networks of log-mel features can be exported")

    def example(frames: int) -> dict[str, Tensor]:
        sound = torch.randn(1, frames + 2 * dims.reach, dims.steps, dims.mels, generator=_random())
        return {"sound": sound, "reference": torch.randn(1, dims.coefficients, generator=_random())}

    path = folder / "expression.onnx"
    _trace(network, example(TRACED), {"sound": "frames"}, "expression", path)
    error = difference(path, network, list(example(CHECKED).values()))
    return _exported(path, "Ψ, §3.2", source, error)


def _phi(folder: Path, weights: Path | None) -> Exported:
    """Φ: ``HeadMotionLearner.forward``, encoder and extrapolator together."""
    network = load_head_motion_learner(weights)
    dims = network.dims

    def example(frames: int) -> dict[str, Tensor]:
        random, whole = _random(), frames + 2 * dims.context
        return {
            "past": torch.randn(1, frames, 6, generator=random),
            "past_features": torch.randn(1, frames, dims.steps, dims.mels, generator=random),
            "summary": torch.randn(1, 13, generator=random),
            "features": torch.randn(1, whole, dims.steps, dims.mels, generator=random),
            "noise": torch.randn(1, whole, dims.noise, generator=random),
        }

    path = folder / "head_motion.onnx"
    axes = {"past": "past", "past_features": "past", "features": "frames", "noise": "frames"}
    _trace(network, example(TRACED), axes, "motion", path)
    error = difference(path, network, list(example(CHECKED).values()))
    return _exported(path, "Φ, §3.3", find_weights(PHI, weights), error)


def _tracker(folder: Path, name: str, weights: Path | None) -> Exported:
    source = find_weights(name, weights)
    shutil.copyfile(source, folder / name)
    network, random = restored(folder / name)
    error = difference(folder / name, network, [random])
    return _exported(folder / name, "face detector" if "detection" in name else "face mesh, §4.1", source, error)


def _theta(folder: Path, weights: Path | None) -> list[Exported]:
    """Θ and its embedding: the exports beside the checkpoint, else made anew."""
    checkpoint = find_weights(CHECKPOINT, weights)
    sources = {name: checkpoint.with_name(name) for name in (FRAMES, EMBEDDING)}
    network = load_network(checkpoint)
    copied = all(path.is_file() for path in sources.values())
    if copied:
        for name, path in sources.items():
            verify(path)
            shutil.copyfile(path, folder / name)
    else:
        export_generator(network, folder)
    errors = theta_differences(network, folder)
    said = {FRAMES: "Θ, frames, §4.2", EMBEDDING: "Θ, hybrid embedding, §4.2"}
    return [
        _exported(folder / name, said[name], sources[name] if copied else checkpoint, errors[name]) for name in sources
    ]


def _trace(network: nn.Module, example: Mapping[str, Tensor], axes: Mapping[str, str], out: str, path: Path) -> None:
    """Write a network whose inputs may be of any length along their second axis."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of an exporter on its way out, and of sizes that stay as they are
        torch.onnx.export(
            network.cpu().eval(),
            tuple(example.values()),
            str(path),
            input_names=list(example),
            output_names=[out],
            opset_version=17,
            dynamic_axes={**{name: {1: axis} for name, axis in axes.items()}, out: {1: "out_frames"}},
            dynamo=False,
        )


def _exported(path: Path, network: str, source: Path, error: float) -> Exported:
    session = open_session(path)
    inputs, outputs = (
        {one.name: list(one.shape) for one in side} for side in (session.get_inputs(), session.get_outputs())
    )
    made_from = (source.name, sha256(source))
    return Exported(path.name, sha256(path), network, made_from, source.name == path.name, inputs, outputs, error)


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
