"""The training loop that all stages share. A stage says what is trained and how a batch is scored.

All randomness of step k derives from (seed, k). So a run that is interrupted, and resumed from its last validation,
follows the same loss curve without storing the state of a random generator.

A run's folder holds ``STAGE.safetensors`` (the best network so far), ``state.safetensors`` (to resume from) and
``log.jsonl`` (the loss curve). With several processes (``training.distributed``) the first one writes these files and
validates. All processes read them, so they must share the folder.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from thcli.checkpoints import (
    MANIFEST,
    load_checkpoint,
    load_weights,
    write_atomic,
    write_manifest,
)
from thcli.config import to_yaml
from thcli.configs.sections import Config, TrainOptions
from thcli.training.distributed import ALONE, World
from thcli.training.protocol import Stage
from thcli.training.run import Run
from thcli.training.run_log import RunLog

Exportable = TypeVar("Exportable", bound=nn.Module)
Progress = Callable[[int, int, Mapping[str, float]], None]
"""Function that is called after every step with the steps done, the steps in all, and the newest figures."""


@dataclass(frozen=True)
class TrainResult:
    """Result of a training run.

    checkpoint: file of the best network
    step: number of training steps of that network
    metrics: validation figures of that network
    """

    checkpoint: Path
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True)
class RunOptions:
    """Circumstances of a run, in contrast to ``TrainOptions``, which decide what is learned.

    device: PyTorch's name of the device
    resume: whether the run continues from the state in the folder; without a state it starts anew
    init: checkpoint of the same stage from whose weights a run that is not resumed starts
    progress: function that is called after every step
    world: processes that train together; their number may change when a run is resumed
    """

    device: str = "cpu"
    resume: bool = False
    init: Path | None = None
    progress: Progress | None = None
    world: World = ALONE


DEFAULT_RUN = RunOptions()
"""Run on the CPU, in one process, from the first step on."""


def train(
    stage: Stage[Any], options: TrainOptions, out: Path, running: RunOptions = DEFAULT_RUN, config: Config | None = None
) -> TrainResult:
    """Train ``stage`` into the folder ``out``, and keep the checkpoint that is best on held-out subjects.

    config: configuration that is written to the folder as ``config.yaml``

    Raises UsageError where the batch does not suit the processes or the state is of another run, WeightsError where
    ``init`` does not fit, ThgenError where training diverges.
    """
    world = running.world
    world.check_batch(options.batch_size, options.accumulate)
    out.mkdir(parents=True, exist_ok=True)
    run = Run(stage, options, out, torch.device(running.device), world)
    if running.resume and run.state_path.is_file():
        run.load_state()
    elif running.init is not None:
        run.start_from(running.init)
    if config is not None:
        world.first(lambda: write_atomic(out / "config.yaml", to_yaml(config).encode()))
    run.share()
    log = RunLog(out, run.done) if world.rank == 0 else None
    try:
        while run.done < options.steps and not run.stopped:
            figures = run.step()
            if run.done % options.val_every == 0 or run.done == options.steps:
                figures |= run.validate()
                if log is not None and log.board is not None:
                    log.show(run.done, run.images())
            if log is not None:
                log.write(run.done, figures)
                if running.progress is not None:
                    running.progress(run.done, options.steps, figures)
    finally:
        if log is not None:
            log.close()
    best = load_checkpoint(run.best_path, stage.name).header
    return TrainResult(run.best_path, best.step, best.metrics)


def train_and_export(
    stage: Stage[Any],
    options: TrainOptions,
    out: Path,
    config: Config,
    running: RunOptions,
    build: Callable[[], Exportable],
    write: Callable[[Exportable, Path], None],
) -> TrainResult:
    """Train a stage into the folder ``out``, export its best network as ``STAGE.onnx``, and write ``SHA256SUMS``.

    build: function that makes a network of the stage's sizes
    write: function that exports a network to a file
    """

    def export_best() -> None:
        network = build()
        load_weights(network, load_checkpoint(result.checkpoint, stage.name), result.checkpoint)
        write(network, result.checkpoint.with_name(f"{stage.name}.onnx"))
        write_manifest(out)

    running.world.first(lambda: (out / MANIFEST).unlink(missing_ok=True))  # its sums will no longer hold
    result = train(stage, options, out, running, config)
    running.world.first(export_best)
    return result
