"""Reading of any audio file, or of a video's audio, as 16 kHz mono."""

from __future__ import annotations

import contextlib
import math
import re
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

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
from thcli.clips.probe import MediaInfo, media_info
from thcli.clips.seek import beginning
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
LARGEST = 2.0**31
"""Largest absolute sample that is taken for sound: that of 32-bit integers, which some programs store as floats."""
CANCELLED = 0.5
"""Energy of the sum of all channels, over that of the loudest channel, below which they cancel each other."""
PADDING = 0.25
"""Most seconds of sound that an encoder adds; a header that states a still shorter length is wrong."""
_TRUE_LENGTH = ("mov", "matroska")
"""Containers whose header states the length of the sound; others estimate it, or state it only roughly."""
_ROUNDING = 0.005
"""Seconds by which ffmpeg rounds the duration that it prints."""
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


@dataclass(frozen=True)
class Levels:
    """Loudness of a file's sound, at its own rate and in all its channels.

    peak: largest absolute sample
    clipped: share of the samples at full scale or beyond; at the peak, in a file of floats that go beyond full scale
    louder: number of the loudest channel, from 0, where only it is read because the channels cancel each other; or None
    """

    peak: float
    clipped: float
    louder: int | None = None


def read_speech(
    source: Path | str | MediaInfo, start: float = 0.0, seconds: float | None = None, levels: Levels | None = None
) -> Speech:
    """Read an audio file, the audio of a video, or standard input (``-``) as 16 kHz mono.

    start, seconds: part to read, on the file's own clock, so that it matches ``read_clip`` of the same part
    levels: levels of the file by ``measure_levels``; None where they are still to be measured

    Of several tracks of sound the default one is read. Channels are mixed; where they cancel each other, only the
    loudest is read. Samples stay as loud as they are, unless one exceeds 1: then all are scaled to a peak of 1.

    Raises MediaError for a file without audio, for less than ``MIN_SECONDS`` or more than ``MAX_SECONDS``, and for
    samples that are not finite.
    """
    name = source.path if isinstance(source, MediaInfo) else Path(source)
    with local_audio(name) as path:
        info = with_sound(source if isinstance(source, MediaInfo) else path)
        if levels is None and not info.sound.mono:
            levels = measure_levels(info)
        samples, log = _decode(info, start, seconds, levels.louder if levels else None)
        if seconds is None:
            samples = _without_padding(samples, info, start)
    peak = _check(label(path), samples, log)
    return Speech(samples / np.float32(peak) if peak > 1 else samples, name)


def with_sound(source: Path | MediaInfo) -> MediaInfo:
    """Return the contents of a file. Raises MediaError where it has no audio stream."""
    info = media_info(source)
    if not info.audio:
        raise MediaError(f"{label(info.path)}: no audio stream; give a sound file or a video with sound")
    return info


def measure_levels(source: Path | MediaInfo) -> Levels:
    """Measure the loudness of the sound that ``read_speech`` reads. Raises MediaError for a file without audio."""
    info = with_sound(source)
    # AU, because its header tells the number of channels.
    sound = open_input(info.path)[f"a:{info.sound.index}"].output("pipe:1", format="au", acodec="pcm_f32be")
    peak, at_limit, count = 0.0, 0, 0
    with Reader(arguments(sound), label(info.path)) as reader:
        channels = _read_au_header(reader)
        products = np.zeros((channels, channels))
        block = memoryview(bytearray(_CHUNK - _CHUNK % (4 * channels)))
        while got := reader.fill(block):
            samples = np.frombuffer(block[: got - got % (4 * channels)], ">f4").reshape(-1, channels)
            samples = np.nan_to_num(samples.astype(np.float64), posinf=0, neginf=0)
            loud = np.abs(samples)
            if info.sound.floating and loud.max(initial=0) > max(peak, 1):
                at_limit = 0
            peak = max(peak, float(loud.max(initial=0)))
            full = max(peak, 1) if info.sound.floating else 1
            at_limit += int(np.count_nonzero(loud >= FULL_SCALE * full))
            count += loud.size
            products += samples.T @ samples
    energy = products.diagonal()
    cancelling = products.sum() < CANCELLED * energy.max()
    return Levels(peak, at_limit / max(count, 1), int(energy.argmax()) if cancelling else None)


def _read_au_header(reader: Reader) -> int:
    """Read the header of an AU file up to the samples, and return the number of channels."""
    header = bytearray(24)
    if reader.fill(memoryview(header)) < len(header):
        return 1
    _, offset, _, _, _, channels = np.frombuffer(header, ">u4").tolist()
    reader.fill(memoryview(bytearray(offset - len(header))))
    return int(channels)


def timed_sound(info: MediaInfo, rate: int, channel: int | None = None) -> Any:
    """Return ffmpeg's stream of a file's sound, or of one channel of it, at ``rate`` Hz, by the clock of its video."""
    stream = open_input(info.path)[f"a:{info.sound.index}"]
    if channel is not None:
        stream = stream.filter("channelmap", map=channel, channel_layout="mono")
    if info.video:
        late = beginning(info.path, info.format, f"a:{info.sound.index}") - beginning(info.path, info.format, "V:0")
        stream = stream.filter("asetpts", f"PTS+({late:.6f})/TB") if late else stream
    return on_timeline(stream, rate)


def _decode(info: MediaInfo, start: float, seconds: float | None, channel: int | None) -> tuple[Float, str]:
    """Return the samples [S] float32 at 16 kHz, of one channel or of all mixed, and ffmpeg's messages."""
    audio = timed_sound(info, SAMPLE_RATE, channel)
    if start > 0 or seconds is not None:
        part = {} if seconds is None else {"duration": seconds}
        audio = audio.filter("atrim", start=start, **part)
    command = arguments(audio.output("pipe:1", format="f32le", ac=1, ar=SAMPLE_RATE))
    data = bytearray()
    block = memoryview(bytearray(_CHUNK))
    with Reader(command, label(info.path)) as reader:
        while got := reader.fill(block):
            data += block[:got]
            if len(data) > 4 * MAX_SECONDS * SAMPLE_RATE:
                raise MediaError(
                    f"{label(info.path)}: more than {MAX_SECONDS // 3600} hours of sound; cut it into parts"
                )
        log = reader.finish()
    return np.frombuffer(data, "<f4", len(data) // 4).astype(np.float32, copy=False), log


def _without_padding(samples: Float, info: MediaInfo, start: float) -> Float:
    """Return the samples from ``start`` on up to the end that the file states.

    Encoders fill their last frame with silence, which ffmpeg 7 and older versions return as sound.
    """
    if info.duration is None or not info.format.startswith(_TRUE_LENGTH):
        return samples
    end = info.duration + _ROUNDING
    if info.format.startswith("mov"):
        end = min(end, _end_of_packets(info))
    count = math.ceil((end - start) * SAMPLE_RATE - 1e-3)
    return samples[:count] if 0 < len(samples) - count <= PADDING * SAMPLE_RATE else samples


def _end_of_packets(info: MediaInfo) -> float:
    """Return the second at which the last packet of the sound ends by its time stamps; infinity where it is unknown."""
    packets = open_input(info.path)[f"a:{info.sound.index}"].output("pipe:1", format="framecrc", c="copy")
    head, tail = b"", b""
    block = memoryview(bytearray(_CHUNK))
    with Reader(arguments(packets), label(info.path)) as reader:
        while got := reader.fill(block):
            head, tail = head or bytes(block[:got]), (tail + block[:got])[-_CHUNK:]
    unit = re.search(rb"^#tb 0: (\d+)/(\d+)", head, re.MULTILINE)
    last = re.search(rb"^0, +-?\d+, +(-?\d+), +(\d+), .*\Z", tail.rstrip(), re.MULTILINE)
    if unit is None or last is None:
        return math.inf
    return (int(last[1]) + int(last[2])) * int(unit[1]) / int(unit[2])


def _check(name: str, samples: Float, log: str) -> float:
    """Return the largest absolute sample. Raises MediaError for too little sound, and for samples that are none."""
    check_seconds(name, len(samples) / SAMPLE_RATE, f" ({complaint(log)})" if log else "")
    peak = float(max(samples.max(), -samples.min()))
    if not math.isfinite(peak):
        bad = np.count_nonzero(~np.isfinite(samples))
        raise MediaError(
            f"{name}: {bad} samples are not numbers (NaN or infinite); export the recording again as 16-bit WAV"
        )
    if peak > LARGEST:
        raise MediaError(f"{name}: a sample of {peak:.3g}, expected -1 to 1; export the recording again as 16-bit WAV")
    return peak


def check_seconds(name: str, seconds: float, why: str = "") -> None:
    """Raise MediaError for a recording that is too short.

    name: of the file, for the message
    why: what ffmpeg said of it
    """
    if seconds < MIN_SECONDS:
        raise MediaError(
            f"{name}: {seconds:.2f} s of sound{why}, expected at least {MIN_SECONDS} s; use a longer recording"
        )


def _is_pipe(path: Path) -> bool:
    with contextlib.suppress(OSError):
        return stat.S_ISFIFO(path.stat().st_mode)
    return False
