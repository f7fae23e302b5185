"""Store of preprocessed clips (docs/files.md): a folder with an index, and one folder per clip.

    DATA/index.jsonl                  one line per clip, its meta.json
    DATA/CLIP/crop.mp4                the face crop, 25 fps
    DATA/CLIP/speech.flac             its audio, 16 kHz mono
    DATA/CLIP/track.npz               the face track in pixels of the crop
    DATA/CLIP/meta.json               ``ClipMeta``

A clip's folder is filled beside its place and renamed, so a folder that exists is complete and a run can resume.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.data.processes import is_running
from thcli.errors import MediaError
from thcli.json_lines import numbered_lines
from thcli.records import FPS, FaceTrack

INDEX, META, CROP, SPEECH, TRACK = "index.jsonl", "meta.json", "crop.mp4", "speech.flac", "track.npz"
PARTIAL = ".partial"
MOUTH_LEADS = 2
"""Frames by which the mouth leads the audio in usual footage, whose ``av_lag`` is 0.

By the phones of synthetic speech, a network that learned from such footage closes the lips 80 ms before a p, b or m is
heard (``benchmarks/languages.py``), and its mouths open two frames before they sound open (median over 97 clips).
"""


@dataclass(frozen=True)
class ClipMeta:
    """Record of a clip, besides its frames, audio and track.

    clip: name of the clip and of its folder
    subject: who speaks; splits never share a subject
    split: ``val`` for clips that are held out; ``train``, or another name, for those to train on
    frames: number of frames at 25 fps
    av_lag: frames by which the mouth trails the audio more than in usual footage (negative: less); None where that is
        not known
    source, license: where the clip comes from, and on what terms
    """

    clip: str
    subject: str
    split: str
    frames: int
    av_lag: int | None = None
    source: str = ""
    license: str = ""

    @property
    def lag(self) -> int:
        """Frames by which the mouth trails the audio (negative: leads), as in usual footage where it is not known."""
        return (self.av_lag or 0) - MOUTH_LEADS


class Store:
    """A store that is read.

    Raises MediaError where the folder is not a store, or the record or track of a clip is damaged.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        if not (root / INDEX).is_file():
            raise MediaError(
                f"{root}: no {INDEX} there, expected preprocessed clips; make them with 'thgen preprocess all'"
            )
        lines = numbered_lines((root / INDEX).read_bytes(), str(root / INDEX), MediaError)
        self.clips = [_meta(line, root / INDEX) for _, line in lines]

    def select(self, split: str) -> list[ClipMeta]:
        """Return the records of the clips of a split, such as ``train`` or ``val``."""
        return [meta for meta in self.clips if meta.split == split]

    def crop(self, clip: str) -> Path:
        """Return the path of a clip's video, the face crop."""
        return self.root / clip / CROP

    def speech(self, clip: str) -> Path:
        """Return the path of a clip's audio."""
        return self.root / clip / SPEECH

    def track(self, clip: str) -> FaceTrack:
        """Load a clip's face track, in pixels of the crop."""
        return load_track(self.root / clip / TRACK)


class StoreWriter:
    """Writer that fills a store.

    writer = StoreWriter(root)
    if not writer.has("s001_00"):
        with writer.clip(meta) as folder:
            ...  # write CROP, SPEECH and TRACK into folder
    write_index(root)
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove the unfinished folders of processes of this machine that were killed."""
        for partial in self.root.glob(f".*.*{PARTIAL}"):
            process = partial.name.removesuffix(PARTIAL).rpartition(".")[2]
            if process.isdecimal() and not is_running(int(process)):
                shutil.rmtree(partial, ignore_errors=True)

    def has(self, clip: str) -> bool:
        """Whether the store has the clip, complete."""
        return (self.root / clip / META).is_file()

    @contextmanager
    def clip(self, meta: ClipMeta) -> Iterator[Path]:
        """Yield a folder to fill, which replaces the clip's folder when the block ends without an error."""
        partial = self.root / f".{meta.clip}.{os.getpid()}{PARTIAL}"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            yield partial
            (partial / META).write_text(json.dumps(dataclasses.asdict(meta), indent=1) + "\n", encoding="utf-8")
            shutil.rmtree(self.root / meta.clip, ignore_errors=True)
            os.replace(partial, self.root / meta.clip)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def write_index(root: Path) -> None:
    """Write the index anew from the clips' own records, in order of their names."""
    paths = sorted(p for p in root.glob(f"*/{META}") if not p.parent.name.startswith("."))
    records = [dataclasses.asdict(_meta(path.read_text(encoding="utf-8"), path)) for path in paths]
    write_atomic(root / INDEX, "".join(json.dumps(record) + "\n" for record in records).encode())


def save_track(path: Path, track: FaceTrack) -> None:
    """Write a face track (docs/files.md), beside its target and renamed."""
    arrays: dict[str, Any] = {f.name: np.asarray(getattr(track, f.name)) for f in dataclasses.fields(track)}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, fps=np.asarray(FPS), **arrays)
    write_atomic(path, buffer.getvalue())


def load_track(path: Path) -> FaceTrack:
    """Read a file that ``save_track`` wrote; MediaError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {f.name: file[f.name] for f in dataclasses.fields(FaceTrack)}
            fps = float(file["fps"])
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such face track; run 'thgen preprocess landmarks'") from error
    except (OSError, ValueError, KeyError) as error:
        raise MediaError(
            f"{path}: not a face track of thgen ({error}); run 'thgen preprocess landmarks' again"
        ) from error
    if fps != FPS:
        raise MediaError(f"{path}: tracked at {fps:g} frames a second, expected {FPS}; preprocess it again")
    width, height = (int(value) for value in arrays["size"])
    scalars = {"scale": float(arrays["scale"]), "size": (width, height), "tracker": str(arrays["tracker"])}
    return FaceTrack(**{**arrays, **scalars})


def _meta(text: str, path: Path) -> ClipMeta:
    """Parse the record of a clip; unknown keys are ignored, as other tools or versions may write them."""
    known = {f.name for f in dataclasses.fields(ClipMeta)}
    try:
        return ClipMeta(**{key: value for key, value in json.loads(text).items() if key in known})
    except (ValueError, TypeError, AttributeError) as error:
        raise MediaError(f"{path}: not a record of a preprocessed clip ({error}); preprocess it again") from error
