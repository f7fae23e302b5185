"""Plan of a dubbed video, for ``thgen dub --dry-run``: what would be done, and about what it takes."""

from __future__ import annotations

import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thcli.checkpoints import EXPRESSION, MOUTH_INTERIOR
from thcli.clips.audio import with_sound
from thcli.clips.probe import MediaInfo, probe
from thcli.device import free_memory
from thcli.errors import MediaError
from thcli.generation.checks import resource_lines, size_text, weights_by_place
from thcli.generation.dub import check_dub, check_video
from thcli.generation.estimate import (
    BENCHMARK,
    BYTES_PIXEL,
    MEMORY,
    MIB,
    PARALLEL,
    SOUND_SECOND,
    START,
    Estimate,
    benchmark,
)
from thcli.pipeline.models import load_models
from thcli.pipeline.options import DubOptions, Stream
from thcli.records import FPS

TRACK_FRAME, TRACK_PIXEL = 0.018, 4.0e-9
"""CPU seconds of the first pass: per frame, and per pixel of each frame."""
DRAW_FRAME = {"warp": 0.030, "network": 0.075}
"""CPU seconds of drawing a frame, by renderer."""
WRITE_PIXEL = 2.2e-8
"""CPU seconds of decoding and encoding, per pixel of each frame."""
HEAR_SECOND = 0.1
"""CPU seconds of listening, per second of sound."""
PIXEL_MEMORY = 40
"""Bytes of memory per pixel of a frame."""


@dataclass(frozen=True)
class DubPlan:
    """Work that ``dub`` would do; ``--dry-run`` prints its ``str()``.

    video: path, size and frame rate
    audio, output: paths
    frames: number of frames of the video; None where it is not known
    device: device on which the networks run
    weights: names of the files of weights, by the folder that they come from
    uses: lines on tracker, source of the lips and renderer
    estimate: time, memory and disk space; None where the length of the video is not known
    free_memory, free_disk: bytes that are free now; None where they are not known
    """

    video: str
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
        length = "length unknown until read" if self.frames is None else f"about {self.frames} frames"
        lines = [f"video      {self.video}", f"audio      {self.audio}", f"output     {self.output}, {length}"]
        lines += [f"device     {self.device}", *resource_lines(self.estimate, self.free_memory, self.free_disk)]
        lines += [f"weights    {place}: {names}" for place, names in self.weights.items()]
        return "\n".join([*lines, f"uses       {', '.join(self.uses)}"])


def plan_dub(video: Path, audio: Path | Stream, output: Path | Stream, options: DubOptions) -> DubPlan:
    """Check inputs, output, device and weights as ``dub`` would, without tracking or drawing anything."""
    check_dub(video, audio, output, options)
    models = load_models(options.weights, options.device, options.precision, options.tracker)
    _ = models.face_model
    models.find(MOUTH_INTERIOR)
    if options.expression == "audio":
        models.find(EXPRESSION)
    if options.renderer == "network":
        models.theta_files()
    info = check_video(video, options)
    spoken = None if audio == "-" else with_sound(probe(Path(audio))).duration
    seconds = _seconds(info, spoken, options)
    frames = None if seconds is None else max(round(seconds * (info.fps or FPS)), 1)
    takes = None if frames is None or seconds is None else _estimate(info, frames, seconds, options, models.device)
    free_disk = None if output == "-" else shutil.disk_usage(Path(output).parent).free
    if takes is not None and free_disk is not None and free_disk < takes.disk:
        said = f"about {size_text(takes.disk)} are to be written and {size_text(free_disk)} are free"
        raise MediaError(f"{output}: {said}; free some, or write elsewhere")
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
    taken = None
    if device == "cpu":
        import torch

        share = 1 - PARALLEL + PARALLEL / torch.get_num_threads()
        taken = cpu * share * benchmark(time.perf_counter) / BENCHMARK
    memory = MEMORY[options.renderer] + 64 * MIB + pixels * PIXEL_MEMORY
    return Estimate(taken, memory, int(frames * pixels * BYTES_PIXEL + seconds * SOUND_SECOND))
