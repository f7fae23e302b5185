"""Decoding of any video to frames at 25 fps by timestamps, upright, with square pixels; of any photo to one frame."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thcli.clips import colour
from thcli.clips.ffmpeg import Reader, arguments, complaint, first_with, label, open_input
from thcli.clips.photo import read_photo
from thcli.clips.probe import MIN_SIDE, MediaInfo, media_info
from thcli.clips.seek import seek_options, seek_time
from thcli.errors import DeviceError, MediaError
from thcli.records import FPS, Clip, Image

MAX_BYTES = 4 << 30
"""Most bytes of frames that ``read_clip`` holds at a time."""
UNPROMISED = 10 * FPS
"""Frames beyond twice the promised length after which time stamps count as damaged, as gaps in them are filled."""
HD_SIDE = 1280
"""Longer side in pixels from which a video counts as HD."""
MISSING = FPS // 2
"""Most frames that may be missing at the end before an error of ffmpeg counts as damage; audio often outlasts video."""


def read_clip(
    source: Path | str | MediaInfo, start: float = 0.0, seconds: float | None = None, longest: int | None = None
) -> Clip:
    """Read a part of a video, or one photo, into memory.

    start, seconds: part of the file to read; all that follows ``start`` where ``seconds`` is None; ignored for a photo
    longest: longer side in pixels to which larger frames of a video are reduced

    Raises MediaError for a file without usable frames there or with more than ``MAX_BYTES`` of them, DeviceError where
    they do not fit into memory.
    """
    info = media_info(source)
    path, size = info.path, _size(info, longest)
    stream = _stream(path, info, size, start, seconds)
    most = MAX_BYTES // (3 * size[0] * size[1])
    expected = _expected(info, start, seconds) or min(10 * FPS, most)
    try:
        if expected > most:
            raise _too_long(path, size, most)
        # Memory is taken when a frame is written, so the spare frames for a wrong duration cost nothing.
        frames = np.empty((expected + FPS, size[1], size[0], 3), np.uint8)
        count = 0
        for frame in stream:
            if count == most:
                raise _too_long(path, size, most)
            if count == len(frames):
                frames = np.concatenate([frames, np.empty_like(frames)])
            frames[count] = frame
            count += 1
    except MemoryError as error:
        raise DeviceError(
            f"{label(path)}: {info.width}x{info.height} frames from {start:g} s on do not fit into memory; "
            "use a shorter part"
        ) from error
    finally:
        stream.close()
    return Clip(frames[:count], path, 0.0 if info.image else start)


def _too_long(path: Path, size: tuple[int, int], most: int) -> MediaError:
    return MediaError(
        f"{label(path)}: longer than {most / FPS:.0f} s at {size[0]}x{size[1]}, the most that is read at a time; cut it"
    )


def stream_frames(
    source: Path | str | MediaInfo, start: float = 0.0, seconds: float | None = None, longest: int | None = None
) -> Generator[Image, None, None]:
    """Yield the frames of ``read_clip`` one after the other: [H, W, 3] uint8, RGB, each an array of its own.

    The file is checked at once. Closing or dropping the generator kills its ffmpeg.
    """
    info = media_info(source)
    return _stream(info.path, info, _size(info, longest), start, seconds)


def _size(info: MediaInfo, longest: int | None = None) -> tuple[int, int]:
    """Return (width, height) of the frames as they are read; a photo keeps its own size."""
    scale = 1.0 if longest is None or info.image else longest / max(info.width, info.height)
    if scale >= 1:
        return info.width, info.height
    return max(MIN_SIDE, round(info.width * scale)), max(MIN_SIDE, round(info.height * scale))


def frame_count(seconds: float) -> int:
    """Return the number of frames of a video of ``seconds``: ceil(seconds x 25), tolerant of rounding errors."""
    return math.ceil(round(seconds * FPS, 4))


def _stream(
    path: Path, info: MediaInfo, size: tuple[int, int], start: float, seconds: float | None
) -> Generator[Image, None, None]:
    if info.image:
        if min(info.width, info.height) < MIN_SIDE:
            raise MediaError(
                f"{label(path)}: {info.width}x{info.height} pixels, expected at least {MIN_SIDE} a side; "
                "use a larger photo"
            )
        return _one(read_photo(path))
    check_part(info, start, seconds)
    return _video(path, info, size, start, seconds)


def check_part(info: MediaInfo, start: float = 0.0, seconds: float | None = None) -> None:
    """Raise MediaError where a video has no frames, as far as its header tells, in the part that is to be read.

    start, seconds: as for ``read_clip``
    """
    name = label(info.path)
    if not info.video:
        held = "no video stream, only sound; expected" if info.audio else "no picture in it; give"
        raise MediaError(f"{name}: {held} a video or a photo")
    if start < 0 or (seconds is not None and seconds <= 0):
        raise MediaError(f"{name}: cannot read {seconds} s from {start:g} s on; both must lie inside the clip")
    if info.duration is not None and start >= info.duration > 0:
        raise MediaError(f"{name}: lasts {info.duration:.2f} s, but --start is {start:g} s; choose an earlier start")


def _one(frame: Image) -> Generator[Image, None, None]:
    yield frame


def _video(
    path: Path, info: MediaInfo, size: tuple[int, int], start: float, seconds: float | None
) -> Generator[Image, None, None]:
    seek, first = seek_time(path, info.format, start)
    # Frames before the part are read too, so that bytes keep coming while ffmpeg decodes them.
    skip = math.floor(first * FPS + 1e-6)
    limit = None if seconds is None else skip + frame_count(seconds)
    command = _command(path, info, size, seek, first - skip / FPS, limit)
    expected = _expected(info, start, seconds)
    most = None if expected is None else skip + 2 * expected + UNPROMISED
    count, wide = 0, _binary(info)[1]
    with Reader(command, label(path)) as reader:
        while True:
            frame: NDArray[Any] = np.empty((size[1], size[0], 3), np.uint16 if wide else np.uint8)
            if reader.fill(frame.data.cast("B")) < frame.nbytes:
                break
            count += 1
            if count == most:
                raise MediaError(
                    f"{label(path)}: goes on for more than twice the {info.duration:.2f} s that its header promises; "
                    "its time stamps are damaged: export it again"
                )
            if count > skip:
                yield colour.to_bt709(frame, info.tags) if wide else frame
        log = reader.finish()
    _check_complete(path, info, start, count - skip, expected, log)


def _binary(info: MediaInfo) -> tuple[str | None, bool]:
    """Return the ffmpeg that reads a video, None for any, and whether it gives the video's own colours in 16 bits."""
    decoders = [info.decoder] if info.decoder else []
    if not info.tags.converted:
        return first_with(decoders), False
    binary = first_with(decoders, colour.FILTERS)
    return (binary, False) if binary else (first_with(decoders), True)


def _command(
    path: Path, info: MediaInfo, size: tuple[int, int], seek: float, first: float, limit: int | None
) -> list[str]:
    """Return the command that seeks to ``seek``, s, and reads the frames from the time stamp ``first``, s, on."""
    binary, wide = _binary(info)
    decoder = {"c:V:0": info.decoder} if info.decoder else {}
    source = open_input(path, **decoder, **seek_options(seek))
    frames = source["V:0"]
    if first >= 1e-6:
        frames = frames.filter("setpts", f"round(PTS-{first:.6f}/TB)")
    frames = frames.filter("bwdif", mode="send_frame", deint="interlaced")
    frames = frames.filter("fps", FPS, start_time=0, round="near")
    layout = ("rgb48be" if sys.byteorder == "big" else "rgb48le") if wide else "rgb24"
    hd = max(info.width, info.height) >= HD_SIDE
    frames = colour.in_rgb(frames, info.tags, size, hd, convert=not wide).filter("format", layout)
    options = {} if limit is None else {"frames:v": limit}
    return arguments(frames.output("pipe:1", format="rawvideo", pix_fmt=layout, **options), binary)


def _expected(info: MediaInfo, start: float, seconds: float | None) -> int | None:
    """Return the number of frames that the file promises from ``start`` on, or None where it does not say."""
    if info.image:
        return 1
    if not info.duration:
        return None
    rest = frame_count(info.duration - start)
    return rest if seconds is None else min(rest, frame_count(seconds))


def _check_complete(path: Path, info: MediaInfo, start: float, got: int, expected: int | None, log: str) -> None:
    """Raise MediaError for a part without frames, or one that ends early because the file is damaged."""
    if got > 0 and (not log or expected is None or expected - got <= MISSING):
        return
    if got > 0:
        raise MediaError(
            f"{label(path)}: {got / FPS:.2f} s of video from {start:g} s on, expected {(expected or 0) / FPS:.2f} s "
            f"({complaint(log)}); the file is damaged or cut off: use a complete copy"
        )
    why = f" ({complaint(log)})" if log else ""
    raise MediaError(
        f"{label(path)}: no video frames from {start:g} s on{why}; choose an earlier --start or another file"
    )
