"""Preprocessing: videos to the store that training reads, or to files of landmarks, poses, meshes, audio features.

``all`` fills a store (``thcli.data.store``). The other kinds write ``DIR/NAME.KIND.npz``, never pickled:

    landmarks   fps, size [2], tracker, confidence [T], box [T, 4], landmarks [T, 68, 3] px
    poses       fps, size [2], tracker, confidence [T], pose [T, 6], scale
    mesh        fps, size [2], tracker, confidence [T], mesh [T, 478, 3] px, faces [F, 3]
    audio       fps, log_mel [T, 4, 80], activity [T]
"""

from __future__ import annotations

import io
import math
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.data.audio_motion import mouth_lag
from thcli.data.processes import spread
from thcli.data.sources import FILES, SOUNDS, VIDEOS, Source, check_splits, find_sources
from thcli.data.store import CROP, SPEECH, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import DeviceError, MediaError, NoFaceError, ThgenError, UsageError
from thcli.face_model import mouth_opening
from thcli.records import CROP_SIZE, FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, FaceTrack, Float, Speech

KINDS = ("landmarks", "poses", "mesh", "audio", "all")
FIELDS = {"landmarks": ("box", "landmarks"), "poses": ("pose", "scale"), "mesh": ("mesh",)}
"""What of a face track goes into the file of each kind, besides size, tracker and confidence."""
MAX_BYTES = 4 << 30
"""Frames of a clip are held in memory; longer ones must be cut first."""
LEAST_SIDE = 640
"""Pixels of the longer side down to which a long clip's frames are reduced for a store, whose crops are smaller."""
IN_SYNC = 3
"""A mouth that leads or trails its sound by more frames is off sync."""
REACH, SHORTEST_SYNC = 15, 2 * FPS
"""Frames searched to either side for the lag between mouth and sound; frames it takes."""
LEAST_FIT, NEAR_ERRORS, FAR_ERRORS, INDEPENDENT = 0.25, 1.5, 3.5, 4
"""The correlation that it takes, and how many standard errors it must be in sync and, because few clips are that, off
sync; so many frames make one independent sample. See ``av_lag``."""
KILLED = "the process at work on it was killed, most likely for want of memory; cut it, or take fewer --workers"


@dataclass(frozen=True)
class PreprocessOptions:
    """tracker: name of the backend
    weights: folder in which to look for weights first
    workers: clips that are worked on at a time
    resume: leave alone what has been done
    layout: how the files are named, see ``thcli.data.sources``
    """

    tracker: str = "builtin"
    weights: Path | None = None
    workers: int = 1
    resume: bool = False
    layout: str = FILES


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: ``done``, ``skipped`` (it had been done), or ``failed`` with the reason."""

    clip: str
    status: Literal["done", "skipped", "failed"]
    error: str = ""


@dataclass(frozen=True)
class Run:
    """Clips to work on: how many, what a user has to know about them, and their outcomes as they are done.

    The work happens while the outcomes are consumed.
    """

    total: int
    notes: tuple[str, ...]
    outcomes: Iterator[Outcome]


def preprocess(kind: str, paths: Sequence[Path], out: Path, options: PreprocessOptions | None = None) -> Run:
    """Preprocess files and folders into the folder ``out``.

    A bad clip never stops the others. Raises UsageError or MediaError at once where there is nothing to work on.
    """
    if kind not in KINDS:
        raise UsageError(f"preprocess {kind}: no such kind, expected one of {', '.join(KINDS)}")
    options = options or PreprocessOptions()
    found = find_sources(paths, VIDEOS | SOUNDS if kind == "audio" else VIDEOS, options.layout, leave_out=out)
    if kind == "all":
        check_splits(found.clips)
    out.mkdir(parents=True, exist_ok=True)
    return Run(len(found.clips), found.notes, _run(kind, found.clips, out, options))


def off_sync(out: Path) -> list[ClipMeta]:
    """The clips of a store whose mouth leads or trails their sound by more than ``IN_SYNC`` frames."""
    return [meta for meta in Store(out).clips if meta.av_lag is not None and abs(meta.av_lag) > IN_SYNC]


def _run(kind: str, sources: Sequence[Source], out: Path, options: PreprocessOptions) -> Iterator[Outcome]:
    if kind == "all":
        StoreWriter(out).sweep()
    todo = []
    for source in sources:
        if options.resume and _is_done(kind, source, out):
            yield Outcome(source.meta.clip, "skipped")
        else:
            todo.append(source)
    attempt = partial(_attempt, kind, out=out, options=options)
    try:
        if options.workers > 1 and len(todo) > 1:
            for source, outcome in spread(attempt, todo, min(options.workers, len(todo))):
                yield outcome or Outcome(source.meta.clip, "failed", f"{source.path}: {KILLED}")
        else:
            yield from map(attempt, todo)
    finally:
        if kind == "all":
            write_index(out)


def _is_done(kind: str, source: Source, out: Path) -> bool:
    if kind == "all":
        return StoreWriter(out).has(source.meta.clip)
    return _target(kind, source, out).is_file()


def _target(kind: str, source: Source, out: Path) -> Path:
    return out / f"{source.meta.clip}.{kind}.npz"


def _attempt(kind: str, source: Source, *, out: Path, options: PreprocessOptions) -> Outcome:
    """One clip. What is wrong with this clip becomes its outcome; a full disk and missing weights concern all."""
    try:
        if kind == "all":
            _store_clip(source, out, options)
        else:
            arrays = _audio(source) if kind == "audio" else _track_fields(kind, source, options)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, fps=np.asarray(FPS), **arrays)
            write_atomic(_target(kind, source, out), buffer.getvalue())
    except Exception as error:
        return Outcome(source.meta.clip, "failed", fault(error, source.path))
    return Outcome(source.meta.clip, "done")


def fault(error: Exception, clip: object) -> str:
    """What is wrong with one clip; an error that concerns all of them is raised again."""
    if isinstance(error, (MediaError, NoFaceError, DeviceError)):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{clip}: does not fit into memory; cut it, or take fewer --workers"
    if isinstance(error, (ThgenError, OSError)):
        raise error
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name} line {place.lineno}"
    return f"{clip}: a bug in thgen ({type(error).__name__}: {error}; {where})"


def _audio(source: Source) -> dict[str, Any]:
    from thcli.clips.audio import read_speech
    from thcli.clips.features import log_mel, speech_activity

    speech = read_speech(source.path)
    return {"log_mel": log_mel(speech), "activity": speech_activity(speech)}


def _track_fields(kind: str, source: Source, options: PreprocessOptions) -> dict[str, Any]:
    from thcli.faces.backends import load_face_model

    _, track = track_file(source.path, options.tracker, options.weights)
    fields = {name: np.asarray(getattr(track, name)) for name in ("size", "tracker", "confidence", *FIELDS[kind])}
    if kind == "mesh":
        fields["faces"] = load_face_model(options.weights).faces
    return fields


def track_file(
    path: Path, tracker: str = "builtin", weights: Path | None = None, least_side: int | None = None
) -> tuple[Clip, FaceTrack]:
    """A whole clip, or a photo, in memory, and its largest face.

    least_side: pixels of the longer side down to which the frames of a long clip may be reduced
    Raises MediaError for a clip that is too long to hold, NoFaceError, WeightsError.
    """
    from thcli.clips.decode import read_clip
    from thcli.faces.backends import cached_tracker, load_face_model
    from thcli.faces.track import track_clip

    longest = _longest_side(path, least_side)
    model, backend = load_face_model(weights), cached_tracker(tracker, weights)
    clip = read_clip(path, longest=longest)
    return clip, track_clip(clip, backend, model)


def _longest_side(path: Path, least: int | None) -> int | None:
    """Pixels to which the longer side of a clip's frames is to be reduced, None for as they are."""
    from thcli.clips.probe import probe

    info = probe(path)
    if not info.video or not info.duration:
        return None
    seconds = MAX_BYTES / (3 * FPS * info.width * info.height)
    side = max(info.width, info.height)
    least = min(side, least or side)
    longest = int(side * math.sqrt(seconds / info.duration))
    if longest >= side:
        return None
    if longest < least:
        limit = math.floor(seconds * (side / least) ** 2)
        raise MediaError(
            f"{path}: {info.duration:.0f} s at {info.width}x{info.height}, expected at most {limit} s; cut it"
        )
    return longest


def _store_clip(source: Source, out: Path, options: PreprocessOptions) -> None:
    import soundfile

    from thcli.clips.audio import read_speech
    from thcli.clips.encode import VideoWriter
    from thcli.faces.backends import load_face_model
    from thcli.faces.crop import crop_frame, head_crop
    from thcli.faces.track import track_in_crop

    speech = read_speech(source.path)
    clip, track = track_file(source.path, options.tracker, options.weights, LEAST_SIDE)
    box = head_crop(track.box, track.size)
    lag = source.meta.av_lag if source.meta.av_lag is not None else av_lag(track, speech)
    with StoreWriter(out).clip(replace(source.meta, frames=len(clip), av_lag=lag)) as folder:
        with VideoWriter(folder / CROP, (CROP_SIZE, CROP_SIZE), None, len(clip)) as video:
            for frame in clip.frames:
                video.write(crop_frame(frame, box))
        soundfile.write(folder / SPEECH, _fitted(speech.samples, len(clip)), SAMPLE_RATE, subtype="PCM_16")
        save_track(folder / TRACK, track_in_crop(track, box, load_face_model(options.weights)))


def av_lag(track: FaceTrack, speech: Speech) -> int | None:
    """Frames by which the mouth trails the sound (negative: leads), None where sound and mouth do not fit together.

    The lag at which they fit best, where that is better than chance: the correlation of curves that have nothing to do
    with each other has a standard error that falls with the root of their length. Short clips (below about ten
    seconds) are seldom long enough to tell that they are off sync.
    """
    from thcli.clips.features import log_mel, openness

    length = min(speech.n_frames, len(track))
    if length < SHORTEST_SYNC:
        return None
    lag, fit = mouth_lag(openness(log_mel(speech)), mouth_opening(track.mesh), REACH)
    errors = NEAR_ERRORS if abs(lag) <= IN_SYNC else FAR_ERRORS
    fits = fit >= max(LEAST_FIT, errors * math.sqrt(INDEPENDENT / length))
    return lag if fits and abs(lag) < REACH else None


def _fitted(samples: Float, frames: int) -> Float:
    """Samples cut, or padded with silence, to the length of the frames."""
    length = frames * SAMPLES_PER_FRAME
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
