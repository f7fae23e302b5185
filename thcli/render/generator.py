"""Θ at work (§4.2, §4.3): its weights, and the ways to run it.

Where it runs is one rule, by what was measured (``lite``, a frame at 256² on one core of a Xeon that has AMX):

====================================  =======
PyTorch, bfloat16, channels last      38 ms
ONNX Runtime, float32                 57 ms
PyTorch, float32                      66 ms
====================================  =======

So on a CPU that multiplies matrices in bfloat16 it is PyTorch; on others ONNX Runtime, where the exported networks lie
beside the checkpoint, else PyTorch in float32. A GPU has PyTorch.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from thcli.checkpoints import find_weights, load_checkpoint, load_weights, verify
from thcli.config import make_dims
from thcli.errors import UsageError, WeightsError
from thcli.onnx_files import open_network
from thgen_models.embedding import Embedding
from thgen_models.generator import EmbeddingNetwork, FrameNetwork, Frames, Generator, GeneratorDims

if TYPE_CHECKING:
    import onnxruntime

CHECKPOINT, FRAMES, EMBEDDING = "generator.safetensors", "generator.onnx", "generator_embedding.onnx"
PICTURE = "picture"
"""What the exported network gives."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class FrameGenerator(Protocol):
    """Θ, loaded, for pictures of 256² on its device. It keeps nothing from call to call; frames come out one by one
    as they do together."""

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """What is to be known of a person, once a job: K references [K, 3, 256, 256] float32 in -1..1 and their
        landmark maps [K, 1, 256, 256] float32 in 0..1."""

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        """Pictures [B, 3, 256, 256] float32 in -1..1 of frames [B, …] of the person; any B."""


def find_generator(weights: Path | None = None, device: str = "cpu", precision: str = "auto") -> tuple[Path, ...]:
    """The verified files that Θ runs from on a device: the two exported networks, or the checkpoint.

    precision: ``auto``, or one of ``PRECISIONS``
    Raises WeightsError where they are missing or not what their folder's manifest lists, UsageError for a precision
    that the device has not.
    """
    checkpoint = find_weights(CHECKPOINT, weights)
    exported = (checkpoint.with_name(FRAMES), checkpoint.with_name(EMBEDDING))
    rounded = precision_of(precision, device) != torch.float32
    if device != "cpu" or rounded or not any(path.is_file() for path in exported):
        return (checkpoint,)
    for path in exported:
        if not path.is_file():
            raise WeightsError(f"{path}: no such file, expected beside {exported[0].name}; export both anew")
        verify(path)
    return exported


def load_generator(weights: Path | None = None, device: str = "cpu", precision: str = "auto") -> FrameGenerator:
    """Θ with its weights from the folder ``weights``, else those shipped; errors as of ``find_generator``."""
    files = find_generator(weights, device, precision)
    if len(files) > 1:
        return OnnxGenerator(*files)
    return TorchGenerator.load(files[0], device, precision_of(precision, device))


def load_network(path: Path) -> Generator:
    """Θ from a checkpoint, whose header gives the sizes; WeightsError where it is none of Θ."""
    checkpoint = load_checkpoint(path, "generator")
    network = Generator(make_dims(GeneratorDims, checkpoint.header.dims, str(path)))
    load_weights(network, checkpoint, path)
    return network.eval()


def precision_of(name: str, device: str) -> torch.dtype:
    """``auto`` or one of ``PRECISIONS`` on a device; UsageError for fp16 on a CPU, which is slower there than fp32."""
    if name == "fp16" and device == "cpu":
        raise UsageError("--precision fp16: is for GPUs; use bf16 or fp32 on the CPU")
    return quickest_precision(device) if name == "auto" else PRECISIONS[name]


def quickest_precision(device: str) -> torch.dtype:
    """What frames are drawn in by PyTorch: bfloat16 on a CPU with AMX, whose sums are of float32; else float32.

    AVX-512 alone can do it too, but whether that is quicker than ONNX Runtime was not measured. An older PyTorch, which
    cannot say what the CPU has, takes float32.
    """
    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)() if device == "cpu" else {}
    return torch.bfloat16 if known.get("amx_bf16", False) else torch.float32


class TorchGenerator:
    """Θ in PyTorch, on any device.

    precision: of the network for frames; ``quickest_precision`` where None. In bfloat16 only what Θ paints is rounded,
        by 0.01 of 255 on average and 1 at most on val: images are warped, and laid on y_geo, in float32
    """

    def __init__(self, network: Generator, device: str = "cpu", precision: torch.dtype | None = None) -> None:
        network = network.to(device).eval()
        self._embedding, self._frames = EmbeddingNetwork(network), FrameNetwork(network)
        self._kind = torch.device(device).type
        self.precision = precision or quickest_precision(device)
        if self.precision != torch.float32:
            self._frames = FrameNetwork(copy.deepcopy(network).to(self.precision))
            self._frames.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack it

    @classmethod
    def load(cls, path: Path, device: str = "cpu", precision: torch.dtype | None = None) -> TorchGenerator:
        """From a checkpoint; the errors are those of ``load_network``."""
        return cls(load_network(path), device, precision)

    @torch.inference_mode()
    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return Embedding(*self._embedding(images[None], maps[None]))

    @torch.inference_mode()
    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.draw``."""
        # else cuDNN may choose algorithms whose sums come in another order every time
        with (
            torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True),
            torch.autocast(self._kind, self.precision, enabled=self.precision != torch.float32),
        ):
            picture: Tensor = self._frames(*_tensors(frames), *embedding.tensors())
            return picture


class OnnxGenerator:
    """Θ in ONNX Runtime, on the CPU, from the files that ``thcli.export.exporters.export_generator`` writes."""

    def __init__(self, frames: Path, embedding: Path) -> None:
        self._frames = _session(frames, [*_names(Frames), *_names(Embedding)], [PICTURE])
        self._embedding = _session(embedding, ["images", "maps"], _names(Embedding))

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """See ``FrameGenerator.embed``."""
        return Embedding(*_run(self._embedding, [images[None], maps[None]]))

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        """See ``FrameGenerator.draw``."""
        return _run(self._frames, [*_tensors(frames), *embedding.tensors()])[0]


def resized(pictures: Tensor, size: int) -> Tensor:
    """Pictures or maps [B, C, S, S] as [B, C, size, size], without aliasing."""
    if pictures.shape[-1] == size:
        return pictures
    return interpolate(pictures, size=(size, size), mode="bilinear", antialias=True, align_corners=False)


def _session(path: Path, inputs: Sequence[str], outputs: Sequence[str]) -> onnxruntime.InferenceSession:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    # PyTorch takes turns with it; threads that spin while they wait take the cores from it, and from other programs
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = open_network(path, "Θ", options)
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
    """A network's outputs, in order, for its inputs, in order."""
    given = {one.name: np.ascontiguousarray(t.numpy()) for one, t in zip(session.get_inputs(), tensors, strict=True)}
    return [torch.from_numpy(output) for output in session.run(None, given)]


def _names(record: type[Any]) -> list[str]:
    return [field.name for field in fields(record)]


def _tensors(frames: Frames) -> tuple[Tensor, ...]:
    """The fields in order."""
    return tuple(getattr(frames, name) for name in _names(Frames))
