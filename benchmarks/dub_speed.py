"""Measure what ``thgen dub`` costs: frames per second at 720p and 1080p, beside decoding and encoding alone.

    python benchmarks/dub_speed.py [--ref CLIP] [--seconds 20 60] [--out docs/benchmarks_dub.md]

The videos are the demo's clip, made first where there is none, enlarged to three quarters of the picture's height on a
grey ground, and repeated. Each is dubbed in a process of its own, without a kept first pass, by both renderers. The
machine must be idle, because seconds are those of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from generate import SPEECH, machine, repeat

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"720p": (1280, 720), "1080p": (1920, 1080)}
ONE = """
import json, resource, sys, time
from thcli import DubOptions, dub
began = time.perf_counter()
result = dub(sys.argv[1], sys.argv[2], sys.argv[3], DubOptions(renderer=sys.argv[4], length="video"))
mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"frames": result.frames, "seconds": dict(result.seconds), "mib": mib}))
"""
"""Program of a process that dubs one video."""


def main() -> None:
    """Measure all sizes, print the table, and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ref", type=Path, default=ROOT / "demo" / "reference.mp4")
    parser.add_argument("--seconds", type=int, nargs="+", default=[20, 60])
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "benchmarks_dub.md")
    given = parser.parse_args()
    if not given.ref.is_file():
        from thcli.generation.demo import make_demo

        make_demo(given.ref.parent, overwrite=True)
    lines = ["| video | job | frames/s | seconds | MiB | track | move | draw |", "|---|---|" + "---:|" * 6]
    with tempfile.TemporaryDirectory() as scratch:
        for seconds in given.seconds:
            speech = Path(scratch) / f"{seconds}.wav"
            repeat(SPEECH, speech, seconds)
            for name, size in SIZES.items():
                video = Path(scratch) / f"{name}-{seconds}.mp4"
                enlarge(given.ref, speech, video, size, seconds)
                lines += rows(f"{name}, {seconds} s", video, speech, Path(scratch))
                print("\n".join(lines[-3:]), flush=True)
    where = ", ".join(f"{key} {value}" for key, value in machine().items())
    head = ["# Speed of dubbing", "", f"Made by `make bench` on an idle machine: {where}.", ""]
    given.out.write_text("\n".join([*head, *lines, ""]), encoding="utf-8")


def rows(name: str, video: Path, speech: Path, folder: Path) -> list[str]:
    """Return the rows of one video: decoding and encoding alone, and dubbed by both renderers."""
    from thcli.clips.ffmpeg import executable, h264_encoder

    encoder = h264_encoder(quick=True)
    settings = [part for key, value in encoder.options for part in (f"-{key}", value)]
    began = time.perf_counter()
    command = [executable(), "-v", "error", "-y", "-i", str(video), "-c:v", encoder.name, *settings]
    subprocess.run([*command, str(folder / "copy.mp4")], check=True)
    alone, made = time.perf_counter() - began, []
    for renderer in ("network", "warp"):
        cache = {**os.environ, "XDG_CACHE_HOME": str(folder / renderer / video.stem)}
        began = time.perf_counter()
        target = folder / f"{video.stem}-{renderer}.mp4"
        arguments = [sys.executable, "-c", ONE, str(video), str(speech), str(target), renderer]
        done = subprocess.run(arguments, check=True, stdout=subprocess.PIPE, env=cache)
        made.append((renderer, time.perf_counter() - began, json.loads(done.stdout)))
    frames = made[0][2]["frames"]
    found = [f"| {name} | decoding and encoding alone | {frames / alone:.1f} | {alone:.1f} | | | | |"]
    for renderer, total, told in made:
        stages = " | ".join(f"{told['seconds'].get(stage, 0):.1f}" for stage in ("track", "move", "draw"))
        found.append(f"| {name} | {renderer} | {frames / total:.1f} | {total:.1f} | {told['mib']:.0f} | {stages} |")
    return found


def enlarge(source: Path, speech: Path, target: Path, size: tuple[int, int], seconds: float) -> None:
    """Write the clip again and again in the middle of a larger picture, with a speech as its own sound."""
    from thcli.clips.ffmpeg import executable

    width, height = size
    side = height * 3 // 4 // 2 * 2
    scaled = f"scale={side}:{side}:flags=lanczos,pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:gray,format=yuv420p"
    command = [executable(), "-v", "error", "-y", "-stream_loop", "-1", "-i", str(source), "-i", str(speech)]
    command += ["-map", "0:v", "-map", "1:a", "-vf", scaled, "-t", str(seconds), "-preset", "veryfast", "-crf", "18"]
    subprocess.run([*command, str(target)], check=True)


if __name__ == "__main__":
    main()
