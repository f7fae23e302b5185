"""Plan of a dubbed video, for ``thgen dub --dry-run``: what would be done, and about what it takes."""

from __future__ import annotations

from pathlib import Path

from thcli.clips.audio import with_sound
from thcli.clips.probe import MediaInfo, probe
from thcli.device import free_memory
from thcli.generation.checks import Plan, check_disk, check_weights, weights_by_place
from thcli.generation.dub import check_dub, check_video
from thcli.generation.estimate import BYTES_PIXEL, MEMORY, MIB, SOUND_SECOND, START, Estimate, seconds_here
from thcli.pipeline.models import load_models
from thcli.pipeline.options import DubOptions, Stream
from thcli.records import FPS

TRACK_FRAME, TRACK_PIXEL = 0.011, 4.0e-9
"""CPU seconds of the first pass: per frame, and per pixel of each frame."""
DRAW_FRAME = {"warp": 0.018, "network": 0.034}
"""CPU seconds of drawing a frame, by renderer."""
WRITE_PIXEL = 1.2e-8
"""CPU seconds of decoding and encoding, per pixel of each frame."""
HEAR_SECOND = 0.1
"""CPU seconds of listening, per second of sound."""
PIXEL_MEMORY = 40
"""Bytes of memory per pixel of a frame."""


class DubPlan(Plan):
    """Work that ``dub`` would do; the reference is the video."""

    ROLE = "video"
    LENGTH = "about {} frames"
    LESS = "close other programs, or use --renderer warp"


def plan_dub(video: Path, audio: Path | Stream, output: Path | Stream, options: DubOptions) -> DubPlan:
    """Check inputs, output, device and weights as ``dub`` would, without tracking or drawing anything."""
    check_dub(video, audio, output, options)
    models = load_models(options.weights, options.device, options.precision, options.tracker)
    check_weights(models, options)
    info = check_video(video, options)
    spoken = None if audio == "-" else with_sound(probe(Path(audio))).duration
    seconds = _seconds(info, spoken, options)
    frames = None if seconds is None else max(round(seconds * (info.fps or FPS)), 1)
    takes = None if frames is None or seconds is None else _estimate(info, frames, seconds, options, models.device)
    free_disk = check_disk(output, takes)
    uses = (f"tracker {models.tracker.name}", f"lips from {options.expression}", f"renderer {options.renderer}")
    whom = f"{video} ({info.width}x{info.height}, {info.fps:g} fps)"
    weights = weights_by_place(models, options)
    return DubPlan(whom, str(audio), str(output), frames, models.device, weights, uses, takes, free_memory(), free_disk)


def _seconds(info: MediaInfo, spoken: float | None, options: DubOptions) -> float | None:
    """Return the length of the dubbed video; None where video or speech do not say theirs."""
    if options.length == "video" or options.end is not None:
        return info.duration
    if spoken is None or info.duration is None:
        return None
    end = options.begin + spoken
    return end if options.length == "audio" else max(end, info.duration)


def _estimate(info: MediaInfo, frames: int, seconds: float, options: DubOptions, device: str) -> Estimate:
    pixels = info.width * info.height
    cpu = START + frames * (TRACK_FRAME + DRAW_FRAME[options.renderer] + pixels * (TRACK_PIXEL + WRITE_PIXEL))
    cpu += 2 * HEAR_SECOND * seconds
    memory = MEMORY[options.renderer] + 64 * MIB + pixels * PIXEL_MEMORY
    return Estimate(seconds_here(cpu, device), memory, int(frames * pixels * BYTES_PIXEL + seconds * SOUND_SECOND))
