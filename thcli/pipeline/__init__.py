"""The only place that joins the stages: ``generate`` makes a video, ``plan`` says what it would do.

from pathlib import Path
from thcli.pipeline import GenerateOptions, generate

generate(Path("clip.mp4"), Path("speech.wav"), Path("out.mp4"), GenerateOptions(seed=1))
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from thcli import __version__
from thcli.clips.audio import local_audio, read_speech
from thcli.clips.encode import VideoWriter
from thcli.clips.provenance import provenance
from thcli.device import resolve_device
from thcli.pipeline.options import Adapted, GenerateOptions, Progress, Quiet, Result, Stream
from thcli.pipeline.planning import Plan, check_all, plan

if TYPE_CHECKING:
    from thcli.synthesis.generator import FrameGenerator

__all__ = ["GenerateOptions", "Plan", "Progress", "Result", "generate", "load_theta", "plan"]


def generate(
    reference: Path,
    audio: Path | Stream,
    output: Path | Stream,
    options: GenerateOptions | None = None,
    progress: Progress | None = None,
) -> Result:
    """Make the person in ``reference`` (a clip or a photo) say what is said in ``audio``, and write an MP4.

    audio: any file with sound, or ``-`` for standard input; output: an MP4, or ``-`` for standard output
    Beside the output a sidecar ``OUT.mp4.json`` says how it was made. Nothing is left behind on any error:
    UsageError, MediaError, NoFaceError, WeightsError, DeviceError. An error of the report, which looks at the finished
    video, leaves that and its sidecar.
    """
    from thcli.motion.curves import write_curves
    from thcli.pipeline.driving import make_drive
    from thcli.pipeline.person import notes_on_size, read_person
    from thcli.pipeline.picture import draw_frames
    from thcli.pipeline.reporting import report_on
    from thcli.pipeline.sidecar import sources_of, write_sidecar
    from thcli.pipeline.target import Driven

    options = options or GenerateOptions()
    check_all(reference, audio, output, options)
    device = resolve_device(options.device)
    theta = load_theta(options, device)
    adapted: Adapted | None = None
    clock = _Clock(progress or Quiet())
    with local_audio(audio) as sound:
        with clock.stage("listen"):
            speech = read_speech(sound)
        with clock.stage("track"):
            person = read_person(reference, options)
        if theta is not None and options.adapt:
            from thcli.pipeline.adapting import adapt

            with clock.stage("adapt", options.adapt):
                tailored = adapt(theta, reference, person, options, device, clock.progress.advance)
                theta, adapted = tailored.theta, tailored.record
        with clock.stage("move"):
            drive = make_drive(person, speech, options, device)
        full = options.frame == "full"
        size = person.frame_size if full else (person.crops.shape[2], person.crops.shape[1])
        with clock.stage("draw", len(drive)):
            target = None if output == "-" else Path(output)
            sources = sources_of(reference, sound, options, device)
            declared = provenance(f"thgen {__version__}", sources.hashes)
            with VideoWriter(target, size, sound, len(drive), declared) as writer:
                for frame in draw_frames(person, Driven(person, drive), device, full, theta=theta):
                    writer.write(frame)
                    clock.progress.advance()
        if options.save_curves is not None:
            write_curves(options.save_curves, drive)
        notes = notes_on_size(person, options)
        result = Result(output, len(drive), size, clock.seconds, device, notes, adapted=adapted)
        if target is not None:
            record = write_sidecar(sources, target, options, result)
            if options.report is not None:
                with clock.stage("report", len(drive)):
                    driven = Driven(person, drive)
                    said = report_on(target, options.report, driven, speech, sound, record, clock.progress)
                result = replace(result, warnings=said)
    return result


def load_theta(options: GenerateOptions, device: str) -> FrameGenerator | None:
    """Θ, where it is to draw. Loaded before anything is tracked: if it is missing, that is said at once."""
    if options.renderer != "network":
        return None
    from thcli.synthesis.generator import load_generator

    return load_generator(options.weights, device)


class _Clock:
    """Seconds by stage, and the progress that hears of them."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, total: int | None = None) -> Iterator[None]:
        self.progress.stage(name, total)
        began = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - began
