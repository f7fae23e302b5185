"""About how long a video takes to make, and how much memory and space: for ``--dry-run``.

The constants are CPU seconds and bytes on one core of a Xeon, from what ``benchmarks/calibrate.py`` prints for three
seconds of a 256² clip, K = 8, and 2 s of speech; how far further cores help is from the README's times on two. What the
machine at hand does in a fiftieth of a second scales them. An estimate may well be off by half.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from thcli.pipeline.options import DEFAULT_BATCH, GenerateOptions
from thcli.records import CROP_SIZE, FPS
from thcli.render.frames import at_a_time
from thcli.render.memory import PIXEL_BYTES, REFERENCE_BYTES

BENCHMARK = 0.0028
"""CPU seconds of ``benchmark`` on the machine of the constants below."""
START = 2.8
"""CPU seconds of imports, loading, and what is done once; the same for every job."""
TRACK_FRAME, TRACK_PIXEL = 0.031, 2.6e-8
"""Of a frame of the reference, and of every pixel of it (from clips of 256² and 512²)."""
HEAR_SECOND, MOVE_FRAME = 0.05, 0.001
"""Of a second of sound, and of a frame's motion."""
DRAW = {"warp": (0.012, 0.007), "network": (0.072, 0.020)}
"""Of a frame, by renderer: whatever its size, and for every 256² of it; Θ itself works at 256² always."""
ADAPT_ONCE, ADAPT_STEP, REPORT_FRAME = 27.0, 1.65, 0.024
PARALLEL = 0.6
"""Share of the work that further cores take over."""
MIB = 1 << 20
MEMORY, USUAL = {"warp": 610 * MIB, "network": 800 * MIB}, 8
"""Of a job of 256², by renderer, and its references."""
ADAPT_MEMORY = 500 * MIB
BYTES_PIXEL, SOUND_SECOND = 0.025, 16_000
"""Of the video: a pixel of a frame, and a second of sound."""


@dataclass(frozen=True)
class Work:
    """What is to be done.

    frames: of the video; reference: frames of the reference, and their (width, height) in ``size``
    side: of the square that is drawn, pixels; written: pixels of a frame of the video
    """

    frames: int
    reference: int
    size: tuple[int, int]
    side: int
    written: int


@dataclass(frozen=True)
class Estimate:
    """seconds: None where the device is none that was measured; memory, disk: bytes"""

    seconds: float | None
    memory: int
    disk: int


def estimate(work: Work, options: GenerateOptions, device: str) -> Estimate:
    """What a job takes on this machine."""
    seconds = None
    if device == "cpu":
        import torch

        threads = torch.get_num_threads()
        share = 1 - PARALLEL + PARALLEL / threads
        seconds = cpu_seconds(work, options) * share * benchmark(time.perf_counter) / BENCHMARK
    return Estimate(seconds, memory(work, options), disk(work))


def cpu_seconds(work: Work, options: GenerateOptions) -> float:
    """Of one core of the machine that was measured."""
    pixels = work.size[0] * work.size[1]
    fixed, sized = DRAW[options.renderer]
    draw = fixed + sized * work.side**2 / CROP_SIZE**2
    return (
        START
        + work.reference * (TRACK_FRAME + TRACK_PIXEL * pixels)
        + work.frames * (HEAR_SECOND / FPS + MOVE_FRAME + draw)
        + (ADAPT_ONCE + options.adapt * ADAPT_STEP if options.adapt else 0)
        + (work.frames * REPORT_FRAME if options.report is not None else 0)
    )


def memory(work: Work, options: GenerateOptions) -> int:
    """Bytes at the peak; they do not grow with the length of the speech."""
    clip = work.reference * work.size[0] * work.size[1] * 3
    together = at_a_time(work.side**2, options.batch_size)
    each = PIXEL_BYTES * together + REFERENCE_BYTES * options.references
    more = max(work.side**2 * each - CROP_SIZE**2 * (PIXEL_BYTES * DEFAULT_BATCH + REFERENCE_BYTES * USUAL), 0)
    return MEMORY[options.renderer] + clip + more + (ADAPT_MEMORY if options.adapt else 0)


def disk(work: Work) -> int:
    """Bytes of the finished video."""
    return int(work.frames * (work.written * BYTES_PIXEL + SOUND_SECOND / FPS))


def benchmark(clock: Callable[[], float]) -> float:
    """Seconds of a convolution as Θ has many, on one thread, the median of five; ``clock`` tells the time."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        picture, kernel = torch.ones(1, 32, 128, 128), torch.ones(32, 32, 3, 3)
        taken = []
        with torch.inference_mode():
            for _ in range(6):
                began = clock()
                torch.nn.functional.conv2d(picture, kernel, padding=1)
                taken.append(clock() - began)
    finally:
        torch.set_num_threads(threads)
    return sorted(taken[1:])[2]
