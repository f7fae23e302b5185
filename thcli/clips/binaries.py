"""Which ffmpeg binaries are installed, and which of them are new enough."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
from functools import lru_cache

OLDEST = (5, 1)
"""Oldest ffmpeg that knows every option that thgen gives: ``-fps_mode`` came with 5.1."""


@lru_cache(maxsize=1)
def installed() -> tuple[str, ...]:
    """Return the ffmpeg binaries found, however old: the system's, then the one in imageio-ffmpeg."""
    import imageio_ffmpeg

    found = [shutil.which("ffmpeg")]
    with contextlib.suppress(RuntimeError):
        found.append(imageio_ffmpeg.get_ffmpeg_exe())
    return tuple(dict.fromkeys(path for path in found if path))


@lru_cache(maxsize=4)
def version(binary: str) -> str:
    """Return the version that an ffmpeg states, or nothing where it does not run or is no ffmpeg."""
    try:
        done = subprocess.run([binary, "-version"], stdin=subprocess.DEVNULL, capture_output=True, check=False)
    except OSError:
        return ""
    words = done.stdout.decode(errors="replace").split(maxsplit=3)
    return words[2] if words[:2] == ["ffmpeg", "version"] and len(words) > 2 else ""


def too_old(binary: str) -> bool:
    """Whether an ffmpeg is older than ``OLDEST``; one whose version is no number, such as a git build, is not."""
    number = re.match(r"n?(\d+)(?:\.(\d+))?", version(binary))  # release tags, and so some builds, begin with n
    return number is not None and (int(number[1]), int(number[2] or 0)) < OLDEST


def old_ones() -> str:
    """Return the ffmpegs that are too old with their versions, for messages: nothing where there are none."""
    return " and ".join(f"{version(binary)} at {binary}" for binary in installed() if too_old(binary))
