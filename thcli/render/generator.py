"""Inference of Θ (§4.2, §4.3) in PyTorch.

CPUs that multiply bfloat16 themselves render with it, in half the time: on one core of an EPYC that has AVX-512 with
bfloat16, and at 256², 16 ms a frame instead of 28. Without it ONNX Runtime takes as long as PyTorch with channels last.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from torch import Tensor, nn

from thcli.device import has_fast_bfloat16
from thcli.errors import UsageError
from thgen_models.embedding import Attended, Embedding, HybridEmbedding
from thgen_models.generator import Frames, Generated, Generator

PART_STEP = 32
"""Number of pixels of which corner and sides of a part of an image are multiples."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""Data types by their names in ``--precision``."""


class FrameGenerator(Protocol):
    """Θ, loaded on a device.

    Calls share no state, and a frame comes out the same alone as in a batch.
    """

    @property
    def size(self) -> int:
        """Side H, px, of the images of the crop that Θ makes, and of y_geo and the matched images that it takes."""

    @property
    def reduction(self) -> int:
        """Factor by which all other images are smaller, with the side S."""

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """Compute the embedding of a person, once per video.

        images: [K, 3, S, S] float32 in -1..1, the K references
        maps: [K, 1, S, S] float32 in 0..1, their landmark maps
        """

    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        """Render images [B, 3, H, H] float32 in -1..1 of frames [B, …] of the person, for any B."""

    def render_part(self, frames: Frames, embedding: Embedding, target_map: Tensor, corner: tuple[int, int]) -> Tensor:
        """Render a part of images: [B, 3, h, w] float32 in -1..1; only near its border is it different.

        frames: the part alone; its sides are multiples of ``PART_STEP``
        target_map: [B, 1, S, S] float32 in 0..1, landmark map of the whole image
        corner: (top, left) of the part in the whole, multiples of ``PART_STEP``
        """


def precision_of(name: str, device: str) -> torch.dtype:
    """Return the data type of ``auto`` or one of ``PRECISIONS`` on a device.

    Raises UsageError for fp16 on a CPU, where it is slower than fp32.
    """
    if name == "fp16" and device == "cpu":
        raise UsageError("--precision fp16: is for GPUs; use bf16 or fp32 on the CPU")
    return quickest_precision(device) if name == "auto" else PRECISIONS[name]


def quickest_precision(device: str) -> torch.dtype:
    """Return the data type in which PyTorch renders frames by default: bfloat16 where the CPU has it, else float32.

    AMX and AVX-512 sum products of bfloat16 in float32.
    """
    return torch.bfloat16 if device == "cpu" and has_fast_bfloat16() else torch.float32


class TorchGenerator:
    """Θ in PyTorch, on any device.

    size: side, px, to which the crop is resized, where it is not that of the network's sizes
    precision: data type of the network that renders frames; None stands for ``quickest_precision``. In bfloat16 only
        what Θ paints is rounded, by 0.02 of 255 on average and 4 at most: images are warped, and added to
        y_geo, in float32
    """

    def __init__(
        self, network: Generator, device: str = "cpu", precision: torch.dtype | None = None, size: int | None = None
    ) -> None:
        network = network.to(device).eval()
        self.size, self.reduction = size or network.dims.side, network.dims.reduction
        self._kind = torch.device(device).type
        self.precision = precision or quickest_precision(device)
        self._exact = self._network = network
        if self.precision != torch.float32:
            self._network = copy.deepcopy(network).to(self.precision)
            if self.precision == torch.float16:
                _keep_in_range(self._network, network.embedding, self._kind)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @torch.inference_mode()
    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return self._exact.embed(images[None], maps[None])

    @torch.inference_mode()
    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.render``."""
        with self._arithmetic():
            made: Generated = self._network(frames, embedding)
            return made.image.clamp(-1, 1)

    @torch.inference_mode()
    def render_part(self, frames: Frames, embedding: Embedding, target_map: Tensor, corner: tuple[int, int]) -> Tensor:
        """See ``FrameGenerator.render_part``."""
        with self._arithmetic():
            return self._network.part(frames, embedding, target_map, corner).image.clamp(-1, 1)

    @contextmanager
    def _arithmetic(self) -> Iterator[None]:
        """Compute in the chosen precision, in one order of sums: cuDNN may else choose another one every time."""
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            torch.autocast(self._kind, self.precision, enabled=self.precision != torch.float32),
        ):
            yield


def _keep_in_range(half: Generator, embedding: HybridEmbedding, kind: str) -> None:
    """Keep the features of Θ in float16 below 65,504, float16's largest number.

    In the shipped Θ those of the embedding reach 108,000, so it computes in float32; they are small, and cost little
    time. Those after the decoder's first layer reach 37,000. They are normalised next, which undoes that they are made
    smaller here.
    """
    half.embedding = _InFloat32(embedding, kind)  # type: ignore[assignment]
    if len(half.composition.layers) > 1:
        with torch.no_grad():
            for parameter in half.composition.layers[-1].up.parameters():  # type: ignore[union-attr]
                parameter.div_(16)


class _InFloat32(nn.Module):
    """Hybrid embedding that computes in float32 within autocast of the device ``kind``."""

    def __init__(self, embedding: HybridEmbedding, kind: str) -> None:
        super().__init__()
        self.embedding, self.kind = embedding, kind

    def attend(self, embedding: Embedding, target_map: Tensor) -> Attended:
        """See ``HybridEmbedding.attend``."""
        with torch.autocast(self.kind, enabled=False):
            return self.embedding.attend(embedding, target_map)
