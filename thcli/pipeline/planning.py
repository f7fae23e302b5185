"""What ``generate`` would do, and what can be known to be wrong before any work."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from thcli.checkpoints import find_weights
from thcli.clips.probe import probe
from thcli.device import resolve_device
from thcli.errors import MediaError, UsageError
from thcli.pipeline.options import GenerateOptions, Stream


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


def check_all(reference: Path, audio: Path | Stream, output: Path | Stream, options: GenerateOptions) -> None:
    """What can be known before any work, of files and options; UsageError, MediaError."""
    _check_paths(reference, audio, output, options)
    _check_sources(options)
    if options.adapt:
        from thcli.pipeline.adapting import check_reference

        check_reference(reference, options)


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
