"""From files and folders that a user names to clips with a name, a subject and a split.

A folder is searched for media files. Where it holds an ``index.jsonl`` (one line a clip: ``clip``, ``subject``,
``split``, and as known ``av_lag``, ``source``, ``license``), the files it lists, ``CLIP.*`` or ``SPLIT/CLIP.*``,
are taken and no others. Elsewhere folders called ``train`` and ``val`` on the way to a file say its split, the first
other folder its subject; without them a file is its own subject, and about one subject in ten is for ``val``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thcli.data.store import INDEX, ClipMeta
from thcli.errors import MediaError, UsageError

SPLITS = ("train", "val")
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp"})
SOUNDS = frozenset({".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus"})
VAL_SHARE = 10
"""One subject in so many is held out where nothing else says which."""


@dataclass(frozen=True)
class Source:
    """A media file, and what is known about it; ``meta.frames`` is 0 until somebody has read it."""

    path: Path
    meta: ClipMeta


def find_sources(paths: Sequence[Path], suffixes: Collection[str]) -> list[Source]:
    """The clips behind ``paths`` in order: files as they are, folders searched for files of these suffixes.

    Raises MediaError for a path that is missing and a folder without media, UsageError for two clips of one name.
    """
    found: dict[str, Source] = {}
    for path in paths:
        for source in _expand(path, suffixes):
            twin = found.setdefault(source.meta.clip, source)
            if twin.path != source.path:
                raise UsageError(
                    f"{twin.path} and {source.path} would both become '{source.meta.clip}'; rename one of them"
                )
    return list(found.values())


def _expand(path: Path, suffixes: Collection[str]) -> Iterator[Source]:
    if path.is_file():
        yield _source(path, path.parent)
    elif not path.is_dir():
        raise MediaError(f"{path}: no such file or folder; check the name")
    elif (path / INDEX).is_file():
        yield from _listed(path, suffixes)
    else:
        files = sorted(file for file in path.rglob("*") if file.suffix.lower() in suffixes and file.is_file())
        if not files:
            raise MediaError(f"{path}: no media files there, expected such as {', '.join(sorted(suffixes)[:4])}")
        yield from (_source(file, path) for file in files)


def _source(file: Path, root: Path) -> Source:
    folders = file.relative_to(root).parent.parts
    people = [name for name in folders if name not in SPLITS]
    clip = "_".join([*people, file.stem])
    subject = people[0] if people else clip
    split = next((name for name in folders if name in SPLITS), None) or _drawn_split(subject)
    return Source(file, ClipMeta(clip, subject, split, frames=0))


def _drawn_split(subject: str) -> str:
    """The same for a subject every time, whatever else is there."""
    return "val" if hashlib.sha256(subject.encode()).digest()[0] % VAL_SHARE == 0 else "train"


def _listed(root: Path, suffixes: Collection[str]) -> Iterator[Source]:
    known = {field.name for field in dataclasses.fields(ClipMeta)}
    for number, line in enumerate((root / INDEX).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = {key: value for key, value in json.loads(line).items() if key in known}
            meta = ClipMeta(**{**fields, "frames": 0})
        except (ValueError, TypeError, AttributeError) as error:
            raise MediaError(
                f"{root / INDEX}: line {number} is no record of a clip ({error}), expected clip, subject, split"
            ) from error
        yield Source(_file_of(meta, root, suffixes), meta)


def _file_of(meta: ClipMeta, root: Path, suffixes: Collection[str]) -> Path:
    # Names in an index are names, never paths that lead out of the folder.
    if {"/", "\\"} & set(meta.clip + meta.split) or meta.split not in SPLITS:
        raise MediaError(f"{root / INDEX}: clip '{meta.clip}', split '{meta.split}': expected a name, and train or val")
    for folder in (root / meta.split, root):
        for file in sorted(folder.glob("*")) if folder.is_dir() else ():
            if file.stem == meta.clip and file.suffix.lower() in suffixes:
                return file
    raise MediaError(f"{root / INDEX}: lists '{meta.clip}', but there is no such file in {root / meta.split} or {root}")
