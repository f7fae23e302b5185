"""Measure ``thgen generate`` alone, twice and four times side by side, which is what a busy machine does.

    python benchmarks/side_by_side.py --ref CLIP [--audio SPEECH] [--at-once 1 2 4] [--runs 3]
        [--settings NAME=VALUE,… …] [--options '--renderer warp']

Waiting threads that spin take the cores from whoever has work: without thgen's settings, two videos side by side on two
cores took ten times as long as one alone. The goal is 1.6 times for two, and 3 times for four. A row is the median of
the runs: seconds until the last of the processes ends, how many times those of one alone that is, CPU seconds of all
of them, and how many cores other programs used meanwhile, which must be near 0 for seconds that mean anything.
``--settings`` compares environments, each a list of variables; ``-`` stands for thgen's own. Runs are interleaved, so
that changes of the machine's speed concern all settings alike. ``--prefix`` puts a command such as ``taskset -c 0`` or
``nice`` before each process.
"""

from __future__ import annotations

import argparse
import os
import resource
import shlex
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "samples" / "speech.wav"


@dataclass(frozen=True)
class Cost:
    """Cost of some videos that were made at once.

    wall, cpu: seconds until the last was done, and CPU seconds of all
    others: cores that other programs used meanwhile; NaN where the system does not say
    """

    wall: float
    cpu: float
    others: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ref", type=Path, required=True, help="clip of a person")
    parser.add_argument("--audio", type=Path, default=SPEECH, help="speech; a few seconds suffice")
    parser.add_argument("--at-once", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--settings", nargs="+", default=["-"], help="environments to compare")
    parser.add_argument("--options", default="", help="further options of thgen generate")
    parser.add_argument("--prefix", default="", help="command that runs each process, such as 'taskset -c 0'")
    given = parser.parse_args()
    costs: dict[tuple[str, int], list[Cost]] = {}
    command = [*shlex.split(given.prefix), sys.executable, "-m", "thcli", "generate", "--ref", str(given.ref.resolve())]
    command += ["--audio", str(given.audio.resolve()), "--progress", "none", *shlex.split(given.options)]
    for _ in range(given.runs):
        for setting in given.settings:
            for number in given.at_once:
                costs.setdefault((setting, number), []).append(measure(command, number, environment(setting)))
    print(
        "| settings | at once | seconds | times one | CPU seconds | cores of others |\n|---|---:|---:|---:|---:|---:|"
    )
    for (setting, number), runs in costs.items():
        alone = costs.get((setting, 1), [])
        times = f"{median(c.wall for c in runs) / median(c.wall for c in alone):.2f}" if alone else "–"
        wall, cpu, others = (median(getattr(cost, name) for cost in runs) for name in ("wall", "cpu", "others"))
        print(f"| {setting} | {number} | {wall:.1f} | {times} | {cpu:.1f} | {others:.1f} |")


def environment(setting: str) -> dict[str, str]:
    """Return the environment of a process with the variables of a setting, and without others that set threads."""
    usual = {
        name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_", "MKL_"))
    }
    return usual | dict(pair.split("=", 1) for pair in setting.split(",") if setting != "-")


def measure(command: list[str], number: int, variables: dict[str, str]) -> Cost:
    """Make ``number`` videos at once."""
    with tempfile.TemporaryDirectory() as folder:
        busy, own, began = _busy(), _own(), time.perf_counter()
        running = [
            subprocess.Popen([*command, "-o", f"{folder}/{i}.mp4"], env=variables, stderr=subprocess.DEVNULL)
            for i in range(number)
        ]
        failed = sum(process.wait() != 0 for process in running)
        wall, cpu = time.perf_counter() - began, _own() - own
        if failed:
            sys.exit(f"{failed} of {number} failed: {shlex.join(command)}")
        return Cost(wall, cpu, (_busy() - busy - cpu) / wall)


def _own() -> float:
    """Return the CPU seconds of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _busy() -> float:
    """Return the CPU seconds of all programs since the machine started, and NaN on other systems than Linux."""
    try:
        user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    except OSError:
        return float("nan")
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
