"""The only place that joins the stages: ``generate`` makes a video, ``plan`` says what it would do.

from pathlib import Path
from thcli.pipeline import GenerateOptions, generate

generate(Path("clip.mp4"), Path("speech.wav"), Path("out.mp4"), GenerateOptions(seed=1))
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from thcli import __version__
from thcli.checkpoints import find_weights
from thcli.clips.audio import local_audio, read_speech
from thcli.clips.encode import VideoWriter
from thcli.clips.probe import probe
from thcli.clips.provenance import provenance
from thcli.device import resolve_device
from thcli.errors import MediaError, UsageError
from thcli.pipeline.options import Adapted, GenerateOptions, Progress, Quiet, Result, Stream

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
    from thcli.pipeline.sidecar import write_sidecar
    from thcli.pipeline.target import Driven

    options = options or GenerateOptions()
    _check_paths(reference, audio, output, options)
    _check_sources(options)
    _check_adapting(reference, options)
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
            with VideoWriter(target, size, sound, len(drive), provenance(f"thgen {__version__}")) as writer:
                for frame in draw_frames(person, Driven(person, drive), device, full, theta=theta):
                    writer.write(frame)
                    clock.progress.advance()
        if options.save_curves is not None:
            write_curves(options.save_curves, drive)
        notes = notes_on_size(person, options)
        result = Result(output, len(drive), size, clock.seconds, device, notes, adapted=adapted)
        if target is not None:
            record = write_sidecar(reference, sound, target, options, result)
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


def _check_adapting(reference: Path, options: GenerateOptions) -> None:
    if options.adapt:
        from thcli.pipeline.adapting import check_reference

        check_reference(reference, options)


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


@dataclass(frozen=True)
class Plan:
    """What ``generate`` would do: ``str()`` of it is what ``--dry-run`` prints."""

    reference: str
    audio: str
    output: str
    frames: int | None
    device: str
    uses: tuple[str, ...]

    def __str__(self) -> str:
        length = "length unknown until read" if self.frames is None else f"{self.frames} frames at 25 a second"
        lines = [f"reference  {self.reference}", f"audio      {self.audio}", f"output     {self.output}, {length}"]
        return "\n".join([*lines, f"device     {self.device}", f"uses       {', '.join(self.uses)}"])


def _needed_weights(options: GenerateOptions) -> list[str]:
    """Beside the face model's, the tracker's and Θ's."""
    names = ["mouth_interior.safetensors"]
    if options.expression == "audio":
        names.append("expression.safetensors")
    if options.motion == "audio":
        names.append("head_motion.safetensors")
    return names


def plan(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions | None = None) -> Plan:
    """Check inputs, output, device and weights as ``generate`` would, without tracking or drawing anything."""
    from thcli.clips.decode import frame_count
    from thcli.faces.backends import cached_tracker, load_face_model
    from thcli.pipeline.sidecar import weights_of_theta

    options = options or GenerateOptions()
    _check_paths(reference, audio, output, options)
    _check_sources(options)
    _check_adapting(reference, options)
    device = resolve_device(options.device)
    load_face_model(options.weights)
    for name in _needed_weights(options):
        find_weights(name, options.weights)
    weights_of_theta(options, device)
    tracker = cached_tracker(options.tracker, options.weights)
    seen = probe(reference)
    if not (seen.video or seen.image):
        raise MediaError(f"{reference}: no picture in it; give a video or a photo")
    kind = "photo" if seen.image else f"{seen.fps:g} fps"
    frames: int | None = None
    if audio != "-":
        heard = probe(Path(audio))
        if not heard.audio:
            raise MediaError(f"{audio}: no audio stream; give a sound file or a video with sound")
        frames = None if heard.duration is None else frame_count(heard.duration)
    uses = (
        f"tracker {tracker.name}",
        f"motion from {options.motion}",
        f"expression from {options.expression}",
        f"renderer {options.renderer}" + (f", adapted in {options.adapt} steps" if options.adapt else ""),
    )
    return Plan(f"{reference} ({seen.width}x{seen.height}, {kind})", str(audio), str(output), frames, device, uses)


def _check_paths(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions) -> None:
    """What can be known before any work: that outputs may be written, and are none of the inputs."""
    inputs = [reference, *(Path(p) for p in (audio, options.motion, options.expression) if p != "-")]
    video = None if output == "-" else Path(output)
    targets = [("-o", video), ("--save-curves", options.save_curves), ("--report", options.report)]
    for option, target in targets:
        if target is None:
            continue
        if any(source.exists() and target.exists() and source.samefile(target) for source in inputs):
            raise UsageError(f"{target}: is also an input; choose another output with {option}")
        if target.is_dir():
            raise UsageError(f"{target}: is a folder; give {option} the name of a file in it")
        if not target.parent.is_dir():
            raise MediaError(f"{target}: no such folder {target.parent}; make it first")
        if target.exists() and not options.overwrite:
            raise UsageError(f"{target}: exists already; add --overwrite, or choose another name")
    _check_apart(video, options)
    if options.report is not None:
        _check_report(options.report, video)


def _check_apart(video: Path | None, options: GenerateOptions) -> None:
    """That no two of the files to be written have the same name."""
    from thcli.pipeline.sidecar import sidecar_path

    taken: dict[Path, str] = {}
    for option, what, target in (
        ("-o", "the video", video),
        ("-o", "the video's sidecar", None if video is None else sidecar_path(video)),
        ("--save-curves", "its curves", options.save_curves),
        ("--report", "its report", options.report),
    ):
        if target is None:
            continue
        other = taken.setdefault(target.resolve(), what)
        if other != what:
            raise UsageError(f"{target}: cannot hold both {other} and {what}; choose another name for {option}")


def _check_report(report: Path, video: Path | None) -> None:
    from thcli.evaluation.report import check_suffix

    check_suffix(report)
    if video is None:
        raise UsageError("--report: is made from the finished video, and -o - keeps none; give -o a file")


def _check_sources(options: GenerateOptions) -> None:
    """That what is to move head and face is a word that is known, sound curves, or a file that is there."""
    from thcli.motion.curves import read_curves

    for option, source, words in (
        ("--motion", options.motion, ("audio", "still")),
        ("--expression", options.expression, ("audio",)),
    ):
        if source.lower().endswith(".csv"):
            read_curves(Path(source))
        elif source not in words and not Path(source).exists():
            raise UsageError(f"{option} {source}: no such file; expected {', '.join(words)}, a video or a .csv file")
