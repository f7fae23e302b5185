"""``thgen preprocess takes``: the training set of Θ, drawn from a store of preprocessed clips (§4.1), resumable."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from thcli.clips.decode import read_clip
from thcli.data.processes import spread
from thcli.data.store import ClipMeta, Store
from thcli.data.takes import WINDOW, TakeMeta, pack_take, write_index, write_take
from thcli.errors import MediaError
from thcli.faces.crop import CropBox
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import person_of
from thcli.pipeline.takes import draw_take
from thcli.records import CROP_SIZE, Clip, FaceTrack

PAST = (40, 100)
"""Frames, at least and at most, that a take's references come from: a clip of some seconds, as users have it."""
REFERENCES = (1, 2, 4, 8)
"""K, drawn by lot."""
LONGEST = 120.0
"""Seconds of a clip that are used: its frames are held in memory."""
WHOLE = CropBox(0, 0, CROP_SIZE)
KILLED = "the process at work on it was killed, most likely for want of memory; take fewer --workers"


@dataclass(frozen=True)
class TakesOptions:
    """takes: of a clip; windows: of a take, of two frames each; quality: of the JPEGs, 1 to 95
    workers: clips that are worked on at a time; resume: leave alone what has been done
    weights: folder in which to look for weights first
    """

    takes: int = 3
    windows: int = 8
    quality: int = 92
    seed: int = 0
    workers: int = 1
    resume: bool = False
    weights: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: ``done``, ``skipped`` (it had been done, or is too short), or ``failed`` and why."""

    clip: str
    status: str
    error: str = ""


def make_takes(store: Store, out: Path, options: TakesOptions) -> Iterator[Outcome]:
    """Draw takes of every clip of a store into the folder ``out``; the work happens while outcomes are consumed.

    A bad clip never stops the others.
    """
    out.mkdir(parents=True, exist_ok=True)
    todo = []
    for meta in store.clips:
        if options.resume and (out / f"{meta.clip}.0.safetensors").is_file():
            yield Outcome(meta.clip, "skipped")
        else:
            todo.append(meta)
    attempt = partial(_attempt, store=store, out=out, options=options)
    try:
        if options.workers > 1 and len(todo) > 1:
            for meta, outcome in spread(attempt, todo, min(options.workers, len(todo))):
                yield outcome or Outcome(meta.clip, "failed", f"{meta.clip}: {KILLED}")
        else:
            yield from map(attempt, todo)
    finally:
        write_index(out)


def _attempt(meta: ClipMeta, *, store: Store, out: Path, options: TakesOptions) -> Outcome:
    torch.set_num_threads(max(1, torch.get_num_threads() // options.workers))
    random = np.random.default_rng([options.seed, zlib.crc32(meta.clip.encode())])
    try:
        clip = read_clip(store.crop(meta.clip), seconds=LONGEST)
        track = store.track(meta.clip)
    except MediaError as error:
        return Outcome(meta.clip, "failed", str(error))
    length = min(len(clip), len(track))
    if length < PAST[0] + WINDOW * options.windows:
        return Outcome(meta.clip, "skipped")
    clip, track = Clip(clip.frames[:length], clip.path), track.select(slice(length))
    # the first take is written last: where it is, all are
    for number in reversed(range(options.takes)):
        _make(meta, clip, track, out / f"{meta.clip}.{number}.safetensors", options, random)
    return Outcome(meta.clip, "done")


def _make(
    meta: ClipMeta, clip: Clip, track: FaceTrack, path: Path, options: TakesOptions, random: np.random.Generator
) -> None:
    length = len(clip)
    past = int(random.integers(PAST[0], min(PAST[1], length - WINDOW * options.windows) + 1))
    first = int(random.integers(0, length - past + 1))
    shown = slice(first, first + past)
    generating = GenerateOptions(references=int(random.choice(REFERENCES)), weights=options.weights)
    person = person_of(Clip(clip.frames[shown], clip.path), track.select(shown), WHOLE, None, generating)
    windows = _windows(length, shown, options.windows, random)
    take = draw_take(person, clip, track, windows, random)
    about = TakeMeta(path.name, meta.subject, meta.split, len(take.real), len(take.references))
    write_take(path.parent, pack_take(about, take, options.quality))


def _windows(length: int, shown: slice, count: int, random: np.random.Generator) -> Sequence[int]:
    """First frames of windows apart from one another and from the frames that are shown."""
    free = [t for t in range(0, length - WINDOW + 1, WINDOW) if t + WINDOW <= shown.start or t >= shown.stop]
    return [int(t) for t in np.sort(random.choice(free, min(count, len(free)), replace=False))]
