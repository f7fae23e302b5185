"""Training in memory: from a checkpoint's weights on, for a few steps, with nothing written (§0.B.2)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from thcli.config import TrainOptions
from thcli.training.distributed import ALONE
from thcli.training.loop import Run, Stage


@dataclass(frozen=True)
class Tuned:
    """network: the best one on what the stage holds out, be it the one that training began with

    step: after how many steps it was the best, 0 for the first
    before, after: figures there of the first network, and of the best one that training made
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

    Chance elsewhere in PyTorch goes on as if nothing had been trained. Raises WeightsError where the checkpoint does
    not fit, ThgenError where training diverges.
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
