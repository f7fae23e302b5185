"""Search for clips, with name, subject and split, in the files and folders that a user names.

A folder is searched for media files. Where it holds an ``index.jsonl`` (one line per clip: ``clip``, ``subject``,
``split``, and where known ``av_lag``, ``source``, ``license``), only the files that it lists, ``CLIP.*`` or
``SPLIT/CLIP.*``, are taken; a split is ``val``, which is held out, or any other name, such as ``train``. Elsewhere the
layout says what a file's place means: the layout of a data set (``thcli.data.layouts``), or ``files``, where folders
called ``train`` and ``val`` on the way to a file give its split, and the first other folder its subject; without such a
folder a file is its own subject. Where nothing gives the split, about one subject in ten is for ``val``.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from thcli.data.layouts import LAYOUTS, Layout, Place
from thcli.data.store import INDEX, ClipMeta
from thcli.errors import MediaError, UsageError
from thcli.json_lines import numbered_lines

SPLITS = ("train", "val")
FILES = "files"
"""Name of the layout of folders that belong to no known data set."""
LAYOUT_NAMES = (FILES, *LAYOUTS)
"""Names that ``--layout`` takes."""
VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".flv", ".wmv", ".3gp"})
SOUNDS = frozenset({".wav", ".flac", ".mp3", ".m4a", ".aac", ".ogg", ".opus"})
VAL_SHARE = 10
"""Number of subjects of which one is held out, where nothing else gives the split."""
FOLDERS_ABOVE = 4
"""Folders above the searched one whose names a layout reads: the depth of the deepest layout."""
LOOKED_AT = 100
"""Most files whose names are read to tell whether they are those of a known data set."""


@dataclass(frozen=True)
class Source:
    """A media file and its record; ``meta.frames`` is 0, because the file has not been read yet."""

    path: Path
    meta: ClipMeta


@dataclass(frozen=True)
class Sources:
    """Clips in order of their paths, and notes for the user on how they were found."""

    clips: tuple[Source, ...]
    notes: tuple[str, ...] = ()


def find_sources(
    paths: Sequence[Path], suffixes: Collection[str], layout: str = FILES, leave_out: Path | None = None
) -> Sources:
    """Find the clips in ``paths``, in order: files as they are, and in folders the files with one of ``suffixes``.

    layout: ``files``, or the data set whose names the files have; only the videos of a data set are taken
    leave_out: folder that is not searched, because it takes the results

    Raises MediaError for a path that is missing, a folder without media and one with another layout, UsageError for
    two clips of one name.
    """
    if layout not in LAYOUT_NAMES:
        raise UsageError(f"--layout {layout}: no such layout, expected one of {', '.join(LAYOUT_NAMES)}")
    chosen = LAYOUTS.get(layout)
    suffixes = frozenset(suffixes) & VIDEOS if chosen else suffixes
    found: dict[str, Source] = {}
    notes = [chosen.note] if chosen and chosen.note else []
    for path in paths:
        clips, said = _expand(path, suffixes, layout, leave_out)
        notes += said
        for source in clips:
            twin = found.setdefault(source.meta.clip, source)
            if twin.path != source.path:
                raise UsageError(
                    f"{twin.path} and {source.path} would both become '{source.meta.clip}'; "
                    "rename one of them, or name one of their folders"
                )
    return Sources(tuple(found.values()), tuple(notes))


def check_splits(clips: Sequence[Source]) -> None:
    """Raise UsageError for a subject with clips both in ``val``, which is held out, and in another split."""
    first: dict[str, Source] = {}
    for source in clips:
        other = first.setdefault(source.meta.subject, source)
        if "val" in {other.meta.split, source.meta.split} and other.meta.split != source.meta.split:
            raise UsageError(
                f"{other.path} is for {other.meta.split} and {source.path} for {source.meta.split}, but both show "
                f"'{source.meta.subject}'; move all clips of a subject to one split"
            )


def _expand(
    path: Path, suffixes: Collection[str], layout: str, leave_out: Path | None
) -> tuple[list[Source], list[str]]:
    if not path.is_file() and not path.is_dir():
        raise MediaError(f"{path}: no such file or folder; check the name")
    if (path / INDEX).is_file() and layout == FILES:
        return list(_listed(path, suffixes)), []
    files = [path] if path.is_file() else list(_media(path, suffixes, leave_out))
    if not files:
        raise MediaError(f"{path}: no media files there, expected such as {', '.join(sorted(suffixes)[:4])}")
    root = path.parent if path.is_file() else path
    if layout != FILES:
        return _laid_out(files, root, layout)
    return [_source(file, _read_files(file, root)) for file in files], _hint(files, root)


def _media(root: Path, suffixes: Collection[str], leave_out: Path | None) -> Iterator[Path]:
    """Yield the files with these suffixes below a folder, folder by folder, in order of their names; no hidden ones."""
    results = leave_out and leave_out.absolute()
    for folder, inner, names in os.walk(root):
        seen = (name for name in sorted(inner) if not name.startswith("."))
        inner[:] = [name for name in seen if Path(folder, name).absolute() != results]
        files = (Path(folder, name) for name in sorted(names) if not name.startswith("."))
        yield from (file for file in files if file.suffix.lower() in suffixes)


def _laid_out(files: Sequence[Path], root: Path, name: str) -> tuple[list[Source], list[str]]:
    layout = LAYOUTS[name]
    clips, others = [], []
    for file in files:
        place = layout.read(_named(file, root))
        if place:
            clips.append(_source(file, place))
        else:
            others.append(file)
    if not clips:
        raise MediaError(
            f"{root}: no file named as in {name}, expected such as {layout.expected}, "
            f"found {others[0].relative_to(root)}; choose another --layout, or '{FILES}'"
        )
    if not others:
        return clips, []
    count = "1 file is" if len(others) == 1 else f"{len(others)} files are"
    return clips, [f"{root}: {count} not named as in {name} and left out, such as {others[0].relative_to(root)}"]


def _named(file: Path, root: Path) -> str:
    """Return the path that a layout reads, with folders above ``root``, as a user may name any folder of a data set."""
    return Path(*root.absolute().parts[-FOLDERS_ABOVE:], file.relative_to(root)).with_suffix("").as_posix()


def _hint(files: Sequence[Path], root: Path) -> list[str]:
    """Return notes for a user whose files have the names of a known data set, without its ``--layout``."""
    some = [_named(file, root) for file in files[:: -(-len(files) // LOOKED_AT)]]

    def all_named_as_in(layout: Layout) -> bool:
        return all(layout.read(path) for path in some)

    return [
        f"{root}: files are named as in {name}; '--layout {name}' takes who speaks and the splits from the names"
        for name, layout in LAYOUTS.items()
        if all_named_as_in(layout)
    ]


def _read_files(file: Path, root: Path) -> Place:
    folders = file.relative_to(root).parent.parts
    people = [name for name in folders if name not in SPLITS]
    clip = "_".join([*people, file.stem])
    return Place(clip, people[0] if people else clip, next((name for name in folders if name in SPLITS), None))


def _source(file: Path, place: Place) -> Source:
    split = place.split or _hashed_split(place.subject)
    return Source(file, ClipMeta(place.clip, place.subject, split, frames=0))


def _hashed_split(subject: str) -> str:
    """Return the split of a subject by a hash of its name, the same every time, whatever other subjects there are."""
    return "val" if hashlib.sha256(subject.encode()).digest()[0] % VAL_SHARE == 0 else "train"


def _listed(root: Path, suffixes: Collection[str]) -> Iterator[Source]:
    known = {field.name for field in dataclasses.fields(ClipMeta)}
    folders = {"": _by_stem(root, suffixes)}
    for number, line in numbered_lines((root / INDEX).read_bytes(), str(root / INDEX), MediaError):
        try:
            fields = {key: value for key, value in json.loads(line).items() if key in known}
            meta = ClipMeta(**{**fields, "frames": 0})
        except (ValueError, TypeError, AttributeError) as error:
            raise MediaError(
                f"{root / INDEX}: line {number} is no record of a clip ({error}), expected clip, subject, split"
            ) from error
        # A name in an index must not be a path that leads out of the folder.
        if {"/", "\\"} & set(meta.clip + meta.split) or meta.split in ("", ".", ".."):
            raise MediaError(
                f"{root / INDEX}: clip '{meta.clip}', split '{meta.split}': expected names, such as train or val"
            )
        if meta.split not in folders:
            folders[meta.split] = _by_stem(root / meta.split, suffixes)
        file = folders[meta.split].get(meta.clip) or folders[""].get(meta.clip)
        if file is None:
            raise MediaError(
                f"{root / INDEX}: lists '{meta.clip}', but there is no such file in {root / meta.split} or {root}"
            )
        yield Source(file, meta)


def _by_stem(folder: Path, suffixes: Collection[str]) -> dict[str, Path]:
    """Return the media files in a folder by their names without suffix."""
    files = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    return {file.stem: file for file in files if file.suffix.lower() in suffixes}
