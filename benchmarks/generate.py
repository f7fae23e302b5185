"""Seconds a stage and peak memory of ``thgen generate`` for short and long speech, as a table.

    python benchmarks/generate.py [--ref CLIP] [--seconds 10 300]

The reference is the demo's clip, made first where it is not there. Each line is a process of its own, whose peak
memory is what the operating system counted.
"""

from __future__ import annotations

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import wave
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SPEECH = ROOT / "samples" / "speech.wav"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path, default=ROOT / "demo" / "reference.mp4")
    parser.add_argument("--seconds", type=float, nargs="+", default=[10.0, 300.0])
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(measure(given.ref, given.one)))
        return
    if not given.ref.is_file():
        from thcli.demo import make_demo

        make_demo(given.ref.parent, overwrite=True)
    rows = [run_apart(given.ref, seconds) for seconds in given.seconds]
    print(f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, {given.ref}\n")
    print(table(rows))


def run_apart(reference: Path, seconds: float) -> dict[str, float]:
    """``measure`` in a new process."""
    command = [sys.executable, __file__, "--ref", str(reference), "--one", str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    row: dict[str, float] = json.loads(done.stdout)
    return row


def measure(reference: Path, seconds: float) -> dict[str, float]:
    """One video: seconds a stage, frames a second, peak memory in MiB."""
    from thcli.pipeline import GenerateOptions, generate

    with tempfile.TemporaryDirectory() as scratch:
        audio = Path(scratch) / "speech.wav"
        repeat(SPEECH, audio, seconds)
        result = generate(reference, audio, Path(scratch) / "out.mp4", GenerateOptions(overwrite=True))
    total = sum(result.seconds.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"audio": seconds, **result.seconds, "total": total, "fps": result.frames / total, "MiB": peak}


def repeat(source: Path, target: Path, seconds: float) -> None:
    """The recording over and over, ``seconds`` long."""
    with wave.open(str(source), "rb") as sound, wave.open(str(target), "wb") as longer:
        longer.setparams(sound.getparams())
        once = sound.readframes(sound.getnframes())
        size = round(seconds * sound.getframerate()) * sound.getsampwidth() * sound.getnchannels()
        longer.writeframes((once * (size // len(once) + 1))[:size])


def table(rows: list[dict[str, float]]) -> str:
    """Markdown."""
    names = list(rows[0])
    lines = ["| " + " | ".join(names) + " |", "|" + "---:|" * len(names)]
    return "\n".join([*lines, *("| " + " | ".join(f"{row.get(name, 0):.1f}" for name in names) + " |" for row in rows)])


if __name__ == "__main__":
    main()
