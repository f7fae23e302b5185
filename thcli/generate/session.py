"""Making videos, one or many, in two steps: ``prepare`` hears, tracks and moves, ``finish`` draws and writes.

What one video has in common with the next is kept between them: Θ, and, for batches, the persons.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import Generic, TypeVar

from thcli import __version__
from thcli.checkpoints import sha256
from thcli.clips.audio import read_speech
from thcli.clips.encode import VideoWriter
from thcli.clips.provenance import provenance
from thcli.device import resolve_device
from thcli.generate.noticing import notes_on_inputs
from thcli.generate.report import report_on
from thcli.generate.sidecar import Sources, sources_of, write_sidecar
from thcli.motion.curves import write_curves
from thcli.pipeline.curves import make_drive
from thcli.pipeline.options import Adapted, GenerateOptions, Progress, Result, Stream
from thcli.pipeline.person import Person, read_person
from thcli.pipeline.target import Driven
from thcli.pipeline.track_cache import TrackCache
from thcli.records import Speech
from thcli.render.frames import draw_frames
from thcli.render.generator import FrameGenerator, load_generator

KEPT_BYTES = 512 << 20
"""Of persons that are kept for videos to come: some two hundred at 256², a few from 4K."""
KEPT_NETWORKS = 2
"""Θs in memory, by weights and device; and as many that were fine-tuned to a person."""
T = TypeVar("T")


@dataclass(frozen=True)
class Prepared:
    """A video that is to be drawn.

    sound: the file of the speech; theta: what draws, None where that is the geometric path alone
    adapted: what fine-tuning of ``theta`` came to; seconds: what the stages so far took
    """

    sound: Path
    options: GenerateOptions
    device: str
    speech: Speech
    person: Person
    driven: Driven
    sources: Sources
    theta: FrameGenerator | None
    adapted: Adapted | None
    seconds: Mapping[str, float]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the video."""
        if self.options.frame == "full":
            return self.person.frame_size
        return self.person.crops.shape[2], self.person.crops.shape[1]


class Studio:
    """Makes videos; one thread may prepare the next while another finishes the last.

    tracks: where tracks are kept on disk; batch: whether persons, and Θ fine-tuned to them, are kept for other videos
    """

    def __init__(self, tracks: TrackCache | None = None, batch: bool = False) -> None:
        self._tracks, self._batch, self._lock = tracks, batch, Lock()
        self._thetas: _Kept[FrameGenerator | None] = _Kept(KEPT_NETWORKS, lambda _: 1)
        self._tailored: _Kept[tuple[FrameGenerator, Adapted]] = _Kept(KEPT_NETWORKS, lambda _: 1)
        self._persons: _Kept[Person] = _Kept(KEPT_BYTES, _size_of)

    def load(self, options: GenerateOptions) -> FrameGenerator | None:
        """Θ, where it is to draw. Before anything is heard or tracked: if it is missing, that is said at once."""
        device = resolve_device(options.device)
        key = (options.weights, device, options.renderer, options.precision)
        return self._thetas.get(key, lambda: load_theta(options, device))

    def prepare(self, reference: Path, sound: Path, options: GenerateOptions, progress: Progress) -> Prepared:
        """Hear, track, fine-tune and move; the errors are those of ``generate``. ``check_all`` comes before."""
        device, clock = resolve_device(options.device), _Clock(progress)
        with self._lock:
            theta, adapted = self.load(options), None
            with clock.stage("listen"):
                speech = read_speech(sound)
            with clock.stage("track"):
                person = self._person(reference, options)
            if theta is not None and options.adapt:
                with clock.stage("adapt", options.adapt):
                    theta, adapted = self._adapted(theta, reference, person, options, device, progress)
            with clock.stage("move"):
                drive = make_drive(person, speech, options, device, self._tracks)
        sources = sources_of(reference, sound, options, device)
        driven = Driven(person, drive)
        return Prepared(sound, options, device, speech, person, driven, sources, theta, adapted, clock.seconds)

    def finish(self, job: Prepared, output: Path | Stream, progress: Progress) -> Result:
        """Draw the video and write it, its sidecar, its curves and its report; returns what came out."""
        options, clock, frames = job.options, _Clock(progress, job.seconds), len(job.driven.drive)
        target = None if output == "-" else Path(output)
        with clock.stage("draw", frames):
            _draw(job, target, progress)
        with _all_or_none([target] if target else []) as made:
            notes = notes_on_inputs(job.person, job.speech, job.sound, options)
            result = Result(output, frames, job.size, clock.seconds, job.device, notes, adapted=job.adapted)
            if options.save_curves is not None:
                write_curves(options.save_curves, job.driven.drive)
                made.append(options.save_curves)
            record = write_sidecar(job.sources, target, options, result) if target else {}
        if target is None or options.report is None:
            return result
        with clock.stage("report", frames):
            said = report_on(target, options.report, job.driven, job.speech, job.sound, record, progress)
        return replace(result, warnings=said)

    def _person(self, reference: Path, options: GenerateOptions) -> Person:
        def read() -> Person:
            return read_person(reference, options, self._tracks)

        return self._persons.get(_person_key(reference, options), read) if self._batch else read()

    def _adapted(
        self,
        theta: FrameGenerator,
        reference: Path,
        person: Person,
        options: GenerateOptions,
        device: str,
        progress: Progress,
    ) -> tuple[FrameGenerator, Adapted]:
        from thcli.generate.fine_tune import adapt

        def make() -> tuple[FrameGenerator, Adapted]:
            tailored = adapt(theta, reference, person, options, device, progress.advance)
            return tailored.theta, tailored.record

        if not self._batch:
            return make()
        key = (_person_key(reference, options), options.adapt, options.seed, device, options.precision)
        return self._tailored.get(key, make)


@contextmanager
def _all_or_none(made: list[Path]) -> Iterator[list[Path]]:
    """A block whose files, and the video before it, are only kept together."""
    try:
        yield made
    except BaseException:
        for path in made:
            path.unlink(missing_ok=True)
        raise


def load_theta(options: GenerateOptions, device: str) -> FrameGenerator | None:
    """Θ with its weights, where it is to draw; WeightsError."""
    if options.renderer != "network":
        return None
    return load_generator(options.weights, device, options.precision)


def _draw(job: Prepared, target: Path | None, progress: Progress) -> None:
    """The video itself; ffmpeg, a process of its own, encodes frames while those after them are drawn."""
    declared = provenance(f"thgen {__version__}", job.sources.hashes)
    full, most = job.options.frame == "full", job.options.batch_size
    drawn = draw_frames(job.person, job.driven, job.device, full, theta=job.theta, most=most)
    # in this thread: PyTorch shares its work among the cores half as well in any but the first
    with VideoWriter(target, job.size, job.sound, len(job.driven.drive), declared) as writer:
        for frame in drawn:
            writer.write(frame)
            progress.advance()


def _person_key(reference: Path, options: GenerateOptions) -> Hashable:
    """All that ``read_person`` depends on; the clip counts by its content."""
    content = sha256(reference) if reference.is_file() else str(reference)
    shown = (options.start, options.face, options.references, options.frame, options.size, options.adapt > 0)
    return content, shown, options.tracker, options.weights


def _size_of(person: Person) -> int:
    """Bytes of what grows: pictures, and tracks of long clips."""
    return person.crops.nbytes + person.frames.nbytes + person.track.mesh.nbytes + person.faces.nbytes


class _Kept(Generic[T]):
    """Values by key; of more than ``room`` in all those that were not used for longest are let go.

    size: of a value, in the unit of ``room``
    """

    def __init__(self, room: int, size: Callable[[T], int]) -> None:
        self.room, self.size = room, size
        self.values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        value = self.values.pop(key) if key in self.values else make()
        self.values[key] = value
        while sum(map(self.size, self.values.values())) > self.room:
            self.values.popitem(last=False)
        return value


class _Clock:
    """Seconds by stage, and the progress that hears of them."""

    def __init__(self, progress: Progress, before: Mapping[str, float] | None = None):
        self.progress = progress
        self.seconds: dict[str, float] = dict(before or {})

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self.progress.stage(name, total)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
