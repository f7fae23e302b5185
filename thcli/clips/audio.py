"""Reading of any audio file, or of a video's audio, as 16 kHz mono."""

from __future__ import annotations

import contextlib
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from thcli.clips.ffmpeg import (
    STDIN_NAME,
    Reader,
    arguments,
    complaint,
    label,
    on_timeline,
    open_input,
    scratch_folder,
)
from thcli.clips.probe import MediaInfo, probe
from thcli.errors import MediaError
from thcli.records import SAMPLE_RATE, Float, Speech

MIN_SECONDS = 0.1
"""Least seconds of speech."""
MAX_SECONDS = 4 * 3600
"""Most seconds of speech; a file of a few bytes can claim a gap of years, which would be filled with silence."""
MAX_SPOOLED = 8 << 30
"""Most bytes of a pipe that are copied to disk."""
FULL_SCALE = 0.999
"""Level from which a sample counts as being at full scale."""
_CHUNK = 1 << 20
"""Bytes read at a time."""


@contextlib.contextmanager
def local_audio(source: Path | str) -> Iterator[Path]:
    """Yield a regular file of the audio while the block runs; ``-`` and named pipes are copied to disk first.

    The audio is needed a second time where it is mixed into a video, and many formats cannot be read from a pipe.
    """
    source = Path(source)
    if str(source) != "-" and not _is_pipe(source):
        yield source
        return
    with scratch_folder() as folder:
        spooled = folder / (STDIN_NAME if str(source) == "-" else source.name)
        if str(source) == "-":
            _spool(sys.stdin.buffer, spooled)
        else:
            with open(source, "rb") as pipe:
                _spool(pipe, spooled)
        if spooled.stat().st_size == 0:
            raise MediaError(f"{label(spooled)}: no bytes came; pipe a sound file into it")
        yield spooled


def _spool(pipe: IO[bytes], target: Path) -> None:
    with open(target, "wb") as file:
        while block := pipe.read(_CHUNK):
            if file.tell() + len(block) > MAX_SPOOLED:
                raise MediaError(f"{label(target)}: more than {MAX_SPOOLED >> 30} GB came; pipe a shorter recording")
            file.write(block)


def read_speech(source: Path | str | MediaInfo, start: float = 0.0, seconds: float | None = None) -> Speech:
    """Read an audio file, the audio of a video, or standard input (``-``) as 16 kHz mono.

    start, seconds: part to read, on the file's own clock, so that it matches ``read_clip`` of the same part

    Samples stay as loud as they are, unless one exceeds 1: then all are scaled to a peak of 1.

    Raises MediaError for a file without audio, for less than ``MIN_SECONDS`` or more than ``MAX_SECONDS``, and for
    samples that are not finite.
    """
    name = source.path if isinstance(source, MediaInfo) else Path(source)
    with local_audio(name) as path:
        info = source if isinstance(source, MediaInfo) else probe(path)
        if not info.audio:
            raise MediaError(f"{label(path)}: no audio stream; give a sound file or a video with sound")
        samples, log = _decode(path, start, seconds)
    _check(label(path), samples, log)
    peak = float(max(samples.max(), -samples.min()))
    return Speech(samples / np.float32(peak) if peak > 1 else samples, name)


def clipped_share(source: Path) -> float:
    """Return the share of a file's samples, at its own rate and in all its channels, at full scale or beyond."""
    command = arguments(open_input(source)["a:0"].output("pipe:1", format="f32le"))
    at_limit, count = 0, 0
    block = memoryview(bytearray(_CHUNK))
    with Reader(command, label(source)) as reader:
        while got := reader.fill(block):
            samples = np.frombuffer(block[: got - got % 4], "<f4")
            at_limit += int(np.count_nonzero(np.abs(samples) >= FULL_SCALE))
            count += len(samples)
    return at_limit / max(count, 1)


def _decode(path: Path, start: float, seconds: float | None) -> tuple[Float, str]:
    """Return the samples [S] float32 at 16 kHz and ffmpeg's messages."""
    audio = on_timeline(open_input(path)["a:0"], SAMPLE_RATE)
    if start > 0 or seconds is not None:
        part = {} if seconds is None else {"duration": seconds}
        audio = audio.filter("atrim", start=start, **part)
    command = arguments(audio.output("pipe:1", format="f32le", ac=1, ar=SAMPLE_RATE))
    data = bytearray()
    block = memoryview(bytearray(_CHUNK))
    with Reader(command, label(path)) as reader:
        while got := reader.fill(block):
            data += block[:got]
            if len(data) > 4 * MAX_SECONDS * SAMPLE_RATE:
                raise MediaError(f"{label(path)}: more than {MAX_SECONDS // 3600} hours of sound; cut it into parts")
        log = reader.finish()
    return np.frombuffer(data, "<f4", len(data) // 4).astype(np.float32, copy=False), log


def _check(name: str, samples: Float, log: str) -> None:
    why = f" ({complaint(log)})" if log else ""
    seconds = len(samples) / SAMPLE_RATE
    if seconds < MIN_SECONDS:
        raise MediaError(
            f"{name}: {seconds:.2f} s of sound{why}, expected at least {MIN_SECONDS} s; use a longer recording"
        )
    bad = np.count_nonzero(~np.isfinite(samples))
    if bad:
        raise MediaError(
            f"{name}: {bad} samples are not numbers (NaN or infinite); export the recording again as 16-bit WAV"
        )


def _is_pipe(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(path.stat().st_mode)
    return False
