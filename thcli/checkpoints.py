"""Finding, verifying, loading and saving of checkpoints: safetensors with a JSON header; pickle is never loaded.

Weights are searched for in the folder given as ``--weights DIR``, then in ``user_folder``, where ``thgen weights add``
puts files and where metrics look for their networks, then in the package (``models/weights``). Each folder lists the
SHA-256 of its files in ``SHA256SUMS``, in the format of ``sha256sum``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thcli.errors import WeightsError

if TYPE_CHECKING:
    import numpy as np
    import torch

FORMAT = 1
EARLIER_DIMS: Mapping[str, Mapping[str, Any]] = {"generator": {"side": 256, "reduction": 1, "subpixel": 1}}
"""Values of fields of ``Dims`` that checkpoints of earlier versions do not name, by stage."""
MANIFEST = "SHA256SUMS"
NO_HOME = Path("/nonexistent")
"""Home of users who have none, as Debian calls it; no such folder exists."""
DETECTION, UNPROJECTION = "detection.onnx", "unprojection.onnx"
FACE_MODEL, MOUTH_INTERIOR = "face_model.safetensors", "mouth_interior.safetensors"
MATTING = "matting.onnx"
EXPRESSION, HEAD_MOTION = "expression.safetensors", "head_motion.safetensors"
SPEECH_ENCODER, SPEECH_ADAPTER = "speech_encoder.safetensors", "speech_adapter.safetensors"
THETA = "generator.safetensors"
"""File names of weights: the tracker's detector and mesh network; face model and mouth interior; the matting network;
Ψ and Φ; the encoder that Ψ listens with, and its adapter; Θ."""
SHIPPED = (
    DETECTION, UNPROJECTION, FACE_MODEL, MOUTH_INTERIOR, MATTING, EXPRESSION, HEAD_MOTION, SPEECH_ENCODER,
    SPEECH_ADAPTER, THETA,
)  # fmt: skip
"""File names of all weights that come with the package; a folder of weights may hold any of them."""


@dataclass(frozen=True)
class Header:
    """Description of a checkpoint, stored in its file.

    stage: name of the network, such as ``expression``
    dims: fields of the network's ``Dims``
    step: number of training steps that the network was trained for
    config: configuration section that the network was trained with
    data: description of the training data
    metrics: figures on held-out subjects
    format: version of the file format
    """

    stage: str
    dims: Mapping[str, Any]
    step: int = 0
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    format: int = FORMAT


@dataclass(frozen=True)
class Checkpoint:
    """A header and the tensors of the network's ``state_dict()``."""

    header: Header
    tensors: Mapping[str, torch.Tensor]


def shipped_weights() -> Path:
    """Return the folder of the weights that come with the package."""
    return Path(str(resources.files("thgen_models"))) / "weights"


def user_folder() -> Path:
    """Return the folder of the user's own networks: ``$XDG_CACHE_HOME/thgen/models``, else ``~/.cache/thgen/models``.

    It need not exist. A user without a home, or without access to the folder, gets one below ``NO_HOME``. A relative
    ``XDG_CACHE_HOME`` does not count, as its specification says.
    """
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    below = Path("thgen", "models")
    try:
        folder = (base if base.is_absolute() else Path.home() / ".cache") / below
        (folder / MANIFEST).is_file()
    except (OSError, RuntimeError):  # no access, or an unknown home
        return NO_HOME / ".cache" / below
    return folder


def weight_folders(weights: Path | None = None, names: Sequence[str] = SHIPPED) -> list[Path]:
    """Return the existing folders in the order in which they are searched: the given, the user's, the shipped one.

    Raises WeightsError where the given folder does not exist, or holds none of the files ``names``.
    """
    if weights is not None:
        check_holds(weights, names)
    return [folder for folder in (weights, user_folder(), shipped_weights()) if folder is not None and folder.is_dir()]


def check_holds(weights: Path, names: Sequence[str]) -> None:
    """Raise WeightsError unless a folder of weights exists and holds at least one of the files ``names``."""
    fix = "give --weights a folder that holds some"
    if not weights.is_dir():
        raise WeightsError(f"{weights}: no such folder of weights; {fix}")
    if not any((weights / name).is_file() for name in names):
        raise WeightsError(f"{weights}: holds none of the weights looked for ({', '.join(names)}); {fix}")


def place_of(path: Path, weights: Path | None) -> str:
    """Name the folder that a file of weights lies in: ``shipped``, ``yours`` or ``--weights``; empty for any other."""
    return {shipped_weights(): "shipped", user_folder(): "yours", weights: "--weights"}.get(path.parent, "")


def find_weights(name: str, weights: Path | None = None) -> Path:
    """Return the verified path of a file (such as ``expression.safetensors``) in the first folder that has it.

    The folders are those of ``weight_folders``. Raises WeightsError where none has the file, or where the file differs
    from the folder's manifest.
    """
    folders = weight_folders(weights, tuple(dict.fromkeys((*SHIPPED, name))))
    for folder in folders:
        if (folder / name).is_file():
            verify(folder / name)
            return folder / name
    searched = ", ".join(str(folder) for folder in folders)
    raise WeightsError(
        f"{name}: no such weights in {searched}; reinstall thgen or give --weights a folder that has them"
    )


def verify(path: Path) -> None:
    """Raise WeightsError unless a file has the SHA-256 that its folder's manifest lists.

    Files of a folder without a manifest are accepted, except in ``user_folder``, where any program may write.
    """
    if not (path.parent / MANIFEST).is_file() and path.parent != user_folder():
        return
    expected = read_manifest(path.parent).get(path.name)
    found = digest_of(path)
    if expected is None:
        raise WeightsError(f"{path}: not listed in {MANIFEST}; add it with 'thgen weights add'")
    if found != expected:
        raise WeightsError(f"{path}: SHA-256 is {found[:12]}…, {MANIFEST} lists {expected[:12]}…; get the file again")


def read_manifest(folder: Path) -> dict[str, str]:
    """Read a folder's manifest: SHA-256 by file name, empty where there is no manifest.

    Raises WeightsError where the manifest cannot be read.
    """
    try:
        lines = (folder / MANIFEST).read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise WeightsError(f"{folder / MANIFEST}: cannot be read; expected lines as sha256sum writes them") from error
    return {name.lstrip(" *"): digest for digest, _, name in (line.partition(" ") for line in lines if line.strip())}


def write_manifest(folder: Path) -> None:
    """Write the manifest of all weights in a folder, hashing every file."""
    names = [path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".onnx")]
    list_files(folder, {name: sha256(folder / name) for name in names})


def list_files(folder: Path, listed: Mapping[str, str]) -> None:
    """Write a folder's manifest from SHA-256 by file name: one line per file, in order of the names."""
    write_atomic(folder / MANIFEST, "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items())).encode())


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


_DIGESTS: dict[tuple[Path, int, int], str] = {}
"""SHA-256 by path, size and modification time (ns)."""


def digest_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file, computed once per process while its size and modification time stay the same."""
    found = path.stat()
    key = (path.absolute(), found.st_size, found.st_mtime_ns)
    if key not in _DIGESTS:
        _DIGESTS[key] = sha256(path)
    return _DIGESTS[key]


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file under a temporary name beside the target, then rename it. Raises OSError with the target's name."""
    # only the end of the target's name, which may be as long as the file system allows already
    partial = path.with_name(f".{secrets.token_hex(3)}.{path.name[-50:]}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        if error.errno is not None:
            raise OSError(error.errno, error.strerror, str(path)) from error  # the name that the user gave
        raise
    finally:
        with contextlib.suppress(OSError):  # a read-only file system raises even where there is no such file
            partial.unlink(missing_ok=True)


def save_checkpoint(path: Path, header: Header, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as safetensors with the header as JSON in their metadata, atomically (``write_atomic``)."""
    from safetensors.torch import save

    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    metadata = {"thgen": json.dumps(dataclasses.asdict(header), sort_keys=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, save(plain, metadata))


def load_arrays(path: Path, shapes: Mapping[str, tuple[int | None, ...]]) -> dict[str, np.ndarray]:
    """Read the arrays of a safetensors file by name.

    shapes: expected shape by name; a size of None allows any

    Raises WeightsError where the file is damaged, or names or shapes differ.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        arrays = load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: damaged, or no safetensors file ({error}); get the file again") from error
    for name in sorted(arrays.keys() | shapes.keys()):
        found, wanted = (arrays[name].shape if name in arrays else None), shapes.get(name)
        fits = found is not None and wanted is not None and len(found) == len(wanted)
        if not fits or any(n not in (None, own) for n, own in zip(wanted or (), found or (), strict=True)):
            raise WeightsError(
                f"{path}: its '{name}' is {_shape(found)}, expected {_shape(wanted)}; get the file again"
            )
    return arrays


def _shape(sides: Sequence[int | None] | None) -> str:
    return "not there" if sides is None else f"[{', '.join('any' if n is None else str(n) for n in sides)}]"


def read_header(path: Path) -> Header:
    """Read the header of a checkpoint without its tensors. Raises WeightsError for any other file."""
    try:
        with path.open("rb") as file:
            (size,) = struct.unpack("<Q", file.read(8))
            metadata = json.loads(file.read(min(size, 1 << 24))).get("__metadata__", {})
        fields = json.loads(metadata["thgen"])
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such checkpoint") from error
    except (OSError, ValueError, KeyError, AttributeError, struct.error) as error:
        raise WeightsError(f"{path}: not a thgen checkpoint; expected safetensors with a 'thgen' header") from error
    if fields.get("format") != FORMAT:
        raise WeightsError(f"{path}: checkpoint format {fields.get('format')}, this thgen reads format {FORMAT}")
    header = Header(**fields)
    return dataclasses.replace(header, dims={**EARLIER_DIMS.get(header.stage, {}), **header.dims})


def load_checkpoint(path: Path, stage: str) -> Checkpoint:
    """Read header and tensors of a checkpoint of ``stage``. Raises WeightsError for any other file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    header = read_header(path)
    if header.stage != stage:
        raise WeightsError(f"{path}: a checkpoint of '{header.stage}', expected one of '{stage}'")
    try:
        return Checkpoint(header, load_file(path))
    except SafetensorError as error:
        raise WeightsError(f"{path}: damaged checkpoint ({error}); get the file again") from error


def load_weights(network: torch.nn.Module, checkpoint: Checkpoint, path: Path) -> None:
    """Copy a checkpoint's tensors into a network. Raises WeightsError where names or shapes differ."""
    try:
        network.load_state_dict(dict(checkpoint.tensors))
    except RuntimeError as error:
        first = str(error).splitlines()[-1].strip()
        raise WeightsError(
            f"{path}: does not fit this version's '{checkpoint.header.stage}' network: {first}"
        ) from error
