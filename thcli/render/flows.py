"""Flows from the frames of a part to the references that each of them uses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thcli.records import Float


@dataclass(frozen=True)
class Flows:
    """Flows from target meshes to references.

    pairs: the P pairs (frame, reference), frame by frame
    flow: [P, 2, h, w], px of the crop
    """

    pairs: list[tuple[int, int]]
    flow: Tensor

    def of(self, pairs: list[tuple[int, int]]) -> Tensor:
        """Return the flows [N, 2, h, w] of some of the pairs."""
        if pairs == self.pairs:
            return self.flow
        return self.flow[[self._rows[pair] for pair in pairs]]

    @cached_property
    def _rows(self) -> dict[tuple[int, int], int]:
        return {pair: i for i, pair in enumerate(self.pairs)}


def alike(used: NDArray[np.bool_]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the frames that use equally many references, [b], and which they use, [b, n], by what B frames use [B, K].

    What is computed for frames of one shape at a time takes few calls.
    """
    counts = used.sum(axis=1)
    for count in np.unique(counts):
        frames = np.flatnonzero(counts == count)
        references = np.nonzero(used[frames])[1].reshape(len(frames), count)
        yield torch.from_numpy(frames), torch.from_numpy(references)


def pairs_of(weights: Float | NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return all pairs (frame, reference) in use by weights [B, K], frame by frame."""
    return [(b, k) for b, k in np.argwhere(weights > 0).tolist()]


def add_weighted(images: Tensor, sampled: Tensor, pairs: Sequence[tuple[int, int]], weights: Float) -> None:
    """Add what was sampled of references [P, ...], one of each pair, to images [B, ...] by weights [B, K], in place."""
    for (b, k), one in zip(pairs, sampled, strict=True):
        images[b].add_(one, alpha=float(weights[b, k]))
