"""Export of all networks to a folder (``thgen export --onnx DIR``): Ψ, Φ, the tracker's two and Θ's two.

Each file is compared with PyTorch, and a manifest describes them (docs/files.md).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from thcli.checkpoints import (
    DETECTION,
    EXPRESSION,
    HEAD_MOTION,
    MANIFEST,
    MATTING,
    THETA,
    UNPROJECTION,
    list_files,
    sha256,
    write_atomic,
)
from thcli.errors import MediaError, UsageError
from thcli.export.check import BOUND, SEED, difference, open_session, theta_differences
from thcli.export.exporters import THETA_EMBEDDING, THETA_FRAMES, check_exporter, export_generator
from thcli.export.restored import restored
from thcli.version import __version__
from thgen_models.expression import ExpressionNetwork
from thgen_models.generator import Generator
from thgen_models.head_motion import HeadMotionLearner

LISTING = "manifest.json"
"""Name of the manifest."""
COPIED = {DETECTION: "face detector", UNPROJECTION: "face mesh, §4.1", MATTING: "person and background"}
"""Networks of the files that are copied, by file name."""
TRACED, CHECKED = 9, 40
"""Frames of the example that is exported with, and of that which is compared, to check that any length works."""


class Networks(Protocol):
    """The networks that are exported; ``pipeline.models.Models`` has them."""

    @property
    def expression_learner(self) -> ExpressionNetwork:
        """Ψ."""

    @property
    def head_motion_learner(self) -> HeadMotionLearner:
        """Φ."""

    @property
    def generator(self) -> Generator:
        """The network of Θ."""

    def find(self, name: str) -> Path:
        """Return the path of a file of weights, verified."""


@dataclass(frozen=True)
class Exported:
    """An exported file, as the manifest describes it.

    file: its name
    sha256: its SHA-256
    network: the network that it holds
    source: name and SHA-256 of the file that it was made from
    copied: whether the source was an ONNX file already
    inputs, outputs: shapes by name; an axis of any length has a name
    difference: difference from PyTorch on random input, relative as for ``check.BOUND``
    """

    file: str
    sha256: str
    network: str
    source: tuple[str, str]
    copied: bool
    inputs: Mapping[str, list[int | str]]
    outputs: Mapping[str, list[int | str]]
    difference: float


def export_all(folder: Path, networks: Networks, overwrite: bool = False) -> list[Exported]:
    """Write all networks into a folder, with ``manifest.json`` and ``SHA256SUMS``; an error leaves nothing behind.

    Raises UsageError where files exist already or a package is missing, MediaError for a folder that cannot be made,
    WeightsError for missing or wrong weights.
    """
    names = ("expression.onnx", "head_motion.onnx", *COPIED, THETA_FRAMES, THETA_EMBEDDING, LISTING, MANIFEST)
    present = [folder / name for name in names if (folder / name).exists()]
    if present and not overwrite:
        raise UsageError(f"{present[0]}: exists already; add --overwrite, or name another folder")
    if not folder.parent.is_dir():
        raise MediaError(f"{folder.parent}: no such folder to make {folder.name} in; make it first")
    check_exporter()
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        scratch = Path(name)
        written = [_psi(scratch, networks), _phi(scratch, networks)]
        written += [_copied(scratch, networks.find(name)) for name in COPIED]
        written += _theta(scratch, networks)
        list_files(scratch, {one.file: one.sha256 for one in written})
        write_atomic(scratch / LISTING, (json.dumps(_listing(written), indent=2, ensure_ascii=False) + "\n").encode())
        folder.mkdir(exist_ok=True)
        for name in names:
            os.replace(scratch / name, folder / name)
    return written


def _listing(written: list[Exported]) -> dict[str, Any]:
    """Content of the manifest."""
    how = f"against PyTorch, on random input of seed {SEED}: largest difference, over the largest value or 1"
    files = [{**asdict(one), "source": {"file": one.source[0], "sha256": one.source[1]}} for one in written]
    return {"thgen": __version__, "torch": torch.__version__, "checked": how, "bound": BOUND, "files": files}


def _psi(folder: Path, networks: Networks) -> Exported:
    """Export Ψ, which takes features [1, T + 2 reach, steps, N], with any codes, and the reference expression."""
    source, network = networks.find(EXPRESSION), networks.expression_learner
    dims = network.dims
    if dims.front_end == "raw":
        raise UsageError(f"{source}: hears raw samples, and only networks of log-mel features can be exported")

    def example(frames: int) -> dict[str, Tensor]:
        features = torch.randn(1, frames + 2 * dims.reach, dims.steps, dims.values, generator=_random())
        return {"sound": features, "reference": torch.randn(1, dims.coefficients, generator=_random())}

    path = folder / "expression.onnx"
    _trace(network, example(TRACED), {"sound": "frames"}, "expression", path)
    error = difference(path, network, list(example(CHECKED).values()))
    return _exported(path, "Ψ, §3.2", source, error)


def _phi(folder: Path, networks: Networks) -> Exported:
    """Export Φ: ``HeadMotionLearner.forward``, encoder and extrapolator together."""
    network = networks.head_motion_learner
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
    return _exported(path, "Φ, §3.3", networks.find(HEAD_MOTION), error)


def _copied(folder: Path, source: Path) -> Exported:
    """Copy one of the files ``COPIED``, which are ONNX files already, and compare it with PyTorch."""
    name = source.name
    shutil.copyfile(source, folder / name)
    network, random = restored(folder / name)
    error = difference(folder / name, network, [random])
    return _exported(folder / name, COPIED[name], source, error)


def _theta(folder: Path, networks: Networks) -> list[Exported]:
    """Export Θ and its embedding."""
    checkpoint, network = networks.find(THETA), networks.generator
    export_generator(network, folder)
    errors = theta_differences(network, folder)
    said = {THETA_FRAMES: "Θ, frames, §4.2", THETA_EMBEDDING: "Θ, hybrid embedding, §4.2"}
    return [_exported(folder / name, what, checkpoint, errors[name]) for name, what in said.items()]


def _trace(network: nn.Module, example: Mapping[str, Tensor], axes: Mapping[str, str], out: str, path: Path) -> None:
    """Write a network to the file ``path``.

    axes: name of the second axis of each input for which it may have any length
    out: name of the output
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about a deprecated exporter, and about constant sizes
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
    """Describe a file that was made from ``source``."""
    session = open_session(path)
    inputs, outputs = (
        {one.name: list(one.shape) for one in side} for side in (session.get_inputs(), session.get_outputs())
    )
    made_from = (source.name, sha256(source))
    return Exported(path.name, sha256(path), network, made_from, source.name == path.name, inputs, outputs, error)


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
