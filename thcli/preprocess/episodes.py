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
from thcli.data.episodes import WINDOW, TakeMeta, pack_take, sweep, write_index, write_take
from thcli.data.processes import spread
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError, UsageError
from thcli.faces.crop import WHOLE_CROP
from thcli.pipeline.episodes import draw_take
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import person_of
from thcli.preprocess.clips import Outcome, Run, fault
from thcli.records import CROP_SIZE, Clip, FaceTrack, Float

PAST = (40, 100)
"""Frames, at least and at most, that a take's references come from: a clip of some seconds, as users have it."""
REFERENCES = (1, 2, 4, 8)
"""K, drawn by lot."""
LONGEST = 120.0
"""Seconds of a clip that are used: its frames are held in memory."""
KILLED = "the process at work on it was killed, most likely for want of memory; take fewer --workers"


@dataclass(frozen=True)
class TakesOptions:
    """takes: of a clip, each from references of its own
    frames: in all, at most, in place of ``takes``: as many takes as have them, spread evenly over the clips
    windows: of a take, at most, of ``data.episodes.WINDOW`` frames each
    quality: of the JPEGs, 1 to 95
    seed: of what is drawn by lot; a take depends on it, on the clip and on its number there, and on nothing else
    workers: clips that are worked on at a time
    resume: leave alone what has been done
    weights: folder in which to look for weights first
    """

    takes: int = 3
    frames: int | None = None
    windows: int = 8
    quality: int = 92
    seed: int = 0
    workers: int = 1
    resume: bool = False
    weights: Path | None = None


@dataclass(frozen=True)
class Job:
    """A clip, and how many takes to draw of it."""

    meta: ClipMeta
    takes: int


def make_takes(store: Store, out: Path, options: TakesOptions) -> Run:
    """Draw takes of the clips of a store into the folder ``out``.

    A bad clip never stops the others. Raises UsageError or MediaError at once where there is nothing to work on.
    """
    least = PAST[0] + WINDOW * options.windows
    clips = [meta for meta in store.clips if meta.frames >= least]
    if not clips:
        longest = max((meta.frames for meta in store.clips), default=0)
        raise MediaError(
            f"{store.root}: no clip of {least} frames or more, the longest has {longest}; give longer ones, or fewer "
            "--windows"
        )
    jobs = [Job(meta, takes) for meta, takes in zip(clips, _spread_over(len(clips), options), strict=True) if takes]
    short = len(store.clips) - len(clips)
    notes = (
        f"{short} of {len(store.clips)} clips are left out: they have fewer than {least} frames, "
        f"{PAST[0]} for references and {WINDOW * options.windows} to draw"
    )
    out.mkdir(parents=True, exist_ok=True)
    return Run(len(jobs), (notes,) if short else (), _run(store, jobs, out, options))


def _spread_over(clips: int, options: TakesOptions) -> list[int]:
    """How many takes each clip gives."""
    if options.frames is None:
        return [options.takes] * clips
    each = WINDOW * options.windows
    if options.frames < each:
        raise UsageError(f"--frames {options.frames}: one take alone has {each}; give more, or fewer --windows")
    total = options.frames // each
    return [(i + 1) * total // clips - i * total // clips for i in range(clips)]


def _run(store: Store, jobs: Sequence[Job], out: Path, options: TakesOptions) -> Iterator[Outcome]:
    sweep(out)
    todo = []
    for job in jobs:
        if options.resume and all(_path(out, job.meta, number).is_file() for number in range(job.takes)):
            yield Outcome(job.meta.clip, "skipped")
        else:
            todo.append(job)
    attempt = partial(_attempt, store=store, out=out, options=options)
    workers = min(options.workers, len(todo))
    try:
        if workers > 1:
            threads = max(1, torch.get_num_threads() // workers)
            for job, outcome in spread(partial(_with_threads, attempt, threads), todo, workers):
                yield outcome or Outcome(job.meta.clip, "failed", f"{job.meta.clip}: {KILLED}")
        else:
            yield from map(attempt, todo)
    finally:
        write_index(out)


def _with_threads(attempt: partial[Outcome], threads: int, job: Job) -> Outcome:
    """In a process of its own: workers that each use all processors get into each other's way."""
    torch.set_num_threads(threads)
    return attempt(job)


def _attempt(job: Job, *, store: Store, out: Path, options: TakesOptions) -> Outcome:
    """One clip. What is wrong with it becomes its outcome; a full disk and missing weights concern all."""
    clip = job.meta.clip
    try:
        _draw_clip(job, store, out, options)
    except Exception as error:
        return Outcome(clip, "failed", fault(error, clip))
    return Outcome(clip, "done")


def _draw_clip(job: Job, store: Store, out: Path, options: TakesOptions) -> None:
    path = store.crop(job.meta.clip)
    clip, track = read_clip(path, seconds=LONGEST), store.track(job.meta.clip)
    height, width = clip.frames.shape[1:3]
    if {(width, height), track.size} != {(CROP_SIZE, CROP_SIZE)}:
        raise MediaError(
            f"{path}: {width}x{height} pixels, tracked at {track.size[0]}x{track.size[1]}, expected "
            f"{CROP_SIZE}x{CROP_SIZE}; preprocess it again"
        )
    length = min(len(clip), len(track))
    if length < PAST[0] + WINDOW * options.windows:
        raise MediaError(f"{path}: {length} frames, its index says {job.meta.frames}; preprocess it again")
    clip, track = Clip(clip.frames[:length], clip.path), track.select(slice(length))
    for number in range(job.takes):
        _draw(job.meta, number, clip, track, out, options)
    # what an earlier run drew of it beyond these
    number = job.takes
    while (beyond := _path(out, job.meta, number)).is_file():
        beyond.unlink()
        number += 1


def _draw(meta: ClipMeta, number: int, clip: Clip, track: FaceTrack, out: Path, options: TakesOptions) -> None:
    random = np.random.default_rng([options.seed, zlib.crc32(meta.clip.encode()), number])
    shown = _shown(len(clip), options.windows, random)
    windows = _windows(track.confidence, shown, options.windows, random)
    if not windows:
        raise MediaError(
            f"{meta.clip}: the face was found in no two frames on end but those of references; leave the clip out"
        )
    generating = GenerateOptions(references=int(random.choice(REFERENCES)), weights=options.weights)
    person = person_of(Clip(clip.frames[shown], clip.path), track.select(shown), WHOLE_CROP, None, generating)
    take = draw_take(person, clip, track, windows, random)
    path = _path(out, meta, number)
    about = TakeMeta(path.name, meta.subject, meta.split, len(take.real), len(take.references))
    write_take(out, pack_take(about, take, options.quality))


def _path(out: Path, meta: ClipMeta, number: int) -> Path:
    return out / f"{meta.clip}.{number}.safetensors"


def _shown(length: int, windows: int, random: np.random.Generator) -> slice:
    """The part of a clip that references come from; beside it there is room for the windows."""
    count = int(random.integers(PAST[0], min(PAST[1], length - WINDOW * windows) + 1))
    first = WINDOW * int(random.integers(0, (length - count) // WINDOW + 1))
    return slice(first, first + count)


def _windows(confidence: Float, shown: slice, count: int, random: np.random.Generator) -> Sequence[int]:
    """First frames of windows apart from one another and from the frames that are shown; the face was found in them."""
    sides = (range(0, shown.start - WINDOW + 1, WINDOW), range(shown.stop, len(confidence) - WINDOW + 1, WINDOW))
    free = [first for side in sides for first in side if (confidence[first : first + WINDOW] > 0).all()]
    return [int(first) for first in np.sort(random.choice(free, min(count, len(free)), replace=False))] if free else []
