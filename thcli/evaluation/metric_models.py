"""Networks that metrics need and thgen may not ship: given by path or put into the user's cache, never downloaded.

The cache is ``checkpoints.user_folder``, where ``thgen weights add`` puts ``identity.onnx``, ``inception.onnx`` and
``syncnet.onnx``. A file there must be one that thgen knows, or be listed in ``SHA256SUMS`` beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from thcli.checkpoints import MANIFEST, sha256, user_folder, verify
from thcli.errors import WeightsError
from thcli.onnx_files import open_network
from thcli.records import Float

if TYPE_CHECKING:
    import onnxruntime

Role = Literal["identity", "inception", "syncnet"]
CONTRACTS: Mapping[Role, str] = {
    "identity": "input [B, 3, 112, 112] float32, RGB in -1..1, aligned to ArcFace's five points; output [B, D]",
    "inception": "input [B, 3, 299, 299] float32, RGB in 0..1; output [B, 2048], the pooled features that FID compares",
    "syncnet": "inputs video [B, 3, 5, 224, 224] (BGR 0..255) and audio [B, 1, 13, 20] (MFCC); outputs two [B, D]",
}
"""Inputs and outputs of the ONNX file of each role; B may be any number or fixed."""
SHAPES: Mapping[Role, tuple[tuple[int, ...], ...]] = {
    "identity": ((3, 112, 112),),
    "inception": ((3, 299, 299),),
    "syncnet": ((3, 5, 224, 224), (1, 13, 20)),
}
"""Shapes of the inputs of each role's ONNX file, without the batch."""


@dataclass(frozen=True)
class Pixels:
    """Normalisation of RGB values in 0..1 for a network: (value - mean) / deviation, per channel."""

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    deviation: tuple[float, float, float] = (1.0, 1.0, 1.0)

    def prepare(self, image: Float) -> Float:
        """Return an image [3, H, W] of values in 0..1, normalised for the network."""
        mean, deviation = (np.array(part, np.float32)[:, None, None] for part in (self.mean, self.deviation))
        return (image - mean) / deviation


PIXELS: Mapping[Role, Pixels] = {
    "identity": Pixels((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "inception": Pixels(),
    "syncnet": Pixels(),
}
"""Normalisation for the file of each role, unless the file is in ``KNOWN``."""


@dataclass(frozen=True)
class Known:
    """A published network: its name, and the normalisation of its pixels."""

    name: str
    pixels: Pixels


KNOWN: Mapping[str, Known] = {
    "b7120c095d60094f28a4a54ba6a8bf51b297a6273fb40ef6350dfec1f63d9507": Known(
        "MobileFaceNet (foamliu, ArcFace)",
        Pixels((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),  # ImageNet's, as in data_gen.py of the repository
    ),
}
"""Published networks by the SHA-256 of their file; these need no entry in the cache's ``SHA256SUMS``."""


@dataclass(frozen=True)
class Model:
    """An external network, ready to run.

    name: its name in reports, with the beginning of its SHA-256
    session: the loaded ONNX file
    pixels: normalisation of its images
    batch: the only batch size that it takes; None for any
    """

    name: str
    session: onnxruntime.InferenceSession
    pixels: Pixels = Pixels()
    batch: int | None = None


@dataclass(frozen=True)
class MetricModels:
    """Paths of the external networks; None looks in the cache.

    Both methods raise WeightsError where a given path is missing, a file in the cache cannot be verified, or a file is
    not a network for its role.
    """

    identity: Path | None = None
    inception: Path | None = None
    syncnet: Path | None = None

    def find(self, role: Role) -> Model | str:
        """Return the network of a role, or, where there is none, the reason and the remedy."""
        given: Path | None = getattr(self, role)
        path = given or user_folder() / f"{role}.onnx"
        if given is None and not path.is_file():
            return f"no {role} network; give --{role} FILE.onnx or put it at {path}"
        return _load(path, role, given is not None)

    def name(self, role: Role) -> str:
        """Return the name of a role's network in reports; empty where there is none."""
        found = self.find(role)
        return found.name if isinstance(found, Model) else ""


@lru_cache(maxsize=8)
def _load(path: Path, role: Role, given: bool) -> Model:
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; --{role} takes the network as ONNX")
    digest = sha256(path)
    if not given and digest not in KNOWN and not (path.parent / MANIFEST).is_file():
        raise WeightsError(
            f"{path}: its SHA-256 {digest[:12]}… is not known; list it in {path.parent / MANIFEST}, "
            "as 'thgen weights add' does"
        )
    if digest not in KNOWN:
        verify(path)
    try:
        session = open_network(path, f"--{role}")
    except WeightsError as error:
        raise WeightsError(f"{error}; expected {CONTRACTS[role]}") from error
    shapes = [entry.shape for entry in session.get_inputs()]
    if len(session.get_outputs()) < len(SHAPES[role]) or not _fits(shapes, SHAPES[role]):
        found = " and ".join(str(shape) for shape in shapes)
        raise WeightsError(f"{path}: takes {found}, which is no network for --{role}; expected {CONTRACTS[role]}")
    known = KNOWN.get(digest, Known(path.stem, PIXELS[role]))
    batch = shapes[0][0] if isinstance(shapes[0][0], int) else None
    return Model(f"{known.name} (sha256 {digest[:12]})", session, known.pixels, batch)


def _fits(found: Sequence[Sequence[int | str | None]], wanted: Sequence[Sequence[int]]) -> bool:
    """Return whether inputs have the wanted shapes after the batch; a dimension without a number fits any."""
    return len(found) == len(wanted) and all(
        len(own) == len(other) + 1 and all(a == b for a, b in zip(own[1:], other, strict=True) if isinstance(a, int))
        for own, other in zip(found, wanted, strict=True)
    )
