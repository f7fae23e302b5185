"""Rendering of the training data of Θ from a store of preprocessed clips (§4.1), by ``thgen preprocess episodes``."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from thcli.clips.decode import read_clip
from thcli.data.episodes import WINDOW, EpisodeMeta, pack_episode, sweep, write_episode, write_index
from thcli.data.processes import map_in_processes
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError, UsageError
from thcli.pipeline.episodes import render_episode
from thcli.pipeline.models import load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.preprocess.clips import ClipOutcome, Run, fault
from thcli.records import CROP_SIZE, FPS, WHOLE_CROP, Clip, FaceTrack, Float

PAST = (40, 100)
"""Fewest and most frames that an episode's references come from, as many as a user's clip of a few seconds has."""
REFERENCES = (1, 2, 4, 8)
"""Numbers K of references, of which one is chosen at random for every episode."""
LONGEST = 120.0
"""Most seconds of a clip that are used, because its frames are held in memory."""
KILLED = "the process at work on it was killed, most likely for want of memory; take fewer --workers"


@dataclass(frozen=True)
class EpisodeOptions:
    """Options of ``thgen preprocess episodes``.

    episodes: number of episodes of each clip, each with references of its own
    frames: most frames in all, spread evenly over the clips, in place of ``episodes``
    windows: most windows of an episode, of ``data.episodes.WINDOW`` frames each
    quality: JPEG quality, 1 to 95
    seed: seed of what is chosen at random; an episode depends on it, on the clip and on its number, and nothing else
    workers: number of clips that are worked on at a time
    resume: whether episodes that exist are left alone
    weights: folder searched before the user's and the shipped weights
    """

    episodes: int = 3
    frames: int | None = None
    windows: int = 8
    quality: int = 92
    seed: int = 0
    workers: int = 1
    resume: bool = False
    weights: Path | None = None


@dataclass(frozen=True)
class ClipTask:
    """A clip, and the number of episodes to render of it."""

    meta: ClipMeta
    episodes: int


def make_episodes(store: Store, out: Path, options: EpisodeOptions) -> Run:
    """Render episodes of the clips of a store into the folder ``out``; a bad clip never stops the others.

    Raises UsageError or MediaError at once where there is nothing to work on.
    """
    least = PAST[0] + WINDOW * options.windows
    clips = [meta for meta in store.clips if meta.frames >= least]
    if not clips:
        longest = max((meta.frames for meta in store.clips), default=0)
        raise MediaError(
            f"{store.root}: no clip of {least} frames or more, the longest has {longest}; give longer ones, or fewer "
            "--windows"
        )
    jobs = [
        ClipTask(meta, episodes)
        for meta, episodes in zip(clips, _spread_over(len(clips), options), strict=True)
        if episodes
    ]
    short = len(store.clips) - len(clips)
    long = sum(meta.frames > LONGEST * FPS for meta in clips)
    notes = []
    if short:
        notes.append(
            f"{short} of {len(store.clips)} clips are left out: they have fewer than {least} frames, "
            f"{PAST[0]} for references and {WINDOW * options.windows} to draw"
        )
    if long:
        notes.append(
            f"{long} of {len(store.clips)} clips are longer than {LONGEST:.0f} s: episodes come from their first "
            f"{LONGEST:.0f} s, which is what is held in memory at a time"
        )
    out.mkdir(parents=True, exist_ok=True)
    return Run(len(jobs), tuple(notes), _run(store, jobs, out, options))


def _spread_over(clips: int, options: EpisodeOptions) -> list[int]:
    """Number of episodes of each clip. Raises UsageError where ``frames`` are fewer than one episode has."""
    if options.frames is None:
        return [options.episodes] * clips
    each = WINDOW * options.windows
    if options.frames < each:
        raise UsageError(f"--frames {options.frames}: one episode alone has {each}; give more, or fewer --windows")
    total = options.frames // each
    return [(i + 1) * total // clips - i * total // clips for i in range(clips)]


def _run(store: Store, jobs: Sequence[ClipTask], out: Path, options: EpisodeOptions) -> Iterator[ClipOutcome]:
    sweep(out)
    todo = []
    for job in jobs:
        if options.resume and all(_path(out, job.meta, number).is_file() for number in range(job.episodes)):
            yield ClipOutcome(job.meta.clip, "skipped")
        else:
            todo.append(job)
    attempt = partial(_attempt, store=store, out=out, options=options)
    workers = min(options.workers, len(todo))
    try:
        if workers > 1:
            threads = max(1, torch.get_num_threads() // workers)
            for job, outcome in map_in_processes(partial(_with_threads, attempt, threads), todo, workers):
                yield outcome or ClipOutcome(job.meta.clip, "failed", f"{job.meta.clip}: {KILLED}")
        else:
            yield from map(attempt, todo)
    finally:
        write_index(out)


def _with_threads(attempt: partial[ClipOutcome], threads: int, job: ClipTask) -> ClipOutcome:
    """Work on a clip in a worker process with so few threads that workers do not compete for the processors."""
    torch.set_num_threads(threads)
    return attempt(job)


def _attempt(job: ClipTask, *, store: Store, out: Path, options: EpisodeOptions) -> ClipOutcome:
    """Render the episodes of one clip. Errors of this clip become its outcome; those that concern all are raised."""
    clip = job.meta.clip
    try:
        _render_clip(job, store, out, options)
    except Exception as error:
        return ClipOutcome(clip, "failed", fault(error, clip))
    return ClipOutcome(clip, "done")


def _render_clip(job: ClipTask, store: Store, out: Path, options: EpisodeOptions) -> None:
    """Render and write the episodes of a clip, and delete further ones of an earlier run."""
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
    for number in range(job.episodes):
        _make_episode(job.meta, number, clip, track, out, options)
    # An earlier run may have made more episodes of the clip.
    number = job.episodes
    while (beyond := _path(out, job.meta, number)).is_file():
        beyond.unlink()
        number += 1


def _make_episode(
    meta: ClipMeta, number: int, clip: Clip, track: FaceTrack, out: Path, options: EpisodeOptions
) -> None:
    """Render and write one episode."""
    random = np.random.default_rng([options.seed, zlib.crc32(meta.clip.encode()), number])
    shown = _shown(len(clip), options.windows, random)
    windows = _windows(track.confidence, shown, options.windows, random)
    if not windows:
        raise MediaError(
            f"{meta.clip}: the face was found in no two frames on end but those of references; leave the clip out"
        )
    models, part = load_models(options.weights, "cpu"), Clip(clip.frames[shown], clip.path)
    reference = ReferenceOptions(references=int(random.choice(REFERENCES)))
    person = person_from_track(
        models.face_model, part, track.select(shown), WHOLE_CROP, None, reference, matting=models.matting
    )
    episode = render_episode(models, person, clip, track, windows, random)
    path = _path(out, meta, number)
    about = EpisodeMeta(path.name, meta.subject, meta.split, len(episode.real), len(episode.references))
    write_episode(out, pack_episode(about, episode, options.quality))


def _path(out: Path, meta: ClipMeta, number: int) -> Path:
    return out / f"{meta.clip}.{number}.safetensors"


def _shown(length: int, windows: int, random: np.random.Generator) -> slice:
    """Choose the frames of a clip that references come from; the windows fit beside them."""
    count = int(random.integers(PAST[0], min(PAST[1], length - WINDOW * windows) + 1))
    first = WINDOW * int(random.integers(0, (length - count) // WINDOW + 1))
    return slice(first, first + count)


def _windows(confidence: Float, shown: slice, count: int, random: np.random.Generator) -> Sequence[int]:
    """Choose up to ``count`` windows: the first frame of each, in order.

    Windows overlap neither one another nor the frames ``shown``, and the face was found in all of their frames.
    """
    sides = (range(0, shown.start - WINDOW + 1, WINDOW), range(shown.stop, len(confidence) - WINDOW + 1, WINDOW))
    free = [first for side in sides for first in side if (confidence[first : first + WINDOW] > 0).all()]
    return [int(first) for first in np.sort(random.choice(free, min(count, len(free)), replace=False))] if free else []
