"""Fine-tuning in memory: training from a checkpoint's weights for a few steps, without writing a file (§0.B.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thcli.configs.sections import TrainOptions
from thcli.training.distributed import ALONE
from thcli.training.protocol import Stage
from thcli.training.run import Run


@dataclass(frozen=True)
class Tuned:
    """Result of fine-tuning.

    network: the best network on the stage's held-out data, which may be the original one
    step: number of steps after which it was reached, 0 for the original network
    before: figures of the original network on the held-out data
    after: figures of the best network that training made, whether or not it is better than the original
    """

    network: nn.Module
    step: int
    before: Mapping[str, float]
    after: Mapping[str, float]


def fine_tune(
    stage: Stage[Any],
    options: TrainOptions,
    init: Path,
    device: str = "cpu",
    advance: Callable[[], object] = lambda: None,
) -> Tuned:
    """Train a stage from the checkpoint ``init`` on; ``advance`` is called after every step.

    PyTorch's global random state is restored, so that later random numbers do not depend on the training. Raises
    WeightsError where the checkpoint does not fit, ThgenError where training diverges.
    """
    with torch.random.fork_rng(devices=[]):
        run = Run(stage, options, Path(), torch.device(device), ALONE)
        run.start_from(init)
        before = run.evaluate()
        network, step, after = copy.deepcopy(run.average), 0, dict[str, float]()
        while run.done < options.steps:
            run.step()
            if run.done % options.val_every == 0 or run.done == options.steps:
                figures = run.evaluate()
                if not after or figures["score"] < after["score"]:
                    after = figures
                    if figures["score"] < before["score"]:
                        network, step = copy.deepcopy(run.average), run.done
            advance()
    return Tuned(network, step, before, after)
