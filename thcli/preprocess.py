"""Preprocessing: videos to the store that training reads, or to files of landmarks, poses, meshes, audio features.

``all`` fills a store (``thcli.data.store``). The other kinds write ``DIR/NAME.KIND.npz``, never pickled:

    landmarks   fps, size [2], tracker, confidence [T], box [T, 4], landmarks [T, 68, 3] px
    poses       fps, size [2], tracker, confidence [T], pose [T, 6], scale
    mesh        fps, size [2], tracker, confidence [T], mesh [T, 478, 3] px, faces [F, 3]
    audio       fps, log_mel [T, 4, 80], activity [T]
"""

from __future__ import annotations

import io
import traceback
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.data.audio_motion import mouth_lag
from thcli.data.sources import SOUNDS, VIDEOS, Source, find_sources
from thcli.data.store import CROP, SPEECH, TRACK, StoreWriter, save_track, write_index
from thcli.errors import MediaError, NoFaceError, ThgenError, UsageError
from thcli.face_model import mouth_opening
from thcli.records import CROP_SIZE, FPS, SAMPLE_RATE, SAMPLES_PER_FRAME, Clip, FaceTrack, Float, Speech

KINDS = ("landmarks", "poses", "mesh", "audio", "all")
FIELDS = {"landmarks": ("box", "landmarks"), "poses": ("pose", "scale"), "mesh": ("mesh",)}
"""What of a face track goes into the file of each kind, besides size, tracker and confidence."""
MAX_BYTES = 4 << 30
"""Frames of a clip are held in memory; longer ones must be cut first."""
MAX_LAG, LEAST_FIT, SHORTEST_SYNC = 8, 0.3, 2 * FPS
"""Frames searched to either side for the lag between mouth and sound; the correlation, and frames, it takes."""


@dataclass(frozen=True)
class PreprocessOptions:
    """tracker: name of the backend
    weights: folder in which to look for weights first
    workers: clips that are worked on at a time
    resume: leave alone what has been done
    """

    tracker: str = "builtin"
    weights: Path | None = None
    workers: int = 1
    resume: bool = False


@dataclass(frozen=True)
class Outcome:
    """What became of a clip: ``done``, ``skipped`` (it had been done), or ``failed`` with the reason."""

    source: Source
    status: str
    error: str = ""


def preprocess(
    kind: str, paths: Sequence[Path], out: Path, options: PreprocessOptions | None = None
) -> tuple[int, Iterator[Outcome]]:
    """Preprocess files and folders into the folder ``out``.

    Returns the number of clips, and their outcomes as they are done: the work happens while these are consumed.
    A bad clip never stops the others. Raises UsageError or MediaError at once where there is nothing to work on.
    """
    if kind not in KINDS:
        raise UsageError(f"preprocess {kind}: no such kind, expected one of {', '.join(KINDS)}")
    sources = find_sources(paths, VIDEOS | SOUNDS if kind == "audio" else VIDEOS)
    out.mkdir(parents=True, exist_ok=True)
    return len(sources), _run(kind, sources, out, options or PreprocessOptions())


def _run(kind: str, sources: Sequence[Source], out: Path, options: PreprocessOptions) -> Iterator[Outcome]:
    todo = []
    for source in sources:
        if options.resume and _is_done(kind, source, out):
            yield Outcome(source, "skipped")
        else:
            todo.append(source)
    try:
        if options.workers > 1 and todo:
            # Spawned, not forked: the threads of the libraries do not survive a fork.
            with ProcessPoolExecutor(min(options.workers, len(todo)), get_context("spawn")) as pool:
                jobs = [pool.submit(_attempt, kind, source, out, options) for source in todo]
                try:
                    yield from (job.result() for job in jobs)
                finally:
                    pool.shutdown(wait=True, cancel_futures=True)
        else:
            yield from (_attempt(kind, source, out, options) for source in todo)
    finally:
        if kind == "all":
            write_index(out)


def _is_done(kind: str, source: Source, out: Path) -> bool:
    if kind == "all":
        return StoreWriter(out).has(source.meta.clip)
    return _target(kind, source, out).is_file()


def _target(kind: str, source: Source, out: Path) -> Path:
    return out / f"{source.meta.clip}.{kind}.npz"


def _attempt(kind: str, source: Source, out: Path, options: PreprocessOptions) -> Outcome:
    """One clip. What is wrong with this clip becomes its outcome; a full disk and missing weights concern all."""
    try:
        if kind == "all":
            _store_clip(source, out, options)
        else:
            arrays = _audio(source) if kind == "audio" else _track_fields(kind, source, options)
            buffer = io.BytesIO()
            np.savez_compressed(buffer, fps=np.asarray(FPS), **arrays)
            write_atomic(_target(kind, source, out), buffer.getvalue())
    except (MediaError, NoFaceError) as error:
        return Outcome(source, "failed", str(error))
    except (ThgenError, OSError, MemoryError):
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name} line {place.lineno}"
        return Outcome(source, "failed", f"{source.path}: a bug in thgen ({type(error).__name__}: {error}; {where})")
    return Outcome(source, "done")


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


def track_file(path: Path, tracker: str = "builtin", weights: Path | None = None) -> tuple[Clip, FaceTrack]:
    """A whole clip, or a photo, in memory, and its largest face.

    Raises MediaError for a clip that is too long to hold, NoFaceError, WeightsError.
    """
    from thcli.clips.decode import read_clip
    from thcli.faces.backends import cached_tracker, load_face_model
    from thcli.faces.track import track_clip

    _check_length(path)
    model, backend = load_face_model(weights), cached_tracker(tracker, weights)
    clip = read_clip(path)
    return clip, track_clip(clip, backend, model)


def _check_length(path: Path) -> None:
    from thcli.clips.probe import probe

    info = probe(path)
    if not info.video or info.duration is None:
        return
    limit = MAX_BYTES / (info.width * info.height * 3 * FPS)
    if info.duration > limit:
        raise MediaError(
            f"{path}: {info.duration:.0f} s at {info.width}x{info.height}, expected at most {limit:.0f} s; cut it"
        )


def _store_clip(source: Source, out: Path, options: PreprocessOptions) -> None:
    import soundfile

    from thcli.clips.audio import read_speech
    from thcli.clips.encode import VideoWriter
    from thcli.faces.backends import load_face_model
    from thcli.faces.crop import crop_frame, head_crop
    from thcli.faces.track import track_in_crop

    speech = read_speech(source.path)
    clip, track = track_file(source.path, options.tracker, options.weights)
    box = head_crop(track.box, track.size)
    lag = source.meta.av_lag if source.meta.av_lag is not None else av_lag(track, speech)
    with StoreWriter(out).clip(replace(source.meta, frames=len(clip), av_lag=lag)) as folder:
        with VideoWriter(folder / CROP, (CROP_SIZE, CROP_SIZE), None, len(clip)) as video:
            for frame in clip.frames:
                video.write(crop_frame(frame, box))
        soundfile.write(folder / SPEECH, _fitted(speech.samples, len(clip)), SAMPLE_RATE, subtype="PCM_16")
        save_track(folder / TRACK, track_in_crop(track, box, load_face_model(options.weights)))


def av_lag(track: FaceTrack, speech: Speech) -> int | None:
    """Frames by which the mouth trails the sound (negative: leads), None where sound and mouth do not fit together."""
    from thcli.clips.features import log_mel, openness

    if min(speech.n_frames, len(track)) < SHORTEST_SYNC:
        return None
    lag, fit = mouth_lag(openness(log_mel(speech)), mouth_opening(track.mesh), MAX_LAG)
    return lag if fit >= LEAST_FIT and abs(lag) < MAX_LAG else None


def _fitted(samples: Float, frames: int) -> Float:
    """Samples cut, or padded with silence, to the length of the frames."""
    length = frames * SAMPLES_PER_FRAME
    return np.pad(samples[:length], (0, max(0, length - len(samples))))
