"""Episodes, the training data of Θ: rendered images of a person beside the real frames (§3.4, §4.4), and their files.

A set of episodes is a folder with one safetensors file per episode and an index, ``takes.jsonl``, with one line per
episode (docs/files.md). Its images are JPEGs, so that a set is small enough to move: 60 MB hold about 1,400 frames at
quality 85.
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
from thcli.json_lines import numbered_lines
from thcli.records import Float, Image

INDEX = "takes.jsonl"
"""Name of the index of a set of episodes."""
WINDOW = 2
"""Consecutive frames that are trained on together, so that changes from frame to frame can be learned."""
MAX_HEADER = 1 << 20
"""Most bytes read of an episode's header."""
AGAIN = "render it again with 'thgen preprocess episodes --resume'"
"""Remedy in the messages about files of episodes."""


@dataclass(frozen=True)
class Episode:
    """Frames of one person, rendered from K of the person's references, beside the real frames.

    The F frames are windows of ``WINDOW`` consecutive frames, one window after the other.

    references: [K, 256, 256, 3] uint8
    reference_landmarks: [K, 68, 2] float32, pixels
    geometric: [F, 256, 256, 3] uint8, y_geo, images of the geometric renderer
    projected: [F, 256, 256, 3] uint8, ỹ_t, references warped onto the target mesh and blended
    real: [F, 256, 256, 3] uint8, y_t
    landmarks: [F, 68, 2] float32, l_t, pixels
    matched: [F] int64, index of the reference y_ts
    """

    references: Image
    reference_landmarks: Float
    geometric: Image
    projected: Image
    real: Image
    landmarks: Float
    matched: NDArray[np.int64]


@dataclass(frozen=True)
class EpisodeMeta:
    """Record of an episode in the index.

    file: name of the episode's file
    subject: who is in it
    split: ``train`` or ``val``
    frames, references: F and K, how many it has
    """

    file: str
    subject: str
    split: str
    frames: int
    references: int


@dataclass(frozen=True)
class PackedEpisode:
    """Episode whose images are still JPEGs; ``image`` decodes one.

    meta: record of the episode in the index
    jpegs: the JPEGs of ``references``, ``geometric``, ``projected`` and ``real``, by field
    reference_landmarks, landmarks, matched: as in ``Episode``
    """

    meta: EpisodeMeta
    jpegs: dict[str, list[bytes]]
    reference_landmarks: Float
    landmarks: Float
    matched: NDArray[np.int64]

    def image(self, field: str, index: int) -> Image:
        """Decode an image [256, 256, 3] uint8 of a field; MediaError where it is damaged."""
        try:
            return np.asarray(Pillow.open(io.BytesIO(self.jpegs[field][index])))
        except OSError as error:
            raise MediaError(
                f"{self.meta.file}: picture {index} of '{field}' is damaged; delete the file, and {AGAIN}"
            ) from error

    def images(self, field: str, indices: NDArray[np.intp] | list[int]) -> Image:
        """Decode some images [N, 256, 256, 3] uint8 of a field."""
        return np.stack([self.image(field, int(i)) for i in indices])

    def part(self, frames: Sequence[int]) -> PackedEpisode:
        """Return the episode with only some of its frames, and with all of its references."""
        images = {field: [self.jpegs[field][i] for i in frames] for field in ("geometric", "projected", "real")}
        return dataclasses.replace(
            self,
            meta=dataclasses.replace(self.meta, frames=len(frames)),
            jpegs={**self.jpegs, **images},
            landmarks=self.landmarks[list(frames)],
            matched=self.matched[list(frames)],
        )


_IMAGES = ("references", "geometric", "projected", "real")
_ARRAYS = ("reference_landmarks", "landmarks", "matched")


def pack_episode(meta: EpisodeMeta, episode: Episode, quality: int) -> PackedEpisode:
    """Encode the images of an episode as JPEGs of a quality from 1 to 95."""
    jpegs = {field: [_jpeg(image, quality) for image in getattr(episode, field)] for field in _IMAGES}
    return PackedEpisode(meta, jpegs, episode.reference_landmarks, episode.landmarks, episode.matched)


def write_episode(root: Path, episode: PackedEpisode) -> None:
    """Write the file of an episode, beside its place and renamed."""
    arrays = {name: np.asarray(getattr(episode, name)) for name in _ARRAYS}
    for field, images in episode.jpegs.items():
        arrays[field] = np.frombuffer(b"".join(images), np.uint8)
        arrays[f"{field}/ends"] = np.cumsum([len(one) for one in images])
    write_atomic(root / episode.meta.file, save(arrays, {"take": json.dumps(dataclasses.asdict(episode.meta))}))


def write_index(root: Path) -> None:
    """Write the index anew from the episodes that are there, in order of their names."""
    metas = [_read_meta(path) for path in sorted(root.glob("*.safetensors"))]
    write_atomic(root / INDEX, "".join(json.dumps(dataclasses.asdict(meta)) + "\n" for meta in metas).encode())


def sweep(root: Path) -> None:
    """Remove the unfinished files of processes of this machine that were killed."""
    for partial in root.glob(".*.safetensors.*.partial"):
        process = partial.name.split(".")[-2]
        if process.isdecimal() and not is_running(int(process)):
            partial.unlink(missing_ok=True)


def read_index(root: Path) -> list[EpisodeMeta]:
    """Read the index of a set of episodes; MediaError for a folder without one."""
    path = root / INDEX
    if not path.is_file():
        raise MediaError(f"{root}: no {INDEX} there, expected episodes; make them with 'thgen preprocess episodes'")
    try:
        lines = numbered_lines(path.read_bytes(), str(path), MediaError)
        return [EpisodeMeta(**json.loads(line)) for _, line in lines]
    except (ValueError, TypeError) as error:
        raise MediaError(
            f"{path}: not an index of episodes ({error}); write it anew with 'thgen preprocess episodes --resume'"
        ) from error


def read_episode(path: Path) -> PackedEpisode:
    """Read a file that ``write_episode`` wrote; MediaError for any other file."""
    with _naming(path):
        arrays = load(path.read_bytes())
        jpegs = {field: _split(arrays[field], arrays[f"{field}/ends"]) for field in _IMAGES}
        return PackedEpisode(_read_meta(path), jpegs, *(arrays[name] for name in _ARRAYS))


def _read_meta(path: Path) -> EpisodeMeta:
    """Read the record in the header of an episode's file, without its images."""
    with _naming(path), path.open("rb") as file:
        header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MAX_HEADER)))
        return EpisodeMeta(**json.loads(header["__metadata__"]["take"]))


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of reading an episode into a MediaError that names the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file, though the index lists it; {AGAIN}") from error
    except (OSError, ValueError, LookupError, TypeError, SafetensorError) as error:
        raise MediaError(f"{path}: not an episode of thgen ({error}); delete it, and {AGAIN}") from error


def _jpeg(image: Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)
    return buffer.getvalue()


def _split(joined: NDArray[np.uint8], ends: NDArray[np.int64]) -> list[bytes]:
    return [part.tobytes() for part in np.split(joined, ends[:-1])]
