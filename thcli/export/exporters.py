"""Trained networks as ONNX, the form in which those of the tracker run."""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from thcli.checkpoints import MANIFEST, load_checkpoint, load_weights, write_manifest
from thcli.config import Config, TrainOptions
from thcli.errors import UsageError
from thcli.records import CROP_SIZE
from thcli.training.loop import RunOptions, Stage, TrainResult, train
from thgen_models.embedding import Embedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Frames, Generator

Network = TypeVar("Network", bound=nn.Module)
MOST = 1024
"""Frames at a time, and references, that the exported networks of Θ take."""


def train_and_export(
    stage: Stage[Any],
    options: TrainOptions,
    out: Path,
    config: Config,
    running: RunOptions,
    build: Callable[[], Network],
    write: Callable[[Network, Path], None],
) -> TrainResult:
    """Train a stage into the folder ``out``, export its best network there as ``STAGE.onnx``, and list what lies there.

    build: a network of the stage's sizes; write: exports it to a file
    """

    def export_best() -> None:
        network = build()
        load_weights(network, load_checkpoint(result.checkpoint, stage.name), result.checkpoint)
        write(network, result.checkpoint.with_name(f"{stage.name}.onnx"))
        write_manifest(out)

    running.world.first(lambda: (out / MANIFEST).unlink(missing_ok=True))  # it holds no longer
    result = train(stage, options, out, running, config)
    running.world.first(export_best)
    return result


def export_onnx(network: nn.Module, example: Tensor, input_name: str, output_names: Sequence[str], path: Path) -> None:
    """Write a network of one input, whose first axis may be of any length, beside ``path``, then rename."""
    axes = {name: {0: "batch"} for name in (input_name, *output_names)}
    with _renamed(path) as partial, _quiet():
        torch.onnx.export(
            network.cpu().eval(),
            (example,),
            str(partial),
            input_names=[input_name],
            output_names=list(output_names),
            opset_version=17,
            dynamic_axes=axes,
            dynamo=False,
        )


def check_exporter() -> None:
    """UsageError where the packages that export Θ are missing."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"export to ONNX: needs {' and '.join(missing)}; install them with pip install 'thgen[train]'")


def export_generator(network: Generator, folder: Path) -> None:
    """Write Θ as ``generator.onnx`` (``FrameNetwork``) and ``generator_embedding.onnx`` (``EmbeddingNetwork``).

    For pictures of 256², any number of frames at a time and any K. Raises UsageError where the exporter is missing.
    """
    check_exporter()
    network = network.cpu().eval()
    images = torch.zeros(1, 3, 3, CROP_SIZE, CROP_SIZE)
    references, batch = torch.export.Dim("references", max=MOST), torch.export.Dim("batch", max=MOST)
    # two frames and three references: numbers that the exporter takes for no other's
    pictures = [torch.zeros(2, channels, CROP_SIZE, CROP_SIZE) for channels in (3, 3, 3, 1, 1)]
    with torch.no_grad():
        embedding = network.embed(images, images[:, :, :1]).tensors()
    _export_dynamic(
        EmbeddingNetwork(network),
        {"images": images, "maps": images[:, :, :1]},
        [{1: references}] * 2,
        _names(Embedding),
        folder / "generator_embedding.onnx",
    )
    _export_dynamic(
        FrameNetwork(network),
        dict(zip([*_names(Frames), *_names(Embedding)], [*pictures, *embedding], strict=True)),
        [*[{0: batch}] * 5, *[{1: references}] * 3, *[{}] * 2],
        ["picture"],
        folder / "generator.onnx",
    )


def _export_dynamic(
    network: nn.Module, example: Mapping[str, Tensor], axes: Sequence[Any], outputs: Sequence[str], path: Path
) -> None:
    """``export_onnx`` of a network of several inputs, with ``axes`` of them that may be of any length."""
    with _renamed(path) as partial, _quiet():
        torch.onnx.export(
            network.eval(),
            tuple(example.values()),
            str(partial),
            input_names=list(example),
            output_names=list(outputs),
            opset_version=18,
            dynamic_shapes=(tuple(axes),),
            dynamo=True,
            external_data=False,
            verbose=False,
        )


@contextmanager
def _renamed(path: Path) -> Iterator[Path]:
    """A file beside ``path`` that gets its name when all is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporters' warnings: of one on its way out, shapes that stay as they are, packages not needed."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _names(record: type[Any]) -> list[str]:
    return [field.name for field in fields(record)]
