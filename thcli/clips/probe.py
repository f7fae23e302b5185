"""Probing of media files with ffmpeg alone, because imageio-ffmpeg brings no ffprobe."""

from __future__ import annotations

import errno
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from thcli.clips import photo
from thcli.clips.ffmpeg import MAX_PIXELS, arguments, complaint, label, open_input, run
from thcli.errors import MediaError

MIN_SIDE = 16
"""Least side of an image in pixels; smaller ones hold no face, and the deinterlacer refuses the smallest."""

_STREAM = re.compile(r"^ {2,4}Stream #0:\d+.*?: (Video|Audio): (.*)$", re.MULTILINE)
_DURATION = re.compile(r"^ {2}Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_FORMAT = re.compile(r"^Input #0, (.+?), from ", re.MULTILINE)
_RATE = re.compile(r"([\d.]+)(k?) (fps|tbr)\b")
_CODEC = re.compile(r"(\w+).*?, (\w+)")
_SHOWN = re.compile(r"^\[Parsed_showinfo.*\bn: *0 .*\bs:(\d+)x(\d+)", re.MULTILINE)
_TOO_LARGE = re.compile(r"\bPicture size (\d+)x(\d+) (?:exceeds|is invalid)")
_MATRIX = re.compile(r"^\[Parsed_showinfo.*\bcolor_space:(\w+)", re.MULTILINE)


@dataclass(frozen=True)
class MediaInfo:
    """Contents of a media file; readers take it in place of the path, and then do not probe the file again.

    path: the file
    width, height: pixels of the frames as shown: rotated as the file says, pixels made square; 0 without video
    fps: frames per second as stored, 0 where unknown; decoding gives 25 in any case
    duration: seconds of the longest stream; None where the file does not say; 0 for a photo
    video: whether it has a video stream; cover art does not count
    audio: whether it has an audio stream
    image: whether it is a photo
    format: ffmpeg's or Pillow's name of the container
    matrix: colour matrix as tagged in the stream, "unknown" without a tag
    codec: ffmpeg's names of the video's codec and pixel format, as in "h264 yuv420p"; empty where unknown
    """

    path: Path
    width: int
    height: int
    fps: float
    duration: float | None
    video: bool
    audio: bool
    image: bool
    format: str
    matrix: str = "unknown"
    codec: str = ""


def probe(path: Path) -> MediaInfo:
    """Probe a file and decode its first frame.

    Raises MediaError for a file that is missing, empty, cut off, a playlist, or not a media file.
    """
    path = Path(path)
    check_readable(path)
    size = photo.photo_size(path)
    if size is not None:
        return MediaInfo(
            path, size.width, size.height, 0.0, 0.0, video=False, audio=False, image=True, format=size.format
        )
    log = _first_frame_log(path)
    kind = _FORMAT.search(log)
    if kind is None:
        raise _unreadable(path, log)
    return _parse(path, kind.group(1), log)


def media_info(source: Path | str | MediaInfo) -> MediaInfo:
    """Return the contents of a file: the given record, or what ``probe`` finds."""
    return source if isinstance(source, MediaInfo) else probe(Path(source))


def check_length(path: Path) -> None:
    """Raise MediaError for a name that is too long for the file system."""
    try:
        path.lstat()
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise MediaError(f"{label(path)}: the name is too long for this system; shorten it") from error


def check_readable(path: Path) -> None:
    """Raise MediaError unless the path is a regular file that can be read and is not empty."""
    name = label(path)
    check_length(path)
    try:
        found = path.stat()
        if stat.S_ISDIR(found.st_mode):
            raise MediaError(f"{name}: a folder, expected a media file; name one of the files in it")
        if not stat.S_ISREG(found.st_mode):
            raise MediaError(f"{name}: not a regular file; save it to a file first")
        if found.st_size == 0:
            raise MediaError(f"{name}: the file is empty; copy or record it again")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise MediaError(f"{name}: no such file; check the name and the folder") from error
    except OSError as error:
        raise MediaError(f"{name}: cannot be read ({error.strerror}); check its permissions") from error


def _first_frame_log(path: Path) -> str:
    """Return ffmpeg's messages while it opens a file and decodes one frame, upright and with square pixels."""
    shown = (
        open_input(path)["V:0"]  # capital V leaves out cover art
        .filter("scale", "if(gt(sar,1),round(iw*sar),iw)", "if(lt(sar,1),round(ih/sar),ih)")
        .filter("setsar", 1)
        .filter("showinfo")
        .output("-", format="null", **{"frames:v": 1})
    )
    return run(arguments(shown, loglevel="info"), label(path))[1]


def _parse(path: Path, kind: str, log: str) -> MediaInfo:
    header = log.split("\nOutput #0")[0].split("\nStream mapping:")[0]
    streams = _STREAM.findall(header)
    videos = [text for medium, text in streams if medium == "Video" and "(attached pic)" not in text]
    audio = any(medium == "Audio" for medium, _ in streams)
    clock = _DURATION.search(header)
    duration = None if clock is None else int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if not videos:
        return MediaInfo(path, 0, 0, 0.0, duration, video=False, audio=audio, image=False, format=kind)
    shown = _SHOWN.search(log)
    size = shown or _TOO_LARGE.search(log)
    width, height = (int(size[1]), int(size[2])) if size else (0, 0)
    if width * height > MAX_PIXELS:
        raise MediaError(
            f"{label(path)}: {width}x{height} pixels, expected at most {MAX_PIXELS // 10**6} megapixels; "
            "make the picture smaller"
        )
    if shown is None and "partial file" in log:
        raise MediaError(f"{label(path)}: cut off before its first frame; use a complete copy")
    if shown is None:
        raise MediaError(f"{label(path)}: no video frame can be decoded ({_reason(log)}); export the clip again as MP4")
    if min(width, height) < MIN_SIDE:
        raise MediaError(
            f"{label(path)}: {width}x{height} pixels, expected at least {MIN_SIDE} a side; use a larger clip"
        )
    matrix = _MATRIX.search(log, shown.start())
    return MediaInfo(
        path, width, height, _rate(videos[0]), duration, video=True, audio=audio, image=False, format=kind,
        matrix=matrix[1] if matrix else "unknown", codec=_codec(videos[0]),
    )  # fmt: skip


def _codec(stream: str) -> str:
    """Return codec and pixel format of a line like ``h264 (High) (avc1 / 0x31637661), yuv420p(tv, bt709), …``."""
    found = _CODEC.match(stream)
    return " ".join(found.groups()) if found else ""


def _rate(stream: str) -> float:
    """Return the frames per second of a line such as ``…, 23.98 fps, 24 tbr, 16k tbn``, or 0."""
    rates = {unit: float(number) * (1000 if kilo else 1) for number, kilo, unit in _RATE.findall(stream)}
    return rates.get("fps", rates.get("tbr", 0.0))


def _reason(log: str) -> str:
    """Return the first message after the list of streams that reports a failure."""
    tail = log.split("\nStream mapping:")[-1]
    telling = [line for line in tail.splitlines() if re.search(r"error|invalid|not |fail|empty|partial", line, re.I)]
    return complaint("\n".join(telling))


def _unreadable(path: Path, log: str) -> MediaError:
    """Return an error that says why ffmpeg did not open the file, and what to do about it."""
    name = label(path)
    with open(path, "rb") as file:
        head = file.read(64)
    if "whitelist" in log or head.lstrip(b"\xef\xbb\xbf \r\n").startswith((b"#EXTM3U", b"ffconcat")):
        return MediaError(f"{name}: a playlist or a kind of file that thgen does not open; give the media file itself")
    is_mp4 = head[4:8] in (b"ftyp", b"moov", b"mdat", b"free", b"wide", b"skip")
    if is_mp4 and ("moov" in log or "Invalid data" in log):
        return MediaError(f"{name}: an MP4 that was cut off (its index is missing or broken); use a complete copy")
    return MediaError(f"{name}: not a video, photo or sound file that ffmpeg reads; expected MP4, MOV, WAV, MP3, JPEG…")
