"""Measure what ``thgen generate`` costs: seconds per stage, frames per second and peak memory, as a table in a file.

    python benchmarks/generate.py [--ref CLIP] [--rows NAME …] [--out docs/benchmarks.md] [--seconds 10]

There are three groups of rows: the usual job (75 frames of reference, 10 s of audio) by renderer, jobs by the length of
the audio, the length of the reference and the size of the video, and ``thgen --help``. Each row is a process of its
own, whose peak memory the operating system counts. All of them take some ten minutes, two thirds of which go to the
longest audio; ``--rows network warp`` takes one. The table goes to ``--out`` as Markdown, with the machine and the
versions, and as JSON beside it; earlier figures stand below. The reference is the demo's clip, made first where there
is none. The machine must be idle, because seconds are those of the clock. The table holds the CPU seconds, too, with
those of ffmpeg.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
import wave
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "samples" / "speech.wav"
REFERENCE_FRAMES = 75
VERSIONS = ("thgen", "torch", "numpy", "onnxruntime")
EARLIER = """\
| 2026-11-23, before issue 6 | seconds | frames a second | MiB |
|---|---:|---:|---:|
| network, 9 s of audio | 21 | 11 | 1500 |
| warp, 10 s of audio | 7 | 35 | 800 |
"""
"""Figures that the same commands gave on the same two cores."""


@dataclass(frozen=True)
class Row:
    """A job.

    audio: length of the speech, seconds
    reference: number of frames of the reference
    size: value of ``--size``
    width: width in pixels to which the reference is enlarged; None to leave it as it is
    """

    name: str
    audio: float = 10.0
    reference: int = REFERENCE_FRAMES
    renderer: str = "network"
    size: str = "256"
    width: int | None = None


@dataclass(frozen=True)
class Cost:
    """Cost of a job.

    frames: number of frames of the video
    total: seconds of the process, from its start to its end
    cpu: CPU seconds of all threads and children
    mib: peak memory of the process, MiB
    seconds: seconds of the clock, by stage
    """

    row: Row
    frames: int
    total: float
    cpu: float
    mib: float
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def fps(self) -> float:
        """Frames per second of the whole process."""
        return self.frames / self.total


def rows(seconds: float) -> list[Row]:
    """Return all jobs, with ``seconds`` of audio in the usual one."""
    return [
        Row("network", seconds),
        Row("warp", seconds, renderer="warp"),
        *(Row(f"audio {length:g} s", length) for length in (seconds / 2, 3 * seconds)),
        *(Row(f"audio {length:g} s, warp", length, renderer="warp") for length in (6 * seconds, 60 * seconds)),
        *(Row(f"reference {frames} frames", seconds, frames) for frames in (2, 25, 100)),
        *(Row(f"size {size}", seconds, size=size) for size in ("512", "1024", "source")),
        Row("4K", seconds, width=3840),
    ]


def main() -> None:
    """Measure the rows, print them, and write the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path, default=ROOT / "demo" / "reference.mp4")
    parser.add_argument("--seconds", type=float, default=10.0, help="seconds of audio in the usual job")
    parser.add_argument("--rows", nargs="+", default=[], help="only the rows whose names begin like this")
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(run(given.ref, Row(**json.loads(given.one)))))
        return
    if not given.ref.is_file():
        from thcli.generation.demo import make_demo

        make_demo(given.ref.parent, overwrite=True)
    chosen = [row for row in rows(given.seconds) if not given.rows or row.name.startswith(tuple(given.rows))]
    costs = []
    for row in chosen:
        costs.append(measure(given.ref, row))
        print(line(costs[-1]), flush=True)
    report = {"machine": machine(), "help": start_up(), "costs": [{**asdict(c), "fps": c.fps} for c in costs]}
    given.out.write_text(markdown(report["machine"], report["help"], costs), encoding="utf-8")
    given.out.with_suffix(".json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def measure(reference: Path, row: Row) -> Cost:
    """Make one video in a new process, and return its cost."""
    command = [sys.executable, __file__, "--ref", str(reference), "--one", json.dumps(asdict(row))]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    total, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    told = json.loads(done.stdout)
    # Cutting the clip and the speech to length is not part of the job.
    return Cost(row, told["frames"], total - told["made_in"], cpu - told["made_cpu"], told["mib"], told["seconds"])


def run(reference: Path, row: Row) -> dict[str, object]:
    """Make one video in this process, and return its figures."""
    began, cpu = time.perf_counter(), time.process_time()
    with tempfile.TemporaryDirectory() as scratch:
        audio, clip = Path(scratch) / "speech.wav", Path(scratch) / "reference.mp4"
        repeat(SPEECH, audio, row.audio)
        cut(reference, clip, row)
        made_in, made_cpu = time.perf_counter() - began, children() + time.process_time() - cpu
        from thcli import GenerateOptions, generate

        options = GenerateOptions(renderer=row.renderer, size=row.size)
        result = generate(clip, audio, Path(scratch) / "out.mp4", options)
    mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"frames": result.frames, "seconds": result.seconds, "mib": mib, "made_in": made_in, "made_cpu": made_cpu}


def children() -> float:
    """Return the CPU seconds of finished children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def cut(source: Path, target: Path, row: Row) -> None:
    """Write the first frames of a clip with its audio, repeated where it is shorter, by ffmpeg alone."""
    from thcli.clips.ffmpeg import executable

    command = [executable(), "-v", "error", "-stream_loop", "-1", "-i", str(source), "-r", "25"]
    if row.width is not None:
        command += ["-vf", f"scale={row.width}:-2"]
    command += ["-frames:v", str(row.reference), "-t", str(row.reference / 25), "-preset", "ultrafast", "-crf", "12"]
    subprocess.run([*command, str(target)], check=True)


def repeat(source: Path, target: Path, seconds: float) -> None:
    """Write a recording again and again, ``seconds`` long in all."""
    with wave.open(str(source), "rb") as sound, wave.open(str(target), "wb") as longer:
        longer.setparams(sound.getparams())
        once = sound.readframes(sound.getnframes())
        size = round(seconds * sound.getframerate()) * sound.getsampwidth() * sound.getnchannels()
        longer.writeframes((once * (size // len(once) + 1))[:size])


def start_up() -> dict[str, float]:
    """Return the seconds of ``thgen --help``, of the clock and of the CPU, the least of five runs."""
    command, walls, cpus = [sys.executable, "-m", "thcli", "--help"], [], []
    for _ in range(5):
        cpu, began = children(), time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        walls.append(time.perf_counter() - began)
        cpus.append(children() - cpu)
    return {"seconds": min(walls), "cpu": min(cpus)}


def machine() -> dict[str, str]:
    """Return the machine and the versions."""
    import torch

    from thcli.render.generator import quickest_precision

    named = [one.partition(":")[2].strip() for one in _cpuinfo() if one.startswith("model name")]
    return {
        "date": time.strftime("%Y-%m-%d"),
        "processor": (named or [platform.processor() or platform.machine()])[0],
        "cores": str(len(os.sched_getaffinity(0))),
        "threads of PyTorch": str(torch.get_num_threads()),
        "network in": str(quickest_precision("cpu")).removeprefix("torch."),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in VERSIONS},
    }


def _cpuinfo() -> list[str]:
    """Return what Linux says of its processors, line by line."""
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.is_file() else []


def markdown(where: dict[str, str], start: dict[str, float], costs: Sequence[Cost]) -> str:
    """Return the text of the file."""
    stages = list(dict.fromkeys(name for cost in costs for name in cost.seconds))
    head = ["job", "audio, s", "reference", "size", "frames/s", "seconds", "CPU s", "CPU ms a frame", "MiB", *stages]
    lines = [
        "# Speed and memory",
        "",
        f"Made by `make bench` on an idle machine: {', '.join(f'{name} {what}' for name, what in where.items())}.",
        "Seconds are those of a whole process; behind them by stage. Memory is its peak, without that of ffmpeg.",
        "",
        f"`thgen --help`: {start['seconds']:.2f} s, {start['cpu']:.2f} s of CPU.",
        "",
        "| " + " | ".join(head) + " |",
        "|---" + "|---:" * (len(head) - 1) + "|",
    ]
    lines += [line(cost, stages) for cost in costs]
    return "\n".join([*lines, "", "Earlier:", "", EARLIER])


def line(cost: Cost, stages: Sequence[str] | None = None) -> str:
    """Return a row of the table."""
    row = cost.row
    cells = [row.name, f"{row.audio:g}", str(row.reference), row.size, f"{cost.fps:.1f}", f"{cost.total:.1f}"]
    cells += [f"{cost.cpu:.1f}", f"{1000 * cost.cpu / cost.frames:.0f}", f"{cost.mib:.0f}"]
    cells += [f"{cost.seconds.get(name, 0):.2f}" for name in (stages or cost.seconds)]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
