"""Measure the constants of thcli/generation/estimate.py: `python benchmarks/calibrate.py CLIP SPEECH`.

For each job it prints the CPU seconds by stage and the peak memory of `thgen generate` on this machine. Every job runs
in a process of its own, with one more that draws. CPU seconds of all of them and of ffmpeg are counted, so that other
programs disturb little.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

JOBS = {
    "warp": {"renderer": "warp"},
    "network": {},
    "warp 512": {"renderer": "warp", "size": "512"},
    "network 512": {"size": "512"},
    "report": {"renderer": "warp", "report": "report.json"},
    "adapt": {"adapt": 8},
}
"""Options of the jobs, by name."""


class Stages:
    """Display of progress that counts the CPU seconds of each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.name, self.began, self.first = "", 0.0, 0.0

    def stage(self, name: str, total: int | None) -> None:
        """Begin a stage, and end the one before."""
        now = cpu_seconds()
        self.first = self.first or now
        if self.name:
            self.seconds[self.name] = now - self.began
        self.name, self.began = name, now

    def advance(self, frames: int = 1) -> None:
        """Do nothing, because frames are not counted."""


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of those that it started and that have ended."""
    return sum(os.times()[:4])


def job(clip: Path, speech: Path, options: str) -> None:
    """Run a job in this process and print its figures."""
    import resource

    import torch

    from thcli import GenerateOptions, generate

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        stages, output = Stages(), Path(folder) / "out.mp4"
        given = json.loads(options)
        if "report" in given:
            given["report"] = Path(folder) / given["report"]
        made = generate(clip, speech, output, GenerateOptions(device="cpu", **given), stages)
        stages.stage("end", None)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            json.dumps(
                {
                    "frames": made.frames,
                    "start": round(stages.first, 3),
                    "cpu": {name: round(seconds, 3) for name, seconds in stages.seconds.items()},
                    "draw a frame": round(stages.seconds["draw"] / made.frames, 4),
                    "peak MiB": round(peak),
                    "bytes a frame": output.stat().st_size // made.frames,
                }
            )
        )


def main() -> None:
    """Run all jobs, each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path)
    parser.add_argument("speech", type=Path)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.job is not None:
        job(arguments.clip, arguments.speech, arguments.job)
        return
    alone = "import time; from thcli.generation.estimate import benchmark; print(benchmark(time.process_time))"
    taken = [subprocess.run([sys.executable, "-c", alone], stdout=subprocess.PIPE, check=True).stdout for _ in range(5)]
    print(f"benchmark    {sorted(map(float, taken))[2]:.4f}, in a process that does nothing else, as with --dry-run")
    for name, options in JOBS.items():
        command = [sys.executable, __file__, str(arguments.clip), str(arguments.speech), "--job", json.dumps(options)]
        done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stdout=subprocess.PIPE, check=True)
        print(f"{name:<12} {done.stdout.decode().strip()}", flush=True)


if __name__ == "__main__":
    main()
