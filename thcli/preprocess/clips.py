"""Preprocessing of videos to the store that training reads, or to files of landmarks, poses, meshes, audio features.

The kind ``all`` fills a store (``thcli.data.store``). The other kinds write ``DIR/NAME.KIND.npz``, without pickle,
and the kind ``mesh`` on demand a 3D file instead:

    landmarks   fps, size [2], tracker, confidence [T], box [T, 4], landmarks [T, 68, 3] px
    poses       fps, size [2], tracker, confidence [T], pose [T, 6], scale
    mesh        fps, size [2], tracker, confidence [T], mesh [T, 478, 3] px, faces [F, 3]
    audio       fps, log_mel [T, 4, 80], activity [T]
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.data.audio_motion import mouth_lag
from thcli.data.processes import map_in_processes
from thcli.data.sources import FILES, SOUNDS, VIDEOS, Source, check_splits, find_sources
from thcli.data.store import CROP, MOUTH_LEADS, SPEECH, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import DeviceError, MediaError, NoFaceError, ThgenError, UsageError, named_bug
from thcli.face_model import mouth_opening
from thcli.records import CROP_SIZE, FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, FaceTrack, Float, Speech

KINDS = ("landmarks", "poses", "mesh", "audio", "all")
"""Kinds of preprocessing."""
FIELDS = {"landmarks": ("box", "landmarks"), "poses": ("pose", "scale"), "mesh": ("mesh",)}
"""Fields of a face track in the file of each kind, besides size, tracker and confidence."""
IN_SYNC = 3
"""Largest ``av_lag``, to either side, of a clip in sync."""
REACH, SHORTEST_SYNC = 15, 2 * FPS
"""Frames searched to either side for the lag between mouth and audio, and fewest frames of a clip for the search."""
LEAST_FIT = 0.25
"""Least correlation of mouth and audio that fit together, see ``av_lag``."""
NEAR_ERRORS, FAR_ERRORS = 1.5, 3.5
"""Standard errors that the correlation must exceed in sync, and off sync, which takes more because it is rare."""
INDEPENDENT = 4
"""Frames that make one independent sample of the curves of mouth and audio."""
KILLED = "the process at work on it was killed, most likely for want of memory; cut it, or take fewer --workers"


@dataclass(frozen=True)
class PreprocessOptions:
    """Options of ``thgen preprocess``, except for episodes.

    tracker: name of the tracker
    weights: folder that is searched first for weights
    workers: number of clips that are worked on at a time
    resume: whether clips that are done are left alone
    layout: naming of the files, see ``thcli.data.sources``
    mesh_format: format of the kind ``mesh``: ``npz``, arrays; ``glb``, an animated 3D file; or ``obj``, a still one
    """

    tracker: str = "builtin"
    weights: Path | None = None
    workers: int = 1
    resume: bool = False
    layout: str = FILES
    mesh_format: str = "npz"


@dataclass(frozen=True)
class ClipOutcome:
    """Outcome for a clip.

    clip: name of the clip
    status: ``done``, ``skipped`` (it was done before) or ``failed``
    error: message where it failed
    """

    clip: str
    status: Literal["done", "skipped", "failed"]
    error: str = ""


@dataclass(frozen=True)
class Run:
    """A run of preprocessing; the work happens while the outcomes are consumed.

    total: number of clips to work on
    notes: notes for the user about the clips
    outcomes: outcome of each clip as it is done
    """

    total: int
    notes: tuple[str, ...]
    outcomes: Iterator[ClipOutcome]


def preprocess(kind: str, paths: Sequence[Path], out: Path, options: PreprocessOptions | None = None) -> Run:
    """Preprocess files and folders into the folder ``out``; a bad clip never stops the others.

    Raises UsageError or MediaError at once where there is nothing to work on.
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
    """Return the clips of a store whose mouth leads or trails their audio by more than ``IN_SYNC`` frames."""
    return [meta for meta in Store(out).clips if meta.av_lag is not None and abs(meta.av_lag) > IN_SYNC]


def _run(kind: str, sources: Sequence[Source], out: Path, options: PreprocessOptions) -> Iterator[ClipOutcome]:
    if kind == "all":
        StoreWriter(out).sweep()
    todo = []
    for source in sources:
        if options.resume and _is_done(kind, source, out, options):
            yield ClipOutcome(source.meta.clip, "skipped")
        else:
            todo.append(source)
    attempt = partial(_attempt, kind, out=out, options=options)
    try:
        if options.workers > 1 and len(todo) > 1:
            for source, outcome in map_in_processes(attempt, todo, min(options.workers, len(todo))):
                yield outcome or ClipOutcome(source.meta.clip, "failed", f"{source.path}: {KILLED}")
        else:
            yield from map(attempt, todo)
    finally:
        if kind == "all":
            write_index(out)


def _is_done(kind: str, source: Source, out: Path, options: PreprocessOptions) -> bool:
    if kind == "all":
        return StoreWriter(out).has(source.meta.clip)
    return _target(kind, source, out, options).is_file()


def _target(kind: str, source: Source, out: Path, options: PreprocessOptions) -> Path:
    suffix = options.mesh_format if kind == "mesh" else "npz"
    return out / f"{source.meta.clip}.{kind}.{suffix}"


def _attempt(kind: str, source: Source, *, out: Path, options: PreprocessOptions) -> ClipOutcome:
    """Preprocess one clip. Errors of this clip become its outcome; those that concern all clips are raised."""
    try:
        if kind == "all":
            _store_clip(source, out, options)
        elif kind == "mesh" and options.mesh_format != "npz":
            _write_mesh(source, _target(kind, source, out, options), options)
        else:
            arrays = _audio(source) if kind == "audio" else _track_fields(kind, source, options)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, fps=np.asarray(FPS), **arrays)
            write_atomic(_target(kind, source, out, options), buffer.getvalue())
    except Exception as error:
        return ClipOutcome(source.meta.clip, "failed", fault(error, source.path))
    return ClipOutcome(source.meta.clip, "done")


def fault(error: Exception, clip: object) -> str:
    """Return the message about an error of one clip; raise an error that concerns all clips, such as a full disk."""
    if isinstance(error, (MediaError, NoFaceError, DeviceError)):
        return str(error)
    if isinstance(error, MemoryError):
        return f"{clip}: does not fit into memory; cut it, or take fewer --workers"
    if isinstance(error, (ThgenError, OSError)):
        raise error
    return f"{clip}: a bug in thgen ({named_bug(error)})"


def _audio(source: Source) -> dict[str, Any]:
    from thcli.clips.audio import read_speech
    from thcli.clips.features import log_mel, speech_activity

    speech = read_speech(source.path)
    return {"log_mel": log_mel(speech), "activity": speech_activity(speech)}


def _track_fields(kind: str, source: Source, options: PreprocessOptions) -> dict[str, Any]:
    from thcli.pipeline.models import load_models
    from thcli.pipeline.tracking import track_video

    models = load_models(options.weights, tracker=options.tracker)
    track = track_video(models, source.path)
    fields = {name: np.asarray(getattr(track, name)) for name in ("size", "tracker", "confidence", *FIELDS[kind])}
    if kind == "mesh":
        fields["faces"] = models.face_model.faces
    return fields


def _write_mesh(source: Source, target: Path, options: PreprocessOptions) -> None:
    """Write the face of a clip as a 3D file of the kind that the target's suffix names."""
    from thcli.clips.probe import probe
    from thcli.export.face_sources import tracked_face, write_glb
    from thcli.export.obj import write_obj
    from thcli.pipeline.models import load_models
    from thcli.pipeline.tracking import track_video

    models, info = load_models(options.weights, tracker=options.tracker), probe(source.path)
    face = tracked_face(info, track_video(models, info), models.face_model)
    (write_glb if target.suffix == ".glb" else write_obj)(target, face)


def _store_clip(source: Source, out: Path, options: PreprocessOptions) -> None:
    """Track a clip and store it; one without audio, or a photo, gets silence and no ``av_lag``."""
    import soundfile

    from thcli.clips.audio import read_speech
    from thcli.clips.decode import stream_frames
    from thcli.clips.encode import VideoWriter
    from thcli.clips.probe import probe
    from thcli.cropping import crop_frame
    from thcli.faces.crop import head_crop
    from thcli.faces.track import track_in_crop
    from thcli.pipeline.models import load_models
    from thcli.pipeline.tracking import track_video

    info, models = probe(source.path), load_models(options.weights, tracker=options.tracker)
    track = track_video(models, info)
    box = head_crop(track.box, track.size)
    samples, lag = np.zeros(0, np.float32), None
    if info.audio:
        speech = read_speech(info)
        samples = speech.samples
        lag = source.meta.av_lag if source.meta.av_lag is not None else av_lag(track, speech)
    with StoreWriter(out).clip(replace(source.meta, frames=len(track), av_lag=lag)) as folder:
        with VideoWriter(folder / CROP, (CROP_SIZE, CROP_SIZE), None, len(track)) as video:
            # The crop is known only once all frames are tracked; decoded twice, they need not be held in memory.
            for frame in stream_frames(info):
                video.write(crop_frame(frame, box))
        soundfile.write(folder / SPEECH, _fitted(samples, len(track)), SAMPLE_RATE, subtype="PCM_16")
        save_track(folder / TRACK, track_in_crop(track, box, models.face_model))


def av_lag(track: FaceTrack, speech: Speech) -> int | None:
    """Estimate ``ClipMeta.av_lag``; None where the mouth and the audio do not fit.

    The estimate is the lag at which the two fit best, if they fit better there than by chance: the correlation of
    unrelated curves has a standard error that falls with the root of their length. Clips of less than about ten seconds
    are seldom long enough to tell that they are off sync.
    """
    from thcli.clips.features import log_mel, openness

    length = min(speech.n_frames, len(track))
    if length < SHORTEST_SYNC:
        return None
    found, fit = mouth_lag(openness(log_mel(speech)), mouth_opening(track.mesh), REACH)
    lag = found + MOUTH_LEADS
    errors = NEAR_ERRORS if abs(lag) <= IN_SYNC else FAR_ERRORS
    fits = fit >= max(LEAST_FIT, errors * math.sqrt(INDEPENDENT / length))
    return lag if fits and abs(found) < REACH else None


def _fitted(samples: Float, frames: int) -> Float:
    """Cut samples, or pad them with silence, to the length of the frames."""
    length = frames * SAMPLES_PER_FRAME
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
