"""Making of one or many videos in one process: ``prepare`` tracks and predicts motion, ``finish`` renders.

The networks stay in memory from one video to the next, and so do the persons in batches.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thcli.checkpoints import digest_of
from thcli.clips.audio import Levels, measure_levels, read_speech
from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import label
from thcli.clips.probe import MediaInfo, probe
from thcli.clips.provenance import SOURCE_TYPE, provenance
from thcli.forks import COMPUTING, Ahead, Forks, forks_of
from thcli.generation.checks import check_clip_to_learn_from, check_weights, job_weights, weights_by_place
from thcli.generation.result import FineTuneReport, LearnedPart, Result
from thcli.generation.sidecar import Sources, precision_name, sources_of, write_sidecar
from thcli.generation.signing import signing
from thcli.inspection.advice import on_reference, on_speech
from thcli.inspection.measure import measure_clip, measure_speech
from thcli.motion.curves import write_curves
from thcli.pipeline.learning import learn_warnings
from thcli.pipeline.models import LruCache, Models, load_models
from thcli.pipeline.options import DubOptions, GenerateOptions, ReferenceOptions, Stream
from thcli.pipeline.person import length_warnings, person_key, read_person, size_warnings
from thcli.pipeline.progress import Progress
from thcli.pipeline.target import DrivenTarget
from thcli.pipeline.track_cache import TrackCache
from thcli.records import FPS, Image, MotionCurves, Person, Speech
from thcli.threads import one_thread
from thcli.version import __version__

if TYPE_CHECKING:
    from thcli.export.animated_face import AnimatedFace
    from thcli.render.frames import TargetRenderer
    from thcli.render.generator import FrameGenerator

KEPT_BYTES = 512 << 20
"""Most bytes of persons kept for further videos: about two hundred persons at 256², or a few from 4K clips."""
KEPT_FINE_TUNED = 2
"""Most fine-tuned Θs kept for further videos."""
SPOILING = ("face_turned", "face_cut", "face_small", "eyes_closed", "no_speech", "clipped")
"""Keys of the advice that is printed without ``--report``: on inputs that spoil the video."""
FineTuned = tuple["FrameGenerator", FineTuneReport]
"""Fine-tuned Θ and the outcome of fine-tuning."""


@dataclass(frozen=True)
class VideoJob:
    """A video that is ready to be rendered.

    reference: contents of the file of the person
    recording: contents of the file of the speech
    levels: loudness of that file
    renderer: renderer of its frames, and ``forks`` the processes in which it renders
    fine_tuned: outcome of fine-tuning; None where Θ was not fine-tuned
    seconds: time that each stage took so far
    """

    reference: MediaInfo
    recording: MediaInfo
    levels: Levels
    options: GenerateOptions
    models: Models
    speech: Speech
    person: Person
    target: DrivenTarget
    sources: Sources
    renderer: TargetRenderer
    forks: Forks[slice, Image]
    fine_tuned: FineTuneReport | None
    seconds: Mapping[str, float]

    @property
    def frames(self) -> int:
        """Number of frames of the video."""
        return len(self.target.curves)


class Session:
    """A maker of videos; one thread may prepare the next video while another finishes the last one.

    tracks: cache of face tracks on disk
    batch: whether persons, and Θ fine-tuned to them, are kept for further videos
    """

    def __init__(self, tracks: TrackCache | None = None, batch: bool = False) -> None:
        self._tracks, self._batch = tracks, batch
        self._persons: LruCache[Person] = LruCache(KEPT_BYTES, lambda person: person.nbytes)
        self._fine_tuned: LruCache[FineTuned] = LruCache(KEPT_FINE_TUNED)

    def prepare(self, reference: Path, audio: Path, options: GenerateOptions, progress: Progress) -> VideoJob:
        """Read the speech, track the person, fine-tune Θ where asked, and predict the motion.

        Call ``check_all`` before. Raises the errors of ``generate``.
        """
        models = load_models(options.weights, options.device, options.precision, options.tracker)
        clock = Clock(progress)
        with COMPUTING:
            hashes = job_hashes(models, options)
            check_weights(models, options)
            info = probe(reference)
            if options.adapt:
                check_clip_to_learn_from(info, options.start)
            with self._reading(models, info, options) as person_read:
                # What needs PyTorch is imported here: that takes a second, in which the person is being read.
                from thcli.render.frames import TargetRenderer

                theta, fine_tuned = models.theta if options.renderer == "network" else None, None
                with clock.stage("listen"):
                    recording = probe(audio)
                    levels = measure_levels(recording)
                    speech = read_speech(recording, levels=levels)
                with clock.stage("track"):
                    person = person_read.result()
            if theta is not None and options.adapt:
                with clock.stage("adapt", options.adapt):
                    theta, fine_tuned = self._fine_tune(models, info, person, options, progress)
            with clock.stage("move"), self._moving(models, person, speech, options) as curves_made:

                def moved() -> DrivenTarget:
                    return DrivenTarget(person, models.face_model, curves_made.result())

                with one_thread():
                    renderer = TargetRenderer(models, person, moved, theta=theta, batch_size=options.batch_size)
                target = renderer.target
                assert isinstance(target, DrivenTarget)
            sources = sources_of(reference, audio, options.motion_options, hashes)
            # The processes are forked while nothing else computes, and wait until ``finish`` gives them work.
            forks = Forks(renderer.render, forks_of(models.device, options.workers))
        given = (info, recording, levels, options, models)
        return VideoJob(*given, speech, person, target, sources, renderer, forks, fine_tuned, clock.seconds)

    def finish(self, job: VideoJob, output: Path | Stream, progress: Progress) -> Result:
        """Render a video, write it, its sidecar, its curves and its report, and return the result."""
        clock = Clock(progress, job.seconds)
        file = None if output == "-" else Path(output)
        with clock.stage("draw", job.frames), job.forks:
            _write_video(job, file, progress)
        with COMPUTING:
            return _finished(job, output, file, clock)

    def _reading(self, models: Models, info: MediaInfo, options: GenerateOptions) -> Ahead[Person]:
        """Begin to read the person, in a process of its own where one is free."""
        return Ahead(lambda: self._person(models, info, options.reference_options), self._one_free(models, options))

    def _moving(self, models: Models, person: Person, speech: Speech, options: GenerateOptions) -> Ahead[MotionCurves]:
        """Begin to listen, and to predict how the person moves, in a process of its own where one is free."""
        from thcli.pipeline.curves import predict_curves

        @one_thread()  # in this process too: with more threads sums would be rounded otherwise
        def predict() -> MotionCurves:
            return predict_curves(models, person, speech, options.motion_options, self._tracks)

        return Ahead(predict, self._one_free(models, options))

    def _one_free(self, models: Models, options: GenerateOptions) -> bool:
        """Whether a process may be forked beside this one, in which what is known of the persons of a batch is kept."""
        return not self._batch and forks_of(models.device, options.workers) > 1

    def _person(self, models: Models, info: MediaInfo, options: ReferenceOptions) -> Person:
        def read() -> Person:
            return read_person(models, info, options, self._tracks)

        return self._persons.get(person_key(models, info.path, options), read) if self._batch else read()

    def _fine_tune(
        self, models: Models, info: MediaInfo, person: Person, options: GenerateOptions, progress: Progress
    ) -> FineTuned:
        from thcli.generation.fine_tune import fine_tune_to_clip

        def make() -> FineTuned:
            chosen = options.reference_options
            return fine_tune_to_clip(models, info, person, chosen, options.adapt, options.seed, progress.advance)

        if not self._batch:
            return make()
        person_part = person_key(models, info.path, options.reference_options)
        key = (person_part, options.adapt, options.seed, models.device, models.precision)
        return self._fine_tuned.get(key, make)


def _finished(job: VideoJob, output: Path | Stream, file: Path | None, clock: Clock) -> Result:
    """Write what belongs to a finished video: its sidecar, curves, mesh and report."""
    options = job.options

    def face() -> AnimatedFace:
        from thcli.export.face_sources import generated_face

        return generated_face(job.reference, job.target)

    with all_or_none([file] if file else []) as made:
        size, notes = job.person.video_size, input_warnings(job)
        given = (output, job.frames, size, clock.seconds, job.models.device, notes)
        result = Result(*given, fine_tuned=job.fine_tuned, learned=_learned_part(job.person))
        write_beside(options, made, lambda: job.target.curves, face)
        precision = precision_name(job.models) if options.renderer == "network" else None
        record = write_sidecar(job.sources, file, options, result, precision) if file else {}
    if file is None or options.report is None:
        return result
    from thcli.generation.report import report_on

    with clock.stage("report", job.frames):
        said = report_on(file, options.report, job.target, job.speech, job.levels.clipped, record, clock.progress)
    return replace(result, warnings=said)


def job_hashes(models: Models, options: GenerateOptions | DubOptions) -> dict[str, str]:
    """Return the SHA-256, by name, of the files of weights that a video with these options depends on."""
    return {path.name: digest_of(path) for path in job_weights(models, options)}


def weights_note(models: Models, options: GenerateOptions | DubOptions) -> tuple[str, ...]:
    """Return a line on which files of weights come from where, unless ``--weights`` has all of them."""
    places = weights_by_place(models, options)
    if options.weights is None or set(places) == {str(options.weights)}:
        return ()
    return ("weights: " + "; ".join(f"{names} ({place})" for place, names in places.items()),)


def input_warnings(job: VideoJob) -> tuple[str, ...]:
    """Return lines on a reference or a recording that spoils the video; with ``--report`` its warnings replace them."""
    from thcli.pipeline.curves import reach_notes, source_notes

    notes = (
        weights_note(job.models, job.options)
        + job.person.notes
        + size_warnings(job.person, job.options.reference_options)
    )
    notes += length_warnings(job.person) + learn_warnings(job.person, job.options.reference_options)
    motion = job.options.motion_options
    notes += source_notes(motion, job.frames) + reach_notes(job.person, job.target.curves, motion)
    notes += job.recording.sound.note(label(job.recording.path))
    if job.options.report is not None:
        return notes
    person = job.person
    stats = measure_clip(person.track, person.box, person.frame_size)
    found = [*on_reference(stats), *on_speech(measure_speech(job.speech, job.levels.clipped))]
    return notes + tuple(advice.text for advice in found if advice.key in SPOILING)


def _learned_part(person: Person) -> LearnedPart | None:
    """Return the part of the clip that the person's motion was learned from; None for a photo."""
    learned = person.learned
    if len(learned) < 2:
        return None
    return LearnedPart(round(learned.start, 2), round(len(learned) / FPS, 2), round(len(learned.audio) / FPS, 2))


@contextmanager
def all_or_none(made: list[Path]) -> Iterator[list[Path]]:
    """Delete the files ``made`` in a block where the block fails; the video is the first of them."""
    try:
        yield made
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def write_beside(
    options: GenerateOptions | DubOptions,
    made: list[Path],
    curves: Callable[[], MotionCurves],
    face: Callable[[], AnimatedFace],
) -> None:
    """Write the curves and the mesh that are asked for, and add their files to ``made``."""
    if options.save_curves is not None:
        write_curves(options.save_curves, curves())
        made.append(options.save_curves)
    if options.mesh is not None:
        from thcli.export.face_sources import write_glb

        write_glb(options.mesh, face())
        made.append(options.mesh)


def _write_video(job: VideoJob, file: Path | None, progress: Progress) -> None:
    """Render and encode the video; ffmpeg, in a process of its own, encodes frames while later ones are rendered."""
    declared = provenance(f"thgen {__version__}", job.sources.hashes)
    sound, peak = job.recording, job.levels.peak
    finish = signing(job.options, SOURCE_TYPE)
    with VideoWriter(
        file, job.person.video_size, sound, job.frames, declared, audio_peak=peak, finish=finish
    ) as writer:
        for frames in job.forks.map(job.renderer.parts):
            for frame in frames:
                writer.write(frame)
            progress.advance(len(frames))


class Clock:
    """A clock that measures the seconds of each stage, and passes the stages on to the progress display."""

    def __init__(self, progress: Progress, before: Mapping[str, float] | None = None) -> None:
        self.progress = progress
        self.seconds: dict[str, float] = dict(before or {})

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self.progress.stage(name, total)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
