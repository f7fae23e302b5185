r"""Inference of Θ (§4.2, §4.3) in PyTorch or in ONNX Runtime.

The time of one frame at 256² decides where Θ runs (model ``lite``, one core; of a Xeon that has AMX beside another
program, and of an EPYC that has AVX-512 with bfloat16 beside none):

====================================  =======  =======
\                                     Xeon     EPYC
====================================  =======  =======
PyTorch, bfloat16, channels last      17 ms    16 ms
ONNX Runtime, float32                 33 ms    28 ms
PyTorch, float32                      31 ms    28 ms
====================================  =======  =======

A CPU that multiplies bfloat16 itself therefore runs Θ in PyTorch. Other CPUs run it in ONNX Runtime where the
exported networks lie beside the checkpoint, else in PyTorch in float32. A GPU runs it in PyTorch.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from thcli.device import has_fast_bfloat16
from thcli.errors import UsageError, WeightsError
from thcli.onnx_files import open_network
from thgen_models.embedding import Attended, Embedding, HybridEmbedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Frames, Generator

if TYPE_CHECKING:
    import onnxruntime

PICTURE = "picture"
"""Name of the only output of the exported frame network."""
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


class PartGenerator(FrameGenerator, Protocol):
    """Θ that can render a part of an image, which takes less time."""

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
        self._embedding, self._frames = EmbeddingNetwork(network), FrameNetwork(network)
        self._kind = torch.device(device).type
        self.precision = precision or quickest_precision(device)
        if self.precision != torch.float32:
            half = copy.deepcopy(network).to(self.precision)
            if self.precision == torch.float16:
                _keep_in_range(half, network.embedding, self._kind)
            self._frames = FrameNetwork(half)
            self._frames.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @torch.inference_mode()
    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return Embedding(*self._embedding(images[None], maps[None]))

    @torch.inference_mode()
    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.render``."""
        with self._arithmetic():
            image: Tensor = self._frames(*_tensors(frames), *embedding.tensors())
            return image

    @torch.inference_mode()
    def render_part(self, frames: Frames, embedding: Embedding, target_map: Tensor, corner: tuple[int, int]) -> Tensor:
        """See ``PartGenerator.render_part``."""
        with self._arithmetic():
            return self._frames.generator.part(frames, embedding, target_map, corner).image.clamp(-1, 1)

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


class OnnxGenerator:
    """Θ in ONNX Runtime, on the CPU, from the files that ``thcli.export.exporters.export_generator`` writes."""

    def __init__(self, frames: Path, embedding: Path) -> None:
        self._path = frames
        self._sessions = {os.getpid(): self._open_frames()}
        self._embedding = _session(embedding, ["images", "maps"], _names(Embedding))
        self.size = int(self._sessions[os.getpid()].get_inputs()[0].shape[-1])
        self.reduction = self.size // int(self._embedding.get_inputs()[0].shape[-1])

    def _open_frames(self) -> onnxruntime.InferenceSession:
        return _session(self._path, [*_names(Frames), *_names(Embedding)], [PICTURE])

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return Embedding(*_run(self._embedding, [images[None], maps[None]]))

    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.render``."""
        process = os.getpid()
        if process not in self._sessions:  # the threads of a session do not survive a fork
            self._sessions[process] = self._open_frames()
        return _run(self._sessions[process], [*_tensors(frames), *embedding.tensors()])[0]


def _session(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> onnxruntime.InferenceSession:
    session = open_network(path, "Θ", torch.get_num_threads())
    for kind, found, expected in (
        ("inputs", session.get_inputs(), inputs),
        ("outputs", session.get_outputs(), outputs),
    ):
        names = [one.name for one in found]
        if names != list(expected):
            raise WeightsError(
                f"{path}: has the {kind} {', '.join(names)}, expected {', '.join(expected)}; export it anew"
            )
    return session


def _run(session: onnxruntime.InferenceSession, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return a network's outputs, in order, for tensors given in the order of its inputs."""
    given = {one.name: np.ascontiguousarray(t.numpy()) for one, t in zip(session.get_inputs(), tensors, strict=True)}
    return [torch.from_numpy(output) for output in session.run(None, given)]


def _names(record: type[Any]) -> list[str]:
    return [field.name for field in fields(record)]


def _tensors(frames: Frames) -> tuple[Tensor, ...]:
    """Return the fields of a record of frames in order."""
    return tuple(getattr(frames, name) for name in _names(Frames))
