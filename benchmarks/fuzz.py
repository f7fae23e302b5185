"""Test thgen on damaged and forged media: `python benchmarks/fuzz.py [--count N] [--seed N] [--keep DIR]`.

Small media files of every common kind are made, then mutated: bits are flipped, ends cut off, numbers in headers
replaced by extreme ones, blocks removed, repeated or swapped with those of another kind. Each file goes through
``thgen inspect`` and ``thgen generate --dry-run``, as a reference or as audio. Each command must succeed, or say one
line and end with exit code 3 or 4 (6 where something asks for too much memory). A bug, more than one line, a file left
behind or more than ``MOST_SECONDS`` of processor time is a fault; then the exit code is 1, and the file stands in DIR.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from thcli.clips.ffmpeg import executable

PHOTOS = ("photo.png", "photo.jpg", "photo.webp", "photo.tif", "photo.bmp")
VIDEOS = ("clip.mp4", "clip.webm", "clip.mkv", "clip.avi", "clip.ts", "clip.gif", "clip.apng")
SOUNDS = ("speech.wav", "speech.mp3", "speech.flac", "speech.ogg", "speech.m4a")
CODES = (0, 3, 4, 6)
"""Exit codes that are no fault."""
MOST_SECONDS = 30.0
"""Most CPU seconds of a command that are no fault."""
FRAMES, SIDE = 6, 128
"""Frames of a video, and side of its images in pixels."""
EXTREMES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""Numbers that replace others."""


@dataclass(frozen=True)
class Attempt:
    """One command on one mutated file.

    name, mutation: the file, and how it was mutated
    command, code, said: the command, its exit code and its error
    fault: what is wrong with what the command did; empty where nothing is
    """

    name: str
    mutation: str
    command: str
    code: int
    said: str
    fault: str


def make_seeds(folder: Path) -> list[Path]:
    """Write a file of each kind; those with images show a face. Return their paths."""
    from skimage.data import astronaut

    portrait = Image.fromarray(astronaut()[:256, 96:352]).resize((SIDE, SIDE))
    for name in PHOTOS:
        portrait.save(folder / name)
    (folder / "frames").write_bytes(b"".join(np.roll(portrait, t, axis=1).tobytes() for t in range(FRAMES)))
    images = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIDE}x{SIDE}", "-r", "25", "-i", folder / "frames")
    tone = ("-f", "lavfi", "-i", f"sine=frequency=300:sample_rate=16000:duration={FRAMES / 25}")
    for name in VIDEOS:
        silent = name.endswith(("gif", "png"))
        _ffmpeg(*images, *(() if silent else (*tone, "-shortest")), *(("-pix_fmt", "yuv420p") * (not silent)),
                folder / name)  # fmt: skip
    for name in SOUNDS:
        _ffmpeg(*tone, folder / name)
    return [folder / name for name in (*PHOTOS, *VIDEOS, *SOUNDS)]


def mutated(data: bytes, other: bytes, dice: random.Random) -> tuple[str, bytes]:
    """Mutate the data at random; return the mutation's name and the result. ``other`` is a file of another kind."""
    name = dice.choice(list(MUTATIONS))
    content = bytearray(data)
    MUTATIONS[name](content, other, dice)
    return name, bytes(content)


def _flip(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Flip some bits."""
    for _ in range(dice.choice((1, 2, 8, 64, 512))):
        content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)


def _cut(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Cut the end off."""
    del content[dice.randrange(1, len(content)) :]


def _edit_header(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Replace numbers in the first 512 bytes."""
    for _ in range(dice.randint(1, 4)):
        _put_extreme(content, dice.randrange(min(len(content), 512)), dice)


def _edit_anywhere(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Replace numbers anywhere."""
    for _ in range(dice.randint(1, 16)):
        _put_extreme(content, dice.randrange(len(content)), dice)


def _put_extreme(content: bytearray, at: int, dice: random.Random) -> None:
    """Replace the number at a place by an extreme one of 1, 2 or 4 bytes."""
    width = dice.choice((1, 2, 4))
    number = dice.choice(EXTREMES) & ((1 << 8 * width) - 1)
    content[at : at + width] = number.to_bytes(width, dice.choice(("little", "big")))


def _remove(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Remove a block."""
    at = dice.randrange(len(content))
    del content[at : at + dice.randint(1, 64)]


def _repeat(content: bytearray, _: bytes, dice: random.Random) -> None:
    """Repeat a block."""
    at = dice.randrange(len(content))
    content[at:at] = content[at : at + dice.randint(1, 256)] * dice.randint(1, 50)


def _graft(content: bytearray, other: bytes, dice: random.Random) -> None:
    """Replace the end by that of another file."""
    at, begin = dice.randrange(len(content)), dice.randrange(len(other))
    content[at:] = other[begin:]


MUTATIONS: dict[str, Callable[[bytearray, bytes, random.Random], None]] = {
    "bits flipped": _flip,
    "cut off": _cut,
    "header edited": _edit_header,
    "numbers edited": _edit_anywhere,
    "block removed": _remove,
    "block repeated": _repeat,
    "grafted": _graft,
}


def attempts(folder: Path, count: int, seed: int, keep: Path | None = None, first: int = 0) -> Iterator[Attempt]:
    """Mutate files and run both commands on each, in ``folder``; meanwhile it serves for temporary files, too.

    first: number of files to leave out; each file depends on ``seed`` and its number alone
    """
    seeds = {path.name: path.read_bytes() for path in make_seeds(folder)}
    good = (folder / "photo.png", folder / "speech.wav")
    work = folder / "work"
    work.mkdir()
    for index in range(first, count):
        dice = random.Random(f"{seed} {index}")
        name, other = dice.sample(sorted(seeds), 2)
        mutation, content = mutated(seeds[name], seeds[other], dice)
        path = work / f"{index}-{name}"
        path.write_bytes(content)
        faulty = False
        for command in _commands(path, *good):
            attempt = _attempt(path, mutation, command)
            faulty |= bool(attempt.fault)
            yield attempt
        if faulty and keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / path.name).write_bytes(content)
        path.unlink()


def _commands(path: Path, photo: Path, speech: Path) -> list[list[str]]:
    """Return both commands on a file, with a good photo or a good recording beside it."""
    dry = ["generate", "--dry-run", "--renderer", "warp", "--device", "cpu", "-o", "out.mp4"]
    as_audio = path.name.endswith(SOUNDS)
    given = ["--ref", str(photo if as_audio else path), "--audio", str(path if as_audio else speech)]
    return [["inspect", str(path), "-o", "sheet.png"], dry + given]


def _attempt(path: Path, mutation: str, command: list[str]) -> Attempt:
    """Run a command in the folder of the file."""
    from click.testing import CliRunner

    from thcli.commands.main import main as thgen

    work, before = path.parent, Path.cwd()
    os.chdir(work)
    tempfile.tempdir = str(work)
    began = _cpu_seconds()
    try:
        result = CliRunner().invoke(thgen, command)
    finally:
        os.chdir(before)
        tempfile.tempdir = None
    seconds = _cpu_seconds() - began
    left = {p.name for p in work.rglob("*")} - {path.name}
    if command[0] == "inspect" and result.exit_code == 0:
        left.discard("sheet.png")
        (work / "sheet.png").unlink()
    fault = _fault(result.exit_code, result.stderr, seconds, left)
    return Attempt(path.name, mutation, command[0], result.exit_code, result.stderr.strip(), fault)


def _fault(code: int, said: str, seconds: float, left: set[str]) -> str:
    """Return what is wrong with what a command did."""
    if code not in CODES:
        return f"exit code {code}"
    if code and (said.count("\n") != 1 or not said.startswith("thgen: error: ")):
        return "not one line"
    if seconds > MOST_SECONDS:
        return f"{seconds:.0f} s of processor time"
    return f"left {', '.join(sorted(left))}" if left else ""


def _cpu_seconds() -> float:
    """Return the CPU seconds of this process and its finished children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _ffmpeg(*arguments: object) -> None:
    """Run ffmpeg."""
    subprocess.run([executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def main() -> None:
    """Run all attempts and print the faults."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, metavar="N", help="go on from the N-th file")
    parser.add_argument("--keep", type=Path, default=Path("build/fuzz"), metavar="DIR")
    arguments = parser.parse_args()
    codes: Counter[tuple[str, int]] = Counter()
    faults = 0
    with tempfile.TemporaryDirectory() as folder:
        for attempt in attempts(
            Path(folder), arguments.count, arguments.seed, arguments.keep.absolute(), arguments.first
        ):
            codes[attempt.command, attempt.code] += 1
            if attempt.fault:
                faults += 1
                print(f"{attempt.name} ({attempt.mutation}), {attempt.command}: {attempt.fault}: {attempt.said}")
    print(f"{arguments.count - arguments.first} files, {faults} faults; " + ", ".join(
        f"{command}: {number} with exit code {code}" for (command, code), number in sorted(codes.items())
    ))  # fmt: skip
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
