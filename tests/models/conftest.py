"""Θ at a size for tests, and inputs of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from thgen_models.generator import Frames, Generator, GeneratorDims

SIDE = 32


@pytest.fixture
def tiny() -> GeneratorDims:
    """Sizes of three levels and a few thousand parameters, for images of 32²."""
    return GeneratorDims(
        reduction=1, widths=(8, 12, 16), level=1, activation=4, grid=2, hidden=8, flow_width=4, flow_downs=1,
        flow_residuals=1,
    )  # fmt: skip


@pytest.fixture
def references() -> Callable[..., tuple[Tensor, Tensor]]:
    """references(batch, count, seed): random images and landmark maps of references."""

    def make(batch: int = 1, count: int = 3, seed: int = 1) -> tuple[Tensor, Tensor]:
        random = torch.Generator().manual_seed(seed)
        images = torch.rand(batch, count, 3, SIDE, SIDE, generator=random) * 2 - 1
        return images, torch.rand(batch, count, 1, SIDE, SIDE, generator=random)

    return make


@pytest.fixture
def frames() -> Callable[..., Frames]:
    """frames(batch, seed): random target frames."""

    def make(batch: int = 2, seed: int = 2) -> Frames:
        random = torch.Generator().manual_seed(seed)

        def draw(channels: int) -> Tensor:
            values = torch.rand(batch, channels, SIDE, SIDE, generator=random)
            return values * 2 - 1 if channels == 3 else values

        return Frames(draw(3), draw(3), draw(3), draw(1), draw(1))

    return make


@pytest.fixture
def trained() -> Callable[[GeneratorDims], Generator]:
    """trained(dims): a network whose layers that start at zero have moved, as if it had been trained."""

    def make(dims: GeneratorDims) -> Generator:
        torch.manual_seed(0)
        network = Generator(dims)
        torch.manual_seed(1)
        for parameter in network.parameters():
            if not parameter.detach().any():
                nn.init.normal_(parameter, std=0.1)  # This gives shares of about a half.
        return network

    return make
