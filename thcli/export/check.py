"""Whether an ONNX file gives what the network gives in PyTorch, on random input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from thcli.errors import WeightsError
from thcli.onnx_files import open_network
from thcli.records import CROP_SIZE
from thcli.render.generator import CHECKPOINT, EMBEDDING, FRAMES, load_network
from thgen_models.embedding import Embedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Frames, Generator

if TYPE_CHECKING:
    import onnxruntime

BOUND = 1e-3
"""Of the difference from PyTorch, over the largest value that PyTorch gives, or 1 where all are smaller: the orders of
sums differ, and no more may."""
SEED = 0
REFERENCES, BATCH = 5, 2
"""K and frames at a time in the check of Θ; not those that it was exported with."""


def difference(path: Path, network: nn.Module, inputs: Sequence[Tensor]) -> float:
    """Largest difference of the outputs, as ``BOUND`` has it; WeightsError where it is above that.

    inputs: in the file's order, which is the network's
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
    if not worst <= BOUND:  # also where it is not a number
        raise WeightsError(f"{path}: differs from PyTorch by {worst:.1e}; export it anew")
    return worst


def open_session(path: Path) -> onnxruntime.InferenceSession:
    """A file in ONNX Runtime, on the CPU; WeightsError where it is no network."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    return open_network(path, "thgen", options)


def check_theta(folder: Path) -> Mapping[str, float]:
    """The differences of both exports in a folder from the checkpoint there, by file name; WeightsError."""
    return theta_differences(load_network(folder / CHECKPOINT), folder)


def theta_differences(network: Generator, folder: Path) -> dict[str, float]:
    """The differences of both exports in a folder from Θ, by file name; WeightsError where one is too large."""
    random = torch.Generator().manual_seed(SEED)
    references = torch.rand(1, REFERENCES, 3, CROP_SIZE, CROP_SIZE, generator=random) * 2 - 1
    maps = torch.rand(1, REFERENCES, 1, CROP_SIZE, CROP_SIZE, generator=random)
    known = EmbeddingNetwork(network)
    with torch.inference_mode():
        embedding = Embedding(*known(references, maps))
    channels = {field.name: 1 if "map" in field.name else 3 for field in fields(Frames)}
    pictures = [torch.rand(BATCH, c, CROP_SIZE, CROP_SIZE, generator=random) for c in channels.values()]
    return {
        FRAMES: difference(folder / FRAMES, FrameNetwork(network), [*pictures, *embedding.tensors()]),
        EMBEDDING: difference(folder / EMBEDDING, known, [references, maps]),
    }
