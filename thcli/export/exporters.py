"""Export of trained networks to ONNX, in which the tracker's networks run."""

from __future__ import annotations

import importlib.util
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thcli.errors import UsageError
from thgen_models.embedding import Embedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Frames, Generator

THETA_FRAMES, THETA_EMBEDDING = "generator.onnx", "generator_embedding.onnx"
"""File names of the two exported networks of Θ."""
MOST = 1024
"""Most frames at a time, and most references, that the exported networks of Θ take."""


def export_onnx(network: nn.Module, example: Tensor, input_name: str, output_names: Sequence[str], path: Path) -> None:
    """Write a network of one input, whose first axis may have any length, to the file ``path``.

    example: an input
    """
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
    """Raise UsageError where a package that the export of Θ needs is missing."""
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if missing:
        raise UsageError(f"export to ONNX: needs {' and '.join(missing)}; install them with pip install 'thgen[train]'")


def export_generator(network: Generator, folder: Path) -> None:
    """Write Θ as ``generator.onnx`` (``FrameNetwork``) and ``generator_embedding.onnx`` (``EmbeddingNetwork``).

    They make images of ``GeneratorDims.side``² and take up to ``MOST`` frames at a time and references. Raises
    UsageError where a package is missing.
    """
    check_exporter()
    network = network.cpu().eval()
    side = network.dims.side // network.dims.reduction
    images = torch.zeros(1, 3, 3, side, side)
    references, batch = torch.export.Dim("references", max=MOST), torch.export.Dim("batch", max=MOST)
    # The exporter tells axes apart by their lengths, so the example has two frames and three references.
    frames = [torch.zeros(2, *shape) for shape in network.dims.frame_shapes]
    with torch.no_grad():
        embedding = network.embed(images, images[:, :, :1]).tensors()
    _export_dynamic(
        EmbeddingNetwork(network),
        {"images": images, "maps": images[:, :, :1]},
        [{1: references}] * 2,
        _names(Embedding),
        folder / THETA_EMBEDDING,
    )
    _export_dynamic(
        FrameNetwork(network),
        dict(zip([*_names(Frames), *_names(Embedding)], [*frames, *embedding], strict=True)),
        [*[{0: batch}] * 5, *[{1: references}] * 3, *[{}] * 2],
        ["picture"],
        folder / THETA_FRAMES,
    )


def _export_dynamic(
    network: nn.Module, example: Mapping[str, Tensor], axes: Sequence[Any], outputs: Sequence[str], path: Path
) -> None:
    """Write a network of several inputs, by PyTorch's newer exporter, to the file ``path``.

    axes: for each input, the axes that may have any length
    """
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
    """Give the name of a file beside ``path`` to write to, and rename the file to ``path`` when it is complete."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters' warnings about deprecation, constant shapes, and packages that are not needed.

    onnxscript also prints how many rules it applied, to standard output.
    """
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _names(record: type[Any]) -> list[str]:
    """Names of a dataclass's fields."""
    return [field.name for field in fields(record)]
