"""What ``generate`` would do, and what can be known to be wrong before any work."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from thcli.checkpoints import find_weights
from thcli.clips.probe import MediaInfo, check_length, probe
from thcli.device import free_memory, resolve_device
from thcli.errors import MediaError, UsageError
from thcli.pipeline.options import GenerateOptions, Stream

if TYPE_CHECKING:
    from thcli.generate.estimate import Estimate


@dataclass(frozen=True)
class Plan:
    """What ``generate`` would do: ``str()`` of it is what ``--dry-run`` prints.

    takes: by estimate; None where nobody can say how long the video gets
    free_memory, free_disk: bytes that are there now; None where nothing says
    """

    reference: str
    audio: str
    output: str
    frames: int | None
    device: str
    uses: tuple[str, ...]
    takes: Estimate | None
    free_memory: int | None
    free_disk: int | None

    def __str__(self) -> str:
        length = "length unknown until read" if self.frames is None else f"{self.frames} frames at 25 a second"
        lines = [f"reference  {self.reference}", f"audio      {self.audio}", f"output     {self.output}, {length}"]
        lines += [f"device     {self.device}", *self._estimate()]
        return "\n".join([*lines, f"uses       {', '.join(self.uses)}"])

    def _estimate(self) -> list[str]:
        if self.takes is None:
            return ["time       not known before the sound is"]
        unknown = "not estimated: this device was never measured"
        seconds = unknown if self.takes.seconds is None else f"about {_duration(self.takes.seconds)} on this machine"
        memory = f"about {_size(self.takes.memory)}{_free(self.free_memory)}"
        if self.free_memory is not None and self.free_memory < self.takes.memory:
            memory += "; close other programs, or use --renderer warp or a smaller --size"
        return [
            f"time       {seconds}",
            f"memory     {memory}",
            f"disk       about {_size(self.takes.disk)}{_free(self.free_disk)}",
        ]


def _duration(seconds: float) -> str:
    """As exact as an estimate is."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"


def _size(size: int) -> str:
    if size < 1e9:
        return f"{size / 1e6:.1f} MB" if size < 1e7 else f"{size / 1e6:.0f} MB"
    return f"{size / 1e9:.1f} GB"


def _free(size: int | None) -> str:
    return "" if size is None else f", {_size(size)} free"


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
    from thcli.faces.backends import cached_tracker, load_face_model
    from thcli.generate.sidecar import weights_of_theta

    options = options or GenerateOptions()
    check_all(reference, audio, output, options)
    device = resolve_device(options.device)
    load_face_model(options.weights)
    for name in _needed_weights(options):
        find_weights(name, options.weights)
    weights_of_theta(options, device)
    tracker = cached_tracker(options.tracker, options.weights)
    seen = probe(reference)
    if not (seen.video or seen.image):
        raise MediaError(f"{reference}: no picture in it; give a video or a photo")
    frames = _frames_of(audio)
    takes = None if frames is None else _estimate(seen, frames, options, device)
    free_disk = None if output == "-" else shutil.disk_usage(Path(output).parent).free
    if takes is not None and free_disk is not None and free_disk < takes.disk:
        said = f"about {_size(takes.disk)} are to be written and {_size(free_disk)} are free"
        raise MediaError(f"{output}: {said}; free some, or write elsewhere")
    uses = (
        f"tracker {tracker.name}",
        f"motion from {options.motion}",
        f"expression from {options.expression}",
        f"renderer {options.renderer}" + (f", adapted in {options.adapt} steps" if options.adapt else ""),
    )
    kind = "photo" if seen.image else f"{seen.fps:g} fps"
    whom = f"{reference} ({seen.width}x{seen.height}, {kind})"
    return Plan(whom, str(audio), str(output), frames, device, uses, takes, free_memory(), free_disk)


def _frames_of(audio: Path | Stream) -> int | None:
    """How long the video gets; None where it cannot be known."""
    from thcli.clips.decode import frame_count

    if audio == "-":
        return None
    heard = probe(Path(audio))
    if not heard.audio:
        raise MediaError(f"{audio}: no audio stream; give a sound file or a video with sound")
    return None if heard.duration is None else frame_count(heard.duration)


def _estimate(seen: MediaInfo, frames: int, options: GenerateOptions, device: str) -> Estimate:
    """By the sizes that are known before the face is found: ``--size source`` may come out smaller."""
    from thcli.clips.decode import frame_count
    from thcli.faces.crop import CropBox
    from thcli.generate.estimate import Work, estimate
    from thcli.pipeline.person import REFERENCE_SECONDS, crop_side

    shorter = min(seen.width, seen.height)
    full = options.frame == "full"
    side = shorter if full else crop_side(CropBox(0, 0, shorter), options)
    left = REFERENCE_SECONDS if seen.duration is None else max(seen.duration - options.start, 0)
    work = Work(
        frames=frames,
        reference=1 if seen.image else max(frame_count(min(left, REFERENCE_SECONDS)), 1),
        size=(seen.width, seen.height),
        side=side,
        written=seen.width * seen.height if full else side**2,
    )
    return estimate(work, options, device)


def check_all(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions) -> None:
    """What can be known before any work, of files and options; UsageError, MediaError."""
    _check_paths(reference, audio, output, options)
    _check_sources(options)
    if options.adapt:
        from thcli.generate.fine_tune import check_reference

        check_reference(reference, options)


def _check_paths(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions) -> None:
    """What can be known before any work: that outputs may be written, and are none of the inputs."""
    from thcli.generate.sidecar import sidecar_path

    inputs = [reference, *(Path(p) for p in (audio, options.motion, options.expression) if p != "-")]
    video = None if output == "-" else Path(output)
    targets = [("-o", video), ("--save-curves", options.save_curves), ("--report", options.report)]
    for source in inputs:
        check_length(source)
    for option, target in targets:
        if target is None:
            continue
        check_length(sidecar_path(target))
        if any(source.exists() and target.exists() and source.samefile(target) for source in inputs):
            raise UsageError(f"{target}: is also an input; choose another output with {option}")
        if target.is_dir():
            raise UsageError(f"{target}: is a folder; give {option} the name of a file in it")
        if not target.parent.is_dir():
            raise MediaError(f"{target}: no such folder {target.parent}; make it first")
        _check_writable(target)
        if target.exists() and not options.overwrite:
            raise UsageError(f"{target}: exists already; add --overwrite, or choose another name")
    _check_apart(video, options)
    if options.report is not None:
        _check_report(options.report, video)


def _check_writable(target: Path) -> None:
    """By trying: what a system allows cannot be told from permissions alone."""
    try:
        with tempfile.TemporaryFile(dir=target.parent):
            pass
    except OSError as error:
        reason = f"{target}: the folder {target.parent} cannot be written to ({error.strerror})"
        raise MediaError(f"{reason}; choose another one") from error


def _check_apart(video: Path | None, options: GenerateOptions) -> None:
    """That no two of the files to be written have the same name."""
    from thcli.generate.sidecar import sidecar_path

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
