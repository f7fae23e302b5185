"""Catalogue of the weight files that thgen can use: their places, faults, headers and cards."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thcli.checkpoints import MANIFEST, place_of, read_header, read_manifest, sha256, user_folder, weight_folders
from thcli.errors import UsageError, WeightsError

RESEARCH, OWN = "research use", "its owner's"
"""Licences of shipped files and of others."""


@dataclass(frozen=True)
class Entry:
    """A file that thgen can use.

    name: name of the file
    network: description of its content
    metric: whether only metrics use it; thgen does not ship such files
    """

    name: str
    network: str
    metric: bool = False


ENTRIES = (
    Entry("detection.onnx", "face detector"),
    Entry("unprojection.onnx", "face mesh, §4.1"),
    Entry("face_model.safetensors", "face model: mesh, expression basis"),
    Entry("expression.safetensors", "Ψ, expression from sound, §3.2"),
    Entry("speech_encoder.safetensors", "speech encoder that Ψ listens with"),
    Entry("speech_adapter.safetensors", "its adapter for noisy recordings"),
    Entry("head_motion.safetensors", "Φ, head motion, §3.3"),
    Entry("mouth_interior.safetensors", "inside of the mouth"),
    Entry("matting.onnx", "person and background"),
    Entry("generator.safetensors", "Θ, the picture, §4.2"),
    Entry("identity.onnx", "metrics: identity", metric=True),
    Entry("inception.onnx", "metrics: FID", metric=True),
    Entry("syncnet.onnx", "metrics: sync", metric=True),
)
NAMES = tuple(entry.name for entry in ENTRIES)


@dataclass(frozen=True)
class File:
    """A file on the disk.

    place: its folder: ``shipped``, ``yours`` or ``--weights``; empty for any other
    size: bytes
    sha256: SHA-256, hexadecimal
    fault: what is wrong with the file; empty where it is as listed
    """

    path: Path
    place: str
    size: int
    sha256: str
    fault: str

    @property
    def licence(self) -> str:
        """Licence of the file, as far as thgen knows."""
        return RESEARCH if self.place == "shipped" else OWN


def entry_of(name: str) -> Entry:
    """Return the entry of a file name, with or without its suffix; raise UsageError for an unknown name."""
    for entry in ENTRIES:
        if name == entry.name:
            return entry
    fitting = [entry for entry in ENTRIES if Path(entry.name).stem == name]
    if not fitting:
        raise UsageError(f"{name}: no file that thgen uses; expected {', '.join(NAMES)}")
    return fitting[0]


def find(entry: Entry, weights: Path | None = None) -> File | None:
    """Find the file that is used: the first in ``checkpoints.weight_folders``, for metrics the one of the user.

    Returns None where there is no such file.
    """
    folders = [user_folder()] if entry.metric else weight_folders(weights)
    for folder in folders:
        if (folder / entry.name).is_file():
            return look(folder / entry.name, weights)
    return None


def look(path: Path, weights: Path | None = None) -> File:
    """Read size, hash and fault of a file."""
    digest = sha256(path)
    return File(path, place_of(path, weights), path.stat().st_size, digest, _fault(path, digest))


def _fault(path: Path, digest: str) -> str:
    from thcli.evaluation.metric_models import KNOWN

    if digest in KNOWN:  # a public file of a metric's network need not be listed
        return ""
    if not (path.parent / MANIFEST).is_file() and path.parent != user_folder():
        return ""
    expected = read_manifest(path.parent).get(path.name)
    if expected is None:
        return f"not listed in {MANIFEST}"
    return "" if digest == expected else f"SHA-256 differs from {MANIFEST}"


def verify_folder(folder: Path) -> list[tuple[str, str]]:
    """Return name and fault ("" where there is none) of every file that a folder holds or lists.

    Raises WeightsError where the folder, or its list, is missing.
    """
    if not (folder / MANIFEST).is_file():
        raise WeightsError(f"{folder / MANIFEST}: no such file; without it nothing can be verified")
    present = {path.name for path in folder.iterdir() if path.suffix in (".safetensors", ".onnx")}
    names = sorted(present | read_manifest(folder).keys())
    return [(name, look(folder / name).fault if (folder / name).is_file() else "missing") for name in names]


def header_of(path: Path) -> dict[str, Any] | None:
    """Read the header of a checkpoint: stage, dims, step, config, data, metrics; None where it has none."""
    if path.suffix != ".safetensors":
        return None
    try:
        return dataclasses.asdict(read_header(path))
    except WeightsError:  # the face model and the mouth interior are tensors without a header
        return None


def card_of(path: Path) -> str:
    """Read the card beside a file, or that of the checkpoint it was exported from; empty where there is none."""
    for stem in (path.stem, path.stem.partition("_")[0]):
        card = path.with_name(f"{stem}.md")
        if card.is_file():
            return card.read_text(encoding="utf-8")
    return ""
