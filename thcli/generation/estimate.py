"""Estimates for ``--dry-run`` of the time, memory and disk space that a video takes.

The constants are CPU seconds and bytes on one core of an EPYC with bfloat16, printed by ``benchmarks/calibrate.py`` for
three seconds of a 256² clip, K = 8, and 9 s of speech. The share of the work that further cores take over comes from
times measured on two cores. A benchmark of a fiftieth of a second scales the seconds to the machine at hand. An
estimate may be wrong by half.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from thcli.pipeline.options import DEFAULT_RENDERER
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME
from thcli.render.memory import DEFAULT_BATCH, PIXEL_BYTES, REFERENCE_BYTES, frames_at_a_time

BENCHMARK = 0.0058
"""CPU seconds of ``benchmark``, in a process that does nothing else, where the constants below were measured."""
START = 2.8
"""CPU seconds of imports, of loading the networks, and of other work done once per job."""
TRACK_FRAME, TRACK_PIXEL = 0.017, 6.4e-8
"""CPU seconds of tracking: per frame of the reference, and per pixel of each frame; from clips of 256² and 512²."""
LEARN_SECOND = 0.18
"""CPU seconds of following the person through a second of the clip beyond the references (``--learn-from``)."""
HEAR_SECOND, MOVE_FRAME = 0.05, 0.001
"""CPU seconds of the audio features per second of speech, and of predicting motion per frame."""
DRAW = {"warp": (0.0125, 0.0107), "network": (0.0445, 0.0113)}
"""CPU seconds of rendering a frame, by renderer: at any size, as Θ works at one, and per 256² pixels."""
ADAPT_ONCE, ADAPT_STEP = 17.3, 0.52
"""CPU seconds of fine-tuning: once, and per step."""
REPORT_FRAME = 0.0144
"""CPU seconds of the report per frame of the video."""
PARALLEL = 0.75
"""Share of the work that further cores take over."""
MIB = 1 << 20
"""Bytes of one MiB."""
USUAL = 8
"""Number of references of a job for which ``MEMORY`` was measured."""
MEMORY = {"warp": 610 * MIB, "network": 800 * MIB}
"""Bytes at the peak of a job at 256² with ``USUAL`` references, by renderer."""
ADAPT_MEMORY = 500 * MIB
"""Bytes that fine-tuning takes in addition."""
BYTES_PIXEL, SOUND_SECOND = 0.025, 16_000
"""Bytes of the video: per pixel of each frame, and per second of audio."""


@dataclass(frozen=True)
class Work:
    """Quantities of a job that decide what it takes.

    frames: number of frames of the video
    reference: number of frames of the reference
    size: (width, height) of each frame of the reference, px
    side: side of the rendered square, px
    written: number of pixels of a frame of the video
    renderer, references, batch_size, adapt: as in ``GenerateOptions``
    report: whether a report is written
    learned: seconds of the clip beyond the references that are learned from
    """

    frames: int
    reference: int
    size: tuple[int, int]
    side: int
    written: int
    renderer: str = DEFAULT_RENDERER
    references: int = USUAL
    batch_size: int = DEFAULT_BATCH
    adapt: int = 0
    report: bool = False
    learned: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """Resources that a job takes.

    seconds: time; None for devices other than the CPU, which were not measured
    memory: bytes at the peak
    disk: bytes of the finished video
    """

    seconds: float | None
    memory: int
    disk: int


def estimate(work: Work, device: str) -> Estimate:
    """Estimate what a job takes on this machine."""
    return Estimate(seconds_here(cpu_seconds(work), device), memory(work), disk(work))


def seconds_here(cpu: float, device: str) -> float | None:
    """Return how long a job takes on this machine; None for a device that was never measured.

    cpu: its seconds on one core of the machine that was measured
    """
    if device != "cpu":
        return None
    import torch

    share = 1 - PARALLEL + PARALLEL / torch.get_num_threads()
    return cpu * share * benchmark(time.perf_counter) / BENCHMARK


def cpu_seconds(work: Work) -> float:
    """Return the seconds that a job takes on one core of the machine that was measured."""
    pixels = work.size[0] * work.size[1]
    fixed, sized = DRAW[work.renderer]
    render = fixed + sized * work.side**2 / CROP_SIZE**2
    return (
        START
        + work.reference * (TRACK_FRAME + TRACK_PIXEL * pixels)
        + work.learned * (LEARN_SECOND + HEAR_SECOND)
        + work.frames * (HEAR_SECOND / FPS + MOVE_FRAME + render)
        + (ADAPT_ONCE + work.adapt * ADAPT_STEP if work.adapt else 0)
        + (work.frames * REPORT_FRAME if work.report else 0)
    )


def memory(work: Work) -> int:
    """Return the bytes of memory at the peak, which grow with the samples of the speech alone."""
    clip = work.reference * work.size[0] * work.size[1] * 3
    together = frames_at_a_time(work.side**2, work.batch_size)
    each = PIXEL_BYTES * together + REFERENCE_BYTES * work.references
    more = max(work.side**2 * each - CROP_SIZE**2 * (PIXEL_BYTES * DEFAULT_BATCH + REFERENCE_BYTES * USUAL), 0)
    samples = work.frames * SAMPLES_PER_FRAME * 4
    return MEMORY[work.renderer] + clip + more + samples + (ADAPT_MEMORY if work.adapt else 0)


def disk(work: Work) -> int:
    """Return the bytes of the finished video."""
    return int(work.frames * (work.written * BYTES_PIXEL + SOUND_SECOND / FPS))


def benchmark(clock: Callable[[], float]) -> float:
    """Return the seconds of a convolution like those of Θ on one thread: the median of five runs after a first one.

    clock: returns the time, seconds
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        image, kernel = torch.ones(1, 32, 128, 128), torch.ones(32, 32, 3, 3)
        taken = []
        with torch.inference_mode():
            for _ in range(6):
                began = clock()
                torch.nn.functional.conv2d(image, kernel, padding=1)
                taken.append(clock() - began)
    finally:
        torch.set_num_threads(threads)
    return sorted(taken[1:])[2]
