"""Takes: what Θ is trained on, drawn pictures of a person beside the real frames (§3.4, §4.4), and their files.

A set of takes is a folder with one safetensors file a take and ``takes.jsonl``, one line a take, on top. Pictures
are JPEGs in it, so that a set travels: 60 MB hold about 1,400 frames at quality 85.
"""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from safetensors import SafetensorError
from safetensors.numpy import load, save

from thcli.checkpoints import write_atomic
from thcli.data.processes import is_running
from thcli.errors import MediaError
from thcli.records import Float, Image

INDEX = "takes.jsonl"
WINDOW = 2
"""Consecutive frames that are trained on together, for what changes from frame to frame."""
MAX_HEADER = 1 << 20
AGAIN = "draw it again with 'thgen preprocess takes --resume'"


@dataclass(frozen=True)
class Take:
    """Frames of one person, drawn from K references of theirs, beside what was really there.

    references: [K, 256, 256, 3] uint8; reference_landmarks: [K, 68, 2] float32, pixels
    geometric: y_geo, the geometric path's pictures, [F, 256, 256, 3] uint8, ``WINDOW`` consecutive frames after others
    projected: ỹ_t, the references on the target's mesh, blended, [F, 256, 256, 3] uint8
    real: y_t, [F, 256, 256, 3] uint8
    landmarks: l_t, [F, 68, 2] float32, pixels
    matched: the reference y_ts, [F] int64, an index into the references
    """

    references: Image
    reference_landmarks: Float
    geometric: Image
    projected: Image
    real: Image
    landmarks: Float
    matched: NDArray[np.int64]


@dataclass(frozen=True)
class TakeMeta:
    """What the index says of a take: its file, who is in it, in which split, and how many frames and references."""

    file: str
    subject: str
    split: str
    frames: int
    references: int


@dataclass(frozen=True)
class PackedTake:
    """A take whose pictures are still JPEGs; ``picture`` opens one.

    jpegs: those of ``references``, ``geometric``, ``projected`` and ``real``, by field
    """

    meta: TakeMeta
    jpegs: dict[str, list[bytes]]
    reference_landmarks: Float
    landmarks: Float
    matched: NDArray[np.int64]

    def picture(self, field: str, index: int) -> Image:
        """One picture [256, 256, 3] uint8 of a field; MediaError where it is damaged."""
        try:
            return np.asarray(Pillow.open(io.BytesIO(self.jpegs[field][index])))
        except OSError as error:
            raise MediaError(
                f"{self.meta.file}: picture {index} of '{field}' is damaged; delete the file, and {AGAIN}"
            ) from error

    def pictures(self, field: str, indices: NDArray[np.intp] | list[int]) -> Image:
        """Some [N, 256, 256, 3] of a field."""
        return np.stack([self.picture(field, int(i)) for i in indices])

    def part(self, frames: Sequence[int]) -> PackedTake:
        """The take with some of its frames alone, and with all of its references."""
        drawn = {field: [self.jpegs[field][i] for i in frames] for field in ("geometric", "projected", "real")}
        return dataclasses.replace(
            self,
            meta=dataclasses.replace(self.meta, frames=len(frames)),
            jpegs={**self.jpegs, **drawn},
            landmarks=self.landmarks[list(frames)],
            matched=self.matched[list(frames)],
        )


_PICTURES = ("references", "geometric", "projected", "real")
_ARRAYS = ("reference_landmarks", "landmarks", "matched")


def pack_take(meta: TakeMeta, take: Take, quality: int) -> PackedTake:
    """The take with its pictures as JPEGs of a quality from 1 to 95."""
    jpegs = {field: [_jpeg(picture, quality) for picture in getattr(take, field)] for field in _PICTURES}
    return PackedTake(meta, jpegs, take.reference_landmarks, take.landmarks, take.matched)


def write_take(root: Path, take: PackedTake) -> None:
    """Write a take's file, beside its place and renamed."""
    arrays = {name: np.asarray(getattr(take, name)) for name in _ARRAYS}
    for field, pictures in take.jpegs.items():
        arrays[field] = np.frombuffer(b"".join(pictures), np.uint8)
        arrays[f"{field}/ends"] = np.cumsum([len(one) for one in pictures])
    write_atomic(root / take.meta.file, save(arrays, {"take": json.dumps(dataclasses.asdict(take.meta))}))


def write_index(root: Path) -> None:
    """Write the index anew from the takes that are there, in order of their names."""
    metas = [_read_meta(path) for path in sorted(root.glob("*.safetensors"))]
    write_atomic(root / INDEX, "".join(json.dumps(dataclasses.asdict(meta)) + "\n" for meta in metas).encode())


def sweep(root: Path) -> None:
    """Remove what processes of this machine left half-written when they were killed."""
    for partial in root.glob(".*.safetensors.*.partial"):
        process = partial.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            partial.unlink(missing_ok=True)


def read_index(root: Path) -> list[TakeMeta]:
    """The takes of a set; MediaError where it is none."""
    path = root / INDEX
    if not path.is_file():
        raise MediaError(f"{root}: no {INDEX} there, expected takes; make them with 'thgen preprocess takes'")
    try:
        return [TakeMeta(**json.loads(line)) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (ValueError, TypeError) as error:
        raise MediaError(
            f"{path}: not an index of takes ({error}); write it anew with 'thgen preprocess takes --resume'"
        ) from error


def read_take(path: Path) -> PackedTake:
    """Read what ``write_take`` wrote; MediaError where it is anything else."""
    with _naming(path):
        arrays = load(path.read_bytes())
        jpegs = {field: _split(arrays[field], arrays[f"{field}/ends"]) for field in _PICTURES}
        return PackedTake(_read_meta(path), jpegs, *(arrays[name] for name in _ARRAYS))


def _read_meta(path: Path) -> TakeMeta:
    """What the file's header says, without reading the pictures."""
    with _naming(path), path.open("rb") as file:
        header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MAX_HEADER)))
        return TakeMeta(**json.loads(header["__metadata__"]["take"]))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of reading a take, as one that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file, though the index lists it; {AGAIN}") from error
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise MediaError(f"{path}: not a take of thgen ({error}); delete it, and {AGAIN}") from error


def _jpeg(picture: Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _split(joined: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes]:
    return [part.tobytes() for part in np.split(joined, ends[:-1])]
