"""Trained networks as ONNX, the form in which those of the tracker run."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from thcli.checkpoints import load_checkpoint, load_weights, write_manifest
from thcli.training.loop import TrainResult

Network = TypeVar("Network", bound=nn.Module)


def finish(network: Network, stage: str, result: TrainResult, write: Callable[[Network, Path], None]) -> None:
    """Export the best network of a run beside its checkpoint, as ``STAGE.onnx``, and list what lies there."""
    load_weights(network, load_checkpoint(result.checkpoint, stage), result.checkpoint)
    write(network, result.checkpoint.with_name(f"{stage}.onnx"))
    write_manifest(result.checkpoint.parent)


def export_onnx(network: nn.Module, example: Tensor, input_name: str, output_names: Sequence[str], path: Path) -> None:
    """Write a network of one input, whose first axis may be of any length, beside ``path``, then rename."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    axes = {name: {0: "batch"} for name in (input_name, *output_names)}
    try:
        with warnings.catch_warnings():
            # of an exporter on its way out, and of shapes that stay as they are
            warnings.simplefilter("ignore")
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
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
