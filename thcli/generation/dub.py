"""``thgen dub``: new words for a video that exists, from its options to its files, made with ``thcli.pipeline.dub``."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from thcli.clips.audio import Levels, local_audio, measure_levels, read_speech
from thcli.clips.encode import MATROSKA
from thcli.clips.ffmpeg import label
from thcli.clips.probe import MediaInfo, probe
from thcli.clips.provenance import COMPOSITE, provenance
from thcli.clips.rewrite import NewSound, OtherStreams, VideoRewriter, other_streams
from thcli.clips.timed import stored
from thcli.errors import MediaError, UsageError
from thcli.forks import COMPUTING, Ahead, forks_of
from thcli.generation.checks import check_sources, check_weights
from thcli.generation.file_checks import MP4, check_files
from thcli.generation.result import Result
from thcli.generation.session import Clock, all_or_none, job_hashes, weights_note, write_beside
from thcli.generation.sidecar import Sources, precision_name, sources_of, write_sidecar
from thcli.generation.signing import check_signing, signing
from thcli.pipeline.curves import source_notes
from thcli.pipeline.drawers import Changed, Drawers
from thcli.pipeline.dub import (
    Dubbing,
    draw_dubbing,
    dubbed_curves,
    footage_of,
    make_redrawer,
    prepare_dubbing,
    told,
)
from thcli.pipeline.lips import Sounds, hear
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import DubOptions, Stream, signed_with, written_beside
from thcli.pipeline.progress import Progress, Quiet
from thcli.pipeline.track_cache import TrackCache
from thcli.records import FPS, Speech
from thcli.threads import one_thread
from thcli.version import __version__

if TYPE_CHECKING:
    from thcli.export.animated_face import AnimatedFace

SILENT = 1e-3
"""Largest absolute sample of a recording that holds no sound, -60 dBFS."""


@dataclass(frozen=True)
class DubJob:
    """A video that is ready to be drawn.

    drawers: processes that draw it
    recording, levels: file of the speech, and its loudness
    others: further streams of the video
    sources: files that it is made from
    clock: time that each stage took so far
    files: what is open while it is drawn; ``Dubber.finish`` closes it
    """

    options: DubOptions
    models: Models
    dubbing: Dubbing
    drawers: Drawers
    recording: MediaInfo
    levels: Levels
    speech: Speech
    others: OtherStreams
    sources: Sources
    clock: Clock
    files: ExitStack

    @property
    def frames(self) -> int:
        """Number of frames of the video."""
        return len(self.dubbing.line)


def dub(
    video: Path | str,
    audio: Path | str,
    output: Path | str,
    options: DubOptions | None = None,
    progress: Progress | None = None,
) -> Result:
    """Make a video in which the person of ``video`` says the words of ``audio``; all but the lips stays as filmed.

    audio: any audio or video file with speech, or ``-`` for standard input
    output: the MP4 or Matroska file to write, or ``-`` for an MP4 on standard output

    A sidecar ``OUT.mp4.json`` beside the output records how the video was made.

    Raises UsageError, MediaError, NoFaceError, WeightsError, DeviceError. An error leaves no files behind, except that
    an error of the report, which measures the finished video, leaves the video and its sidecar.
    """
    options, progress = options or DubOptions(), progress or Quiet()
    source: Path | Stream = "-" if str(audio) == "-" else Path(audio)
    target: Path | Stream = "-" if str(output) == "-" else Path(output)
    check_dub(Path(video), source, target, options)
    dubber = Dubber(TrackCache())
    with local_audio(source) as file:
        return dubber.finish(dubber.prepare(Path(video), file, options, progress), target, progress)


def check_dub(video: Path, audio: Path | Stream, output: Path | Stream, options: DubOptions) -> None:
    """Check files and options as far as possible before any file is decoded; raise UsageError or MediaError."""
    inputs = [video, *(Path(p) for p in (audio, options.expression) if p not in ("-", "audio"))]
    target = None if output == "-" else Path(output)
    given = ([*inputs, *signed_with(options)], target, written_beside(options), options.overwrite)
    check_files(*given, containers=(*MP4, ".mkv"))
    check_signing(options, target)
    check_sources(options.motion_options)


def check_video(path: Path, options: DubOptions) -> MediaInfo:
    """Return the contents of the video to be dubbed. Raises UsageError for a photo, and MediaError for no video."""
    info = probe(path)
    if info.image:
        raise UsageError(f"{path}: a photo, expected a video; use thgen generate --ref {path}")
    stored(info)
    if info.duration is not None and options.begin >= info.duration:
        raise UsageError(f"--from {options.begin:g}: {path} lasts {info.duration:.2f} s; choose an earlier second")
    return info


class Dubber:
    """A maker of dubbed videos; one thread may prepare the next while another finishes the last.

    tracks: cache in which the first pass over a video is kept
    """

    def __init__(self, tracks: TrackCache) -> None:
        self._tracks = tracks

    def prepare(self, video: Path, audio: Path, options: DubOptions, progress: Progress) -> DubJob:
        """Read the speech, follow the person through the video, and decide what the lips do.

        Call ``check_dub`` before. Raises the errors of ``dub``.
        """
        models = load_models(options.weights, options.device, options.precision, options.tracker)
        with COMPUTING, ExitStack() as files:
            return self._prepared(models, video, audio, options, progress, files)

    def _prepared(
        self, models: Models, video: Path, audio: Path, options: DubOptions, progress: Progress, files: ExitStack
    ) -> DubJob:
        clock = Clock(progress)
        hashes = job_hashes(models, options)
        check_weights(models, options)
        info = check_video(video, options)
        with clock.stage("listen"):
            recording, levels, speech = read_recording(audio)
        others = other_streams(info)
        expected = None if info.duration is None or not info.fps else round(info.duration * info.fps)
        with _hearing(models, speech, info, options) as sounds:
            with clock.stage("track", expected):
                footage = files.enter_context(footage_of(models, info, options, self._tracks, progress.advance))
            with clock.stage("move"):
                given = (models, info, footage, speech, sounds.result())
                dubbing = prepare_dubbing(*given, options, self._tracks)
                redrawer = make_redrawer(models, dubbing, options)
        workers = forks_of(models.device, options.workers)
        drawers = files.enter_context(Drawers(redrawer.draw, stored(info), workers))
        made_from = dub_sources(sources_of(video, audio, options.motion_options, hashes))
        job = (options, models, dubbing, drawers, recording, levels, speech)
        return DubJob(*job, others, made_from, clock, files.pop_all())

    def finish(self, job: DubJob, output: Path | Stream, progress: Progress) -> Result:
        """Draw a video, write it, its sidecar, its curves and its report, and return the result."""
        with job.files:
            return self._finished(job, output, progress)

    def _finished(self, job: DubJob, output: Path | Stream, progress: Progress) -> Result:
        file = None if output == "-" else Path(output)
        changed: list[Changed | None] = []
        with job.clock.stage("draw", job.frames):
            _write(job, file, progress, changed)
        with COMPUTING:
            return _finish(job, output, file, changed, progress)


def _finish(
    job: DubJob, output: Path | Stream, file: Path | None, changed: list[Changed | None], progress: Progress
) -> Result:
    """Write what belongs to a finished video: its sidecar, curves, mesh and report."""
    options, clock = job.options, job.clock

    def face() -> AnimatedFace:
        from thcli.export.face_sources import dubbed_face

        return dubbed_face(job.dubbing)

    with all_or_none([file] if file else []) as made:
        seconds, _ = told(job.dubbing, options)
        size, notes = job.dubbing.targets.footage.size, notes_of(job, file)
        result = Result(output, job.frames, size, clock.seconds, job.models.device, notes, dubbed=seconds)
        write_beside(options, made, lambda: dubbed_curves(job.dubbing), face)
        precision = precision_name(job.models) if options.renderer == "network" else None
        record: dict[str, Any] = {}
        if file is not None:
            record = write_sidecar(job.sources, file, options, result, precision, COMPOSITE)
    if file is None or options.report is None:
        return result
    from thcli.generation.dub_report import report_on_dub

    with clock.stage("report", job.frames):
        given = (job.dubbing, job.speech, job.levels.clipped, changed, record)
        said = report_on_dub(file, options.report, *given, progress)
    return replace(result, warnings=said)


def _hearing(models: Models, speech: Speech, info: MediaInfo, options: DubOptions) -> Ahead[Sounds | None]:
    """Begin to listen, in a process of its own where one is free."""

    @one_thread()  # in this process too: with more threads sums would be rounded otherwise
    def heard() -> Sounds | None:
        return hear(models, speech, info) if options.expression == "audio" else None

    return Ahead(heard, forks_of(models.device, options.workers) > 1)


def read_recording(audio: Path) -> tuple[MediaInfo, Levels, Speech]:
    """Read the new speech. Raises MediaError for a file without sound, or with silence alone."""
    recording = probe(audio)
    levels = measure_levels(recording)
    speech = read_speech(recording, levels=levels)
    if levels.peak < SILENT:
        raise MediaError(f"{label(audio)}: silence, expected speech; check the recording")
    return recording, levels, speech


def dub_sources(sources: Sources) -> Sources:
    """Return the files that a dubbed video is made from, of which the video has a role of its own."""
    named = {"video" if role == "ref" else role: source for role, source in sources.inputs.items()}
    return Sources(named, sources.weights)


def notes_of(job: DubJob, file: Path | None) -> tuple[str, ...]:
    """Return lines on what is not dubbed and why, and on what the output does not keep."""
    options, info = job.options, job.dubbing.info
    notes = weights_note(job.models, options) + info.notes + stored(info).notes + told(job.dubbing, options)[1]
    notes += job.others.notes(file is not None and file.suffix.lower() in MATROSKA)
    if file is None and (job.others.sounds or job.others.subtitles):
        notes += ("standard output takes picture and speech alone: write to a file to keep the other streams",)
    notes += job.recording.sound.note(label(job.recording.path))
    notes += source_notes(options.motion_options, len(job.dubbing.targets.lips))
    if options.end is not None and job.speech.seconds > options.end - options.begin + 1 / FPS:
        room = options.end - options.begin
        notes += (
            f"the speech lasts {job.speech.seconds:.1f} s and is cut after {room:.1f} s, at --to {options.end:g}",
        )
    if options.keep_sound is not None and not info.audio:
        notes += ("--keep-sound: the video has no sound of its own",)
    return notes


def _write(job: DubJob, file: Path | None, progress: Progress, changed: list[Changed | None]) -> None:
    """Draw and encode the video; ffmpeg, in a process of its own, encodes frames while later ones are drawn."""
    declared = provenance(f"thgen {__version__}", job.sources.hashes, COMPOSITE)
    dubbing, options = job.dubbing, job.options
    line, footage = dubbing.line, dubbing.targets.footage
    clock = (footage.unit, max(footage.last, 1), int(line.time[0]), line.end)
    given = (dubbing.info, stored(dubbing.info), clock, _sound(job), job.others, job.frames, declared)
    parent = (dubbing.info, job.sources.inputs["video"][1])
    with VideoRewriter(file, *given, signing(options, COMPOSITE, parent)) as writer:
        for frame, time, what in draw_dubbing(dubbing, job.drawers):
            writer.write_stored(frame, time)
            changed.append(what)
            progress.advance()


def _sound(job: DubJob) -> NewSound:
    """Return the sound of the video."""
    options, info = job.options, job.dubbing.info
    keep = 0.0 if options.keep_sound is None else 10 ** (-options.keep_sound / 20)
    end = job.dubbing.seconds if options.end is None else min(options.end, job.dubbing.seconds)
    whole = options.begin == 0 and options.end is None
    peak = job.levels.peak
    if info.audio and (keep or not whole):
        own = measure_levels(info).peak
        peak = max(peak + keep * own, 0.0 if whole else own)
    return NewSound(job.recording, options.begin, end, keep, peak, whole)
