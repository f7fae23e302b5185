"""Making of a study: one page with the videos of several methods, and its key."""

from __future__ import annotations

import hashlib
import math
import random
import secrets
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from thcli.checkpoints import sha256, write_atomic
from thcli.clips.probe import MediaInfo, probe
from thcli.clips.remux import anonymous_mp4
from thcli.errors import MediaError, UsageError
from thcli.evaluation.recording import videos_in
from thcli.evaluation.study.key import Key, StudyVideo, to_json
from thcli.evaluation.study.page import render

LARGEST = 400_000_000
"""Most bytes of video in a page; browsers do not open much larger ones."""
RATING = 12
"""Seconds that a viewer takes to answer the questions on a video after watching it."""
LENGTHS = 0.1
"""Largest difference in seconds between the videos of a clip by which viewers cannot tell the methods apart."""


Place = tuple[str, str]
"""Names of a method and of a clip."""


@dataclass(frozen=True)
class Study:
    """A study that was made.

    page, key: files that were written
    methods, clips: their numbers
    notes: differences by which viewers might tell the methods apart
    """

    page: Path
    key: Path
    methods: int
    clips: int
    notes: tuple[str, ...]


def make_study(
    folders: Mapping[str, Path],
    page: Path,
    title: str,
    seed: int | None = None,
    overwrite: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Study:
    """Write the page of a study, and beside it its key, ``NAME.key.json``.

    folders: folders of videos by the methods' names; videos of equal names in them are the same clip
    page: file of the page
    title: title of the page
    seed: seed of the random names, which also depend on the videos; None gives other names each time
    overwrite: whether existing files are replaced
    progress: called with the number of videos done, and the number of all

    Raises UsageError where an output exists, MediaError for missing or unsuitable videos.
    """
    key_path = page.with_suffix(".key.json")
    _check_outputs((page, key_path), overwrite)
    files = _find(folders)
    infos = {place: probe(path) for place, path in files.items()}
    copies = _copy(files, page, progress)
    hashes = {place: hashlib.sha256(copy).hexdigest() for place, copy in copies.items()}
    study, *names = _random_names(1 + len(files), seed, "".join(hashes.values()))
    named = dict(zip(names, files, strict=True))
    seconds = sum((info.duration or 0) + RATING for info in infos.values())
    text = render(
        study, title, {name: copies[place] for name, place in named.items()},
        shape=statistics.median(info.width / info.height for info in infos.values()), minutes=math.ceil(seconds / 60),
    )  # fmt: skip
    videos = {
        name: StudyVideo(*place, str(files[place]), sha256(files[place]), hashes[place])
        for name, place in named.items()
    }
    # The key is written first, because a page without a key is worthless.
    write_atomic(key_path, to_json(Key(study, title, hashlib.sha256(text).hexdigest(), videos)).encode())
    write_atomic(page, text)
    clips = {clip for _, clip in files}
    return Study(page, key_path, len(folders), len(clips), tuple(_telling(clips, infos)))


def _copy(files: Mapping[Place, Path], page: Path, progress: Callable[[int, int], None] | None) -> dict[Place, bytes]:
    """Return the anonymous copies of all videos. Raises MediaError where they exceed ``LARGEST``."""
    copies: dict[Place, bytes] = {}
    size = 0
    for place, path in files.items():
        copies[place] = anonymous_mp4(path)
        size += len(copies[place])
        if size > LARGEST:
            raise MediaError(f"{page}: more than {LARGEST // 10**6} MB of video; use fewer, shorter or smaller clips")
        if progress is not None:
            progress(len(copies), len(files))
    return copies


def _check_outputs(paths: tuple[Path, ...], overwrite: bool) -> None:
    for path in paths:
        if path.exists() and not overwrite:
            raise UsageError(f"{path}: exists already; add --overwrite, or name another file with -o")
        if not path.parent.is_dir():
            raise MediaError(f"{path.parent}: no such folder to write {path.name} to; make it first")


def _find(folders: Mapping[str, Path]) -> dict[Place, Path]:
    """Return the video of every method and clip. Raises MediaError where a method lacks a clip that others have."""
    found = {method: _videos(folder) for method, folder in folders.items()}
    clips = sorted({clip for videos in found.values() for clip in videos})
    for method, videos in found.items():
        missing = [clip for clip in clips if clip not in videos]
        if missing:
            more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
            raise MediaError(
                f"{folders[method]}: no video of {', '.join(missing[:5])}{more}, which other methods have; "
                "viewers must see every clip by every method"
            )
    return {(method, clip): found[method][clip] for method in folders for clip in clips}


def _videos(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise MediaError(f"{folder}: no such folder, expected one with a method's videos")
    videos: dict[str, Path] = {}
    for path in videos_in(folder):
        if path.stem in videos:
            raise MediaError(f"{path}: the same clip as {videos[path.stem].name}; leave one of them in the folder")
        videos[path.stem] = path
    if not videos:
        raise MediaError(f"{folder}: no videos in it, expected MP4, MOV, MKV, WebM or AVI")
    return videos


def _random_names(count: int, seed: int | None, content: str) -> list[str]:
    """Return different names of 12 hexadecimal digits.

    With a seed they also depend on the content of the videos, so that different studies have different names.
    """
    source = random.Random(secrets.token_hex() if seed is None else f"{seed} {content}")
    names: dict[str, None] = {}
    while len(names) < count:
        names[f"{source.getrandbits(48):012x}"] = None
    return list(names)


def _telling(clips: set[str], infos: Mapping[Place, MediaInfo]) -> list[str]:
    """Return a note on every clip whose videos differ in shape or length between methods."""
    notes = []
    for clip in sorted(clips):
        own = [info for (_, name), info in infos.items() if name == clip]
        shapes = [info.width / info.height for info in own]
        lengths = [info.duration for info in own if info.duration is not None]
        if max(shapes) / min(shapes) > 1.02:
            notes.append(f"{clip}: its videos differ in shape; viewers may tell the methods by it")
        if lengths and max(lengths) - min(lengths) > LENGTHS:
            span = f"{min(lengths):.1f} to {max(lengths):.1f} s"
            notes.append(f"{clip}: its videos last {span}; viewers may tell the methods by it")
    return notes
