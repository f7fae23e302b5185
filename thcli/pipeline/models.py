"""The loaded networks; each is found, verified, hashed and loaded once per process, whoever asks for it."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from thcli.checkpoints import (
    DETECTION,
    EXPRESSION,
    FACE_MODEL,
    HEAD_MOTION,
    MATTING,
    MOUTH_INTERIOR,
    SPEECH_ADAPTER,
    SPEECH_ENCODER,
    THETA,
    UNPROJECTION,
    check_holds,
    digest_of,
    find_weights,
    load_checkpoint,
    load_weights,
    read_header,
)
from thcli.config import make_dims
from thcli.device import resolve_device
from thcli.errors import WeightsError
from thcli.face_model import FaceModel
from thcli.faces import backends
from thcli.faces.protocol import Tracker

if TYPE_CHECKING:
    from torch import nn

    from thcli.motion.speech_codes import SpeechEncoders
    from thcli.render.generator import FrameGenerator
    from thcli.render.matting import Matting
    from thcli.render.mouth_interior import MouthInterior
    from thgen_models.expression import ExpressionNetwork
    from thgen_models.generator import Generator
    from thgen_models.head_motion import HeadMotionLearner
    from thgen_models.speech_adapter import SpeechAdapter
    from thgen_models.speech_encoder import SpeechEncoder

BESIDE_THETA = (
    FACE_MODEL, EXPRESSION, SPEECH_ENCODER, SPEECH_ADAPTER, HEAD_MOTION, MOUTH_INTERIOR, MATTING, UNPROJECTION,
    DETECTION,
)  # fmt: skip
"""Files that a video depends on whichever renderer makes it."""
KEPT = 20
"""Most loaded networks kept in memory; it suffices for two folders of weights."""
T = TypeVar("T")
Dims = TypeVar("Dims")
Network = TypeVar("Network", bound="nn.Module")


class LruCache(Generic[T]):
    """Cache of values by key, which drops those unused for longest while all exceed ``room``. Threads may share it.

    room: most that the sizes of all values may add up to
    size: returns the size of a value, 1 by default
    """

    def __init__(self, room: int, size: Callable[[T], int] = lambda _: 1) -> None:
        self.room, self.size = room, size
        self.values: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = RLock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of ``key``, made by ``make`` where there is none yet."""
        with self._lock:
            value = self.values.pop(key) if key in self.values else make()
            self.values[key] = value
            while sum(map(self.size, self.values.values())) > self.room:
                self.values.popitem(last=False)
            return value


_LOADED: LruCache[Any] = LruCache(KEPT)
_OF_PARENTS: list[LruCache[Any]] = []
"""Networks that a forked process has from its parents, of which it neither uses nor drops those in ONNX Runtime."""
IN_ONNX_RUNTIME = ("tracker", "matting")
"""Kinds of networks that run in ONNX Runtime."""


def _load_anew() -> None:
    """Begin a forked process without loaded networks of ONNX Runtime.

    Its threads do not survive a fork, and who uses or drops such a network of the parent waits for them for ever.
    """
    global _LOADED
    _OF_PARENTS.append(_LOADED)
    loaded, _LOADED = _LOADED.values, LruCache(KEPT)
    _LOADED.values |= {key: value for key, value in loaded.items() if not _in_onnx_runtime(key)}


def _in_onnx_runtime(key: Hashable) -> bool:
    return isinstance(key, tuple) and key[0] in IN_ONNX_RUNTIME


os.register_at_fork(after_in_child=_load_anew)


class Models:
    """The networks of a folder of weights on a device, loaded on first use; ``load_models`` makes one.

    weights: folder searched before the user's and the shipped weights
    device: device on which Ψ, Φ, Θ and the tracker face-alignment run
    precision: floating point format of Θ: ``auto``, ``fp32``, ``bf16`` or ``fp16``
    tracker_name: backend that tracks faces

    Every property raises WeightsError where its file is missing, damaged, or not listed by its folder's manifest.
    """

    def __init__(self, weights: Path | None, device: str, precision: str, tracker_name: str) -> None:
        self.weights, self.device, self.precision, self.tracker_name = weights, device, precision, tracker_name

    @property
    def face_model(self) -> FaceModel:
        """Mesh topology, canonical face and expression basis."""
        return self._kept("face model", [self.find(FACE_MODEL)], FaceModel.load)

    @property
    def tracker(self) -> Tracker:
        """The backend that finds and tracks faces."""
        files = [self.find(DETECTION), self.find(UNPROJECTION)] if self.tracker_name == "builtin" else []

        def load(*paths: Path) -> Tracker:
            return backends.load_tracker(self.tracker_name, self.face_model, paths, self.device)

        return self._kept("tracker", files, load, self.tracker_name, self.device)

    @property
    def mouth_interior(self) -> MouthInterior:
        """Inside of the mouth, learned over many people."""
        from thcli.render.mouth_interior import MouthInterior

        return self._kept("mouth interior", [self.find(MOUTH_INTERIOR)], MouthInterior.load)

    @property
    def matting(self) -> Matting:
        """The network that tells the person from the background; it runs on the CPU."""
        from thcli.render.matting import Matting

        return self._kept("matting", [self.find(MATTING)], Matting)

    @property
    def expression_learner(self) -> ExpressionNetwork:
        """Expression learner Ψ, §3.2."""
        return self._kept(
            "Ψ", [self.find(EXPRESSION)], lambda path: load_expression_learner(path, self.device), self.device
        )

    @property
    def speech_encoders(self) -> SpeechEncoders | None:
        """Speech encoder that Ψ listens with, for quiet and for noisy recordings; None for a Ψ of another front end."""
        from thcli.motion.speech_codes import SpeechEncoders

        if self.expression_learner.dims.front_end != "encoder":
            return None
        files = [self.find(SPEECH_ENCODER), self.find(SPEECH_ADAPTER)]

        def load(encoder: Path, adapter: Path) -> SpeechEncoders:
            return SpeechEncoders(self.load_speech_encoder(), load_adapter(adapter, encoder, self.device))

        return self._kept("speech encoders", files, load, self.device)

    def load_speech_encoder(self) -> SpeechEncoder:
        """Return the speech encoder without its adapter, whatever Ψ listens with."""
        return self._kept(
            "speech encoder", [self.find(SPEECH_ENCODER)], lambda path: load_encoder(path, self.device), self.device
        )

    @property
    def head_motion_learner(self) -> HeadMotionLearner:
        """Head motion learner Φ, §3.3."""
        return self._kept(
            "Φ", [self.find(HEAD_MOTION)], lambda path: load_head_motion_learner(path, self.device), self.device
        )

    @property
    def theta(self) -> FrameGenerator:
        """Generator Θ, §4.2; raises UsageError for a precision that the device does not have."""
        from thcli.render.generator import TorchGenerator, precision_of

        def load(path: Path) -> FrameGenerator:
            return TorchGenerator(load_generator(path), self.device, precision_of(self.precision, self.device))

        return self._kept("Θ", [self.find(THETA)], load, self.device, self.precision)

    @property
    def generator(self) -> Generator:
        """Network of Θ in PyTorch, on the CPU."""
        return self._kept("network of Θ", [self.find(THETA)], load_generator)

    def find(self, name: str) -> Path:
        """Return the verified path of a file of weights, such as ``expression.safetensors``."""
        return find_weights(name, self.weights)

    def files(self, theta: bool = True) -> list[Path]:
        """Return the paths of the files that a video depends on; those not found are left out.

        theta: whether Θ renders the video

        Raises WeightsError where the folder ``weights`` holds no weights of a video, and where Θ is needed but missing.
        """
        if self.weights is not None:
            check_holds(self.weights, (*BESIDE_THETA, THETA))
        files: list[Path] = []
        for name in BESIDE_THETA:
            with suppress(WeightsError):
                files.append(self.find(name))
        if theta:
            files.append(self.find(THETA))
        return files

    def hashes(self, theta: bool = True) -> dict[str, str]:
        """Return SHA-256 by name of the files that a video depends on (``files``)."""
        return {path.name: digest_of(path) for path in self.files(theta)}

    def _kept(self, kind: str, files: list[Path] | tuple[Path, ...], load: Callable[..., T], *also: object) -> T:
        """Return a network from its files, loaded only where it is not in memory yet."""
        digests = tuple(digest_of(path) for path in files)
        return _LOADED.get((kind, digests, *also), lambda: load(*files))


def load_models(
    weights: Path | None = None, device: str = "auto", precision: str = "auto", tracker: str = "builtin"
) -> Models:
    """Return the networks of a folder of weights on a device; each is loaded when it is first used.

    weights: folder searched before the user's and the shipped weights
    device: ``auto``, ``cpu``, ``cuda[:N]`` or ``mps``; DeviceError for one that is not there
    precision: floating point format of Θ; ``auto`` is the quickest on the device
    tracker: ``builtin``, ``mediapipe`` or ``face-alignment``
    """
    return Models(weights, resolve_device(device), precision, tracker)


def load_expression_learner(path: Path, device: str = "cpu") -> ExpressionNetwork:
    """Load Ψ from a checkpoint, whose header gives its sizes; WeightsError for any other file."""
    from thgen_models.expression import ExpressionDims, make_expression_learner

    return _load(path, "expression", ExpressionDims, make_expression_learner).to(device)


def load_encoder(path: Path, device: str = "cpu") -> SpeechEncoder:
    """Load the speech encoder from a checkpoint in half precision; WeightsError for any other file."""
    from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

    return _load(path, "speech_encoder", SpeechEncoderDims, SpeechEncoder).to(device)


def load_adapter(path: Path, encoder: Path, device: str = "cpu") -> SpeechAdapter:
    """Load the adapter of a speech encoder from a checkpoint.

    Raises WeightsError for any other file, and for an adapter that was made for another encoder.
    """
    from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims

    adapter = _load(path, "speech_adapter", SpeechAdapterDims, SpeechAdapter).to(device)
    made_for = read_header(path).data.get("made_with", {}).get(SPEECH_ENCODER)
    if made_for not in (None, digest_of(encoder)):
        raise WeightsError(f"{path}: made for another encoder than {encoder}; make one with 'thgen train adapter'")
    return adapter


def load_head_motion_learner(path: Path, device: str = "cpu") -> HeadMotionLearner:
    """Load Φ from a checkpoint, whose header gives its sizes; WeightsError for any other file."""
    from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner

    return _load(path, "head_motion", HeadMotionDims, HeadMotionLearner).to(device)


def load_generator(path: Path) -> Generator:
    """Load the network of Θ from a checkpoint, whose header gives its sizes; WeightsError for any other file."""
    from thgen_models.generator import Generator, GeneratorDims

    return _load(path, "generator", GeneratorDims, Generator)


def _load(path: Path, stage: str, dims: type[Dims], build: Callable[[Dims], Network]) -> Network:
    """Return the network of a checkpoint of ``stage``, ready to predict."""
    checkpoint = load_checkpoint(path, stage)
    network = build(make_dims(dims, checkpoint.header.dims, str(path)))
    load_weights(network, checkpoint, path)
    return network.eval()
