"""What the training loop asks of a stage: its networks, batches, losses and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
from torch import Tensor, nn

from thcli.checkpoints import (
    Header,
)
from thcli.records import Image

Batch = TypeVar("Batch")


@dataclass(frozen=True)
class Networks:
    """The networks that a stage trains.

    network: network of the checkpoint
    critic: its adversary, where a loss is adversarial
    entry: method of ``network`` that the stage's step calls; its inputs and outputs have one row per example
    """

    network: nn.Module
    critic: nn.Module | None = None
    entry: str = "forward"


class Stage(Protocol[Batch]):
    """One kind of training.

    name: stage in the header of the checkpoint
    header: header of the checkpoint, without step and metrics
    """

    name: str
    header: Header

    def build(self) -> Networks:
        """Return freshly initialised networks."""

    def batch(self, random: np.random.Generator) -> Batch:
        """Return a random batch on the device: a tensor, or a dataclass of tensors, with one row per example."""

    def step(self, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        """Return losses by name: ``total`` trains the network, ``critic`` the critic, and the others are only logged.

        Only the networks may draw random numbers in a step, so that several processes agree on everything else.
        """

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return figures on held-out subjects; a lower ``score`` is better."""


@runtime_checkable
class LogsImages(Protocol):
    """Stage that shows images in TensorBoard at every validation."""

    def validation_images(self, network: nn.Module) -> Mapping[str, Image]:
        """Return images [H, W, 3] uint8, by name, that show what the network makes of held-out subjects."""
