"""Checks that ``generate`` makes before any work, and the plan of its work for ``--dry-run``."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from thcli.checkpoints import (
    DETECTION,
    EXPRESSION,
    FACE_MODEL,
    HEAD_MOTION,
    MATTING,
    MOUTH_INTERIOR,
    SPEECH_ADAPTER,
    SPEECH_ENCODER,
    THETA,
    UNPROJECTION,
    place_of,
    read_header,
)
from thcli.clips.audio import check_seconds
from thcli.clips.decode import check_part, frame_count
from thcli.clips.probe import MediaInfo, probe
from thcli.device import free_memory
from thcli.errors import MediaError, UsageError
from thcli.generation.estimate import Estimate, Work, estimate
from thcli.generation.file_checks import check_files
from thcli.generation.signing import check_signing
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.option_checks import SOURCE_WORDS, is_curve_file
from thcli.pipeline.options import DubOptions, GenerateOptions, MotionOptions, Stream, signed_with, written_beside
from thcli.records import FPS, CropBox

LEAST_FRAMES = 50
"""Fewest frames of a clip to which Θ is fine-tuned."""


@dataclass(frozen=True)
class Plan:
    """Work that ``generate`` would do; ``--dry-run`` prints its ``str()``.

    ROLE, LENGTH, LESS: what the reference is called, how the number of frames is told, and what to do where memory is
        too small; a plan of another command has its own
    reference: path, size and frame rate of the reference
    audio, output: paths
    frames: number of frames of the video; None where it is not known
    device: device on which the networks run
    weights: names of the files of weights, by the folder that they come from (``weights_by_place``)
    uses: lines on tracker, sources of motion and renderer
    estimate: time, memory and disk space; None where the length of the video is not known
    free_memory, free_disk: bytes that are free now; None where they are not known
    """

    ROLE: ClassVar[str] = "reference"
    LENGTH: ClassVar[str] = "{} frames at 25 a second"
    LESS: ClassVar[str] = "close other programs, or use --renderer warp or a smaller --size"

    reference: str
    audio: str
    output: str
    frames: int | None
    device: str
    weights: Mapping[str, str]
    uses: tuple[str, ...]
    estimate: Estimate | None
    free_memory: int | None
    free_disk: int | None

    def __str__(self) -> str:
        length = "length unknown until read" if self.frames is None else self.LENGTH.format(self.frames)
        lines = [f"{self.ROLE:9}  {self.reference}", f"audio      {self.audio}", f"output     {self.output}, {length}"]
        lines += [f"device     {self.device}", *self._resources()]
        lines += [f"weights    {place}: {names}" for place, names in self.weights.items()]
        return "\n".join([*lines, f"uses       {', '.join(self.uses)}"])

    def _resources(self) -> list[str]:
        """Return lines on the time, memory and disk space that the video takes."""
        if self.estimate is None:
            return ["time       unknown until the audio is read"]
        takes, unknown = self.estimate, "not estimated: this device was never measured"
        seconds = unknown if takes.seconds is None else f"about {_duration(takes.seconds)} on this machine"
        memory = f"about {_size(takes.memory)}{_free(self.free_memory)}"
        if self.free_memory is not None and self.free_memory < takes.memory:
            memory += f"; {self.LESS}"
        return [
            f"time       {seconds}",
            f"memory     {memory}",
            f"disk       about {_size(takes.disk)}{_free(self.free_disk)}",
        ]


def _duration(seconds: float) -> str:
    """Return seconds as text, rounded to the accuracy of an estimate."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _size(size: int) -> str:
    """Return a number of bytes as text."""
    if size < 1e9:
        return f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB"


def _free(size: int | None) -> str:
    return "" if size is None else f", {_size(size)} free"


def plan(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions | None = None) -> Plan:
    """Check inputs, output, device and weights as ``generate`` would, without tracking or rendering anything."""
    options = options or GenerateOptions()
    check_all(reference, audio, output, options)
    models = load_models(options.weights, options.device, options.precision, options.tracker)
    check_weights(models, options)
    info = probe(reference)
    if not (info.video or info.image):
        raise MediaError(f"{reference}: no picture in it; give a video or a photo")
    if not info.image:
        check_part(info, options.start)
    if options.adapt:
        check_clip_to_learn_from(info, options.start)
    frames = _frames_of(audio)
    takes = None if frames is None else estimate(_work(info, frames, options), models.device)
    free_disk = check_disk(output, takes)
    uses = (
        f"tracker {models.tracker.name}",
        f"motion from {options.motion}",
        f"expression from {options.expression}",
        *(() if info.image else (f"learned from {_learned_from(options.learn_from)}",)),
        f"renderer {options.renderer}" + (f", adapted in {options.adapt} steps" if options.adapt else ""),
    )
    kind = "photo" if info.image else f"{info.fps:g} fps"
    whom = f"{reference} ({info.width}x{info.height}, {kind})"
    weights = weights_by_place(models, options)
    named = (whom, str(audio), str(output))
    return Plan(*named, frames, models.device, weights, uses, takes, free_memory(), free_disk)


def check_disk(output: Path | Stream, takes: Estimate | None) -> int | None:
    """Return the bytes that are free where the output is written; None for standard output.

    Raises MediaError where they are fewer than those that are to be written.
    """
    if output == "-":
        return None
    free = shutil.disk_usage(Path(output).parent).free
    if takes is not None and free < takes.disk:
        said = f"about {_size(takes.disk)} are to be written and {_size(free)} are free"
        raise MediaError(f"{output}: {said}; free some, or write elsewhere")
    return free


def job_weights(models: Models, options: GenerateOptions | DubOptions) -> list[Path]:
    """Return the files of weights that a video with these options depends on (``Models.files``)."""
    return models.files(theta=options.renderer == "network")


def weights_by_place(models: Models, options: GenerateOptions | DubOptions) -> dict[str, str]:
    """Return the names of the files of ``job_weights``, joined by commas, by the folder that they come from.

    A folder is named ``shipped``, ``yours`` or, if given as ``--weights``, by its path; that one comes first.
    """
    found: dict[str, list[str]] = {}
    for path in sorted(job_weights(models, options), key=lambda path: path.parent != options.weights):
        place = str(path.parent) if path.parent == options.weights else place_of(path, options.weights)
        found.setdefault(place, []).append(path.name)
    return {place: ", ".join(names) for place, names in found.items()}


def _learned_from(value: str) -> str:
    """Return the part of the clip that a value of ``--learn-from`` names, in words."""
    return "the whole shot" if value == "whole" else f"up to {float(value):g} s of the clip"


def check_weights(models: Models, options: GenerateOptions | DubOptions) -> None:
    """Raise WeightsError where a network that the job needs is missing or damaged; most are found, not loaded."""
    motion, needed = options.motion_options, [FACE_MODEL, MOUTH_INTERIOR]
    if isinstance(options, GenerateOptions):
        needed.append(MATTING)
    if models.tracker_name == "builtin":
        needed += [DETECTION, UNPROJECTION]
    if motion.expression == "audio":
        needed.append(EXPRESSION)
        if read_header(models.find(EXPRESSION)).dims.get("front_end") == "encoder":
            needed += [SPEECH_ENCODER, SPEECH_ADAPTER]
    if motion.motion == "audio":
        needed.append(HEAD_MOTION)
    if options.renderer == "network":
        needed.append(THETA)
    for name in needed:
        models.find(name)


def _frames_of(audio: Path | Stream) -> int | None:
    """Return the number of frames of the video, or None where it is not known before the audio is read."""
    if audio == "-":
        return None
    info = probe(Path(audio))
    if not info.audio:
        raise MediaError(f"{audio}: no audio stream; give a sound file or a video with sound")
    if info.duration is None:
        return None
    check_seconds(str(audio), info.duration)
    return frame_count(info.duration)


def _work(info: MediaInfo, frames: int, options: GenerateOptions) -> Work:
    """Describe the job by sizes that are known before the face is found; ``--size source`` may turn out smaller."""
    from thcli.pipeline.learning import MOST
    from thcli.pipeline.person import REFERENCE_SECONDS, crop_side

    shorter = min(info.width, info.height)
    full = options.frame == "full"
    side = shorter if full else crop_side(CropBox(0, 0, shorter), options.size)
    left = REFERENCE_SECONDS if info.duration is None else max(info.duration - options.start, 0)
    learned = min(options.reference_options.learn_seconds(), info.duration or 0, MOST) if info.audio else 0
    return Work(
        frames=frames,
        reference=1 if info.image else max(frame_count(min(left, REFERENCE_SECONDS)), 1),
        size=(info.width, info.height),
        side=side,
        written=info.width * info.height if full else side**2,
        renderer=options.renderer,
        references=options.references,
        batch_size=options.batch_size,
        adapt=options.adapt,
        report=options.report is not None,
        learned=max(learned - min(left, REFERENCE_SECONDS), 0),
    )


def check_all(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions) -> None:
    """Check files and options as far as possible before any file is decoded; raise UsageError or MediaError."""
    motion = options.motion_options
    inputs = [reference, *(Path(p) for p in (motion.motion, motion.expression) if p not in SOURCE_WORDS)]
    if audio != "-":
        inputs.append(Path(audio))
    video = None if output == "-" else Path(output)
    check_files([*inputs, *signed_with(options)], video, written_beside(options), options.overwrite)
    check_signing(options, video)
    check_sources(motion)


def check_clip_to_learn_from(info: MediaInfo, start: float) -> None:
    """Raise UsageError where a reference is a photo, or a clip too short for fine-tuning."""
    if info.image:
        raise UsageError(f"--adapt: {info.path} is a photo, expected a clip to learn from; leave out --adapt")
    if info.duration is not None:
        check_frames_to_learn_from(info.path, max(0, frame_count(info.duration - start)))


def check_frames_to_learn_from(reference: Path, frames: int) -> None:
    """Raise UsageError where a clip has fewer than ``LEAST_FRAMES`` frames."""
    if frames < LEAST_FRAMES:
        raise UsageError(
            f"--adapt: {reference} has {frames} frames to learn from, expected {LEAST_FRAMES} or more "
            f"({LEAST_FRAMES / FPS:g} s); give a longer clip, or leave out --adapt"
        )


def check_sources(motion: MotionOptions) -> None:
    """Raise an error where a source of motion is no known word, no valid file of curves, and no existing file."""
    from thcli.motion.curves import read_curves

    for option, source, words in (
        ("--motion", motion.motion, ("audio", "still")),
        ("--expression", motion.expression, ("audio",)),
    ):
        if is_curve_file(source):
            read_curves(Path(source))
        elif source not in words and not Path(source).exists():
            raise UsageError(f"{option} {source}: no such file; expected {', '.join(words)}, a video or a .csv file")
        elif source not in words and not (info := probe(Path(source))).image:
            check_part(info)
