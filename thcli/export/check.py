"""Comparison of ONNX files with their networks in PyTorch, on random input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from thcli.errors import WeightsError
from thcli.export.exporters import THETA_EMBEDDING, THETA_FRAMES
from thcli.onnx_files import open_network
from thgen_models.embedding import Embedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Generator

if TYPE_CHECKING:
    import onnxruntime

BOUND = 1e-3
"""Largest difference from PyTorch that is allowed, because sums are computed in another order.

The difference is relative to the largest absolute value of PyTorch's output, or to 1 where that is smaller.
"""
SEED = 0
"""Seed of the random input."""
REFERENCES, BATCH = 5, 2
"""K and frames at a time with which Θ is compared; Θ is exported with other numbers."""


def difference(path: Path, network: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Return the largest difference of the outputs, relative as for ``BOUND``.

    inputs: inputs in their order in the file, which is the network's

    Raises WeightsError where the difference is above ``BOUND``, or the file's inputs or outputs have other shapes.
    """
    session = open_session(path)
    names = [one.name for one in session.get_inputs()]
    try:
        found = session.run(None, {name: given.numpy() for name, given in zip(names, inputs, strict=True)})
    except Exception as error:  # ONNX Runtime's own exceptions share no base class
        raise WeightsError(f"{path}: does not take what its network takes ({str(error).splitlines()[0]})") from error
    with torch.inference_mode():
        wanted = network.cpu().eval()(*inputs)
    worst = 0.0
    for one, other in zip(found, (wanted,) if isinstance(wanted, Tensor) else wanted, strict=True):
        if one.shape != tuple(other.shape):
            raise WeightsError(f"{path}: gives {one.shape}, PyTorch {tuple(other.shape)}; export it anew")
        scale = max(float(other.abs().max()), 1.0)
        worst = max(worst, float((torch.from_numpy(one) - other).abs().max()) / scale)
    if not worst <= BOUND:  # NaN fails too
        raise WeightsError(f"{path}: differs from PyTorch by {worst:.1e}; export it anew")
    return worst


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """Open a file in ONNX Runtime, on the CPU. Raises WeightsError where it is no network."""
    return open_network(path, "thgen", torch.get_num_threads())


def theta_differences(network: Generator, folder: Path) -> dict[str, float]:
    """Return the differences of both exports in a folder from Θ, by file name; raises as ``difference`` does."""
    random, side = torch.Generator().manual_seed(SEED), network.dims.side // network.dims.reduction
    references = torch.rand(1, REFERENCES, 3, side, side, generator=random) * 2 - 1
    maps = torch.rand(1, REFERENCES, 1, side, side, generator=random)
    known = EmbeddingNetwork(network)
    with torch.inference_mode():
        embedding = Embedding(*known(references, maps))
    images = [torch.rand(BATCH, *shape, generator=random) for shape in network.dims.frame_shapes]
    return {
        THETA_FRAMES: difference(folder / THETA_FRAMES, FrameNetwork(network), [*images, *embedding.tensors()]),
        THETA_EMBEDDING: difference(folder / THETA_EMBEDDING, known, [references, maps]),
    }
