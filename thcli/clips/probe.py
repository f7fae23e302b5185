"""Probing of media files with ffmpeg alone, because imageio-ffmpeg brings no ffprobe."""

from __future__ import annotations

import errno
import math
import re
import stat
from dataclasses import dataclass
from pathlib import Path

from thcli.clips import photo
from thcli.clips.colour import MATRICES, Tags
from thcli.clips.ffmpeg import MAX_PIXELS, arguments, complaint, first_with, label, open_input, run
from thcli.clips.tracks import SoundTrack, sound_track
from thcli.errors import MediaError

MIN_SIDE = 16
"""Least side of an image in pixels; smaller ones hold no face, and the deinterlacer refuses the smallest."""

_VIDEO = re.compile(r"^ {2,4}Stream #0:\d+.*?: Video: (.*)$", re.MULTILINE)
_DURATION = re.compile(r"^ {2}Duration: (\d+):(\d\d):(\d\d(?:\.\d+)?)", re.MULTILINE)
_FORMAT = re.compile(r"^Input #0, (.+?), from ", re.MULTILINE)
_RATE = re.compile(r"([\d.]+)(k?) (fps|tbr)\b")
_CODEC = re.compile(r"(\w+).*?, (\w+)")
_SHOWN = re.compile(
    r"^\[Parsed_showinfo.*\bn: *0 .*\bfmt:(\w+).*\bsar:(\d+)/(\d+) s:(?P<width>\d+)x(?P<height>\d+)", re.MULTILINE
)
_TOO_LARGE = re.compile(r"\bPicture size (?P<width>\d+)x(?P<height>\d+) (?:exceeds|is invalid)")
_TAGS = re.compile(
    r"^\[Parsed_showinfo.*\bcolor_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", re.MULTILINE
)
_RGB = re.compile(r"[0ax]?2?(rgb|bgr|gbr)|pal8")
_WITH_ALPHA = re.compile(r"yuva|ya\d|gbrap|rgba|bgra|argb|abgr|ayuv|vuya|pal8")
_ALPHA_APART = re.compile(r"^ +alpha_mode +: 1$", re.MULTILINE | re.IGNORECASE)
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders by codecs that store transparency apart in WebM, where ffmpeg's own decoders drop it."""
_DOLBY_ALONE = re.compile(r"^ +DOVI configuration record: .*\bcompatibility id: 0", re.MULTILINE)


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
    codec: ffmpeg's names of the video's codec and pixel format, as in "h264 yuv420p"; empty where unknown
    tags: colours that the video is tagged with
    decoder: name of the decoder that reads it with its transparency; empty where that is ffmpeg's own
    notes: lines on what cannot be read as the file states it
    sound: the audio stream that is read, where there is one
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
    codec: str = ""
    tags: Tags = Tags()  # noqa: RUF009 - frozen
    decoder: str = ""
    notes: tuple[str, ...] = ()
    sound: SoundTrack = SoundTrack()  # noqa: RUF009 - frozen


def probe(path: Path) -> MediaInfo:
    """Probe a file and decode its first frame.

    Raises MediaError for a file that is missing, empty, cut off, a playlist, or not a media file.
    """
    path = Path(path)
    check_readable(path)
    size = photo.photo_size(path)
    if size is not None:
        return MediaInfo(
            path, size.width, size.height, 0.0, 0.0, video=False, audio=False, image=True, format=size.format,
            notes=size.notes,
        )  # fmt: skip
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
    """Return ffmpeg's messages while it opens a file and decodes one frame, upright."""
    # Capital V leaves out cover art. ffmpeg 7 loses tags of colour in most filters.
    shown = open_input(path)["V:0"].filter("showinfo").output("-", format="null", **{"frames:v": 1})
    return run(arguments(shown, loglevel="info"), label(path))[1]


def _parse(path: Path, kind: str, log: str) -> MediaInfo:
    header = log.split("\nOutput #0")[0].split("\nStream mapping:")[0]
    videos = [text for text in _VIDEO.findall(header) if "(attached pic)" not in text]
    track = sound_track(header)
    audio, sound = track is not None, track or SoundTrack()
    clock = _DURATION.search(header)
    duration = None if clock is None else int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3])
    if not videos:
        return MediaInfo(
            path, 0, 0, 0.0, duration, video=False, audio=audio, image=False, format=kind, sound=sound
        )  # fmt: skip
    shown = _SHOWN.search(log)
    size = shown or _TOO_LARGE.search(log)
    width, height = (int(size["width"]), int(size["height"])) if size else (0, 0)
    if shown is not None:
        width, height = _square(width, height, int(shown[2]), int(shown[3]))
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
    codec, about = _codec(videos[0]), header.split(videos[0], 1)[1].split("Stream #")[0]
    decoder, lost = _alpha_decoder(path, codec, about)
    tags = _tags(log[shown.start() :], shown[1], bool(decoder) or _has_alpha(shown[1], codec, kind))
    return MediaInfo(
        path, width, height, _rate(videos[0]), duration, video=True, audio=audio, image=False, format=kind,
        codec=codec, tags=tags, decoder=decoder, notes=lost + _colour_notes(path, tags.matrix, about), sound=sound,
    )  # fmt: skip


def _square(width: int, height: int, wide: int, high: int) -> tuple[int, int]:
    """Return (width, height) of a frame whose pixels, ``wide`` to ``high``, are made square by enlarging one side."""
    if wide > high > 0:
        return math.floor(width * wide / high + 0.5), height
    return width, math.floor(height * high / wide + 0.5) if high > wide > 0 else height


def _tags(shown: str, pixel_format: str, alpha: bool) -> Tags:
    """Return the colour tags of the first frame, given ffmpeg's messages from its ``showinfo`` on."""
    found = _TAGS.search(shown)
    colour_range, matrix, primaries, transfer = found.groups() if found else ("unknown",) * 4
    return Tags("gbr" if _RGB.match(pixel_format) else matrix, primaries, transfer, colour_range == "pc", alpha)


def _has_alpha(pixel_format: str, codec: str, kind: str) -> bool:
    """Return whether decoded frames have transparency; the fourth byte of raw AVI is unused, and often 0."""
    return _WITH_ALPHA.match(pixel_format) is not None and not (kind == "avi" and codec.startswith("rawvideo"))


def _alpha_decoder(path: Path, codec: str, about: str) -> tuple[str, tuple[str, ...]]:
    """Return the decoder of transparency that is stored apart, empty for none, and a note where no ffmpeg has it.

    about: ffmpeg's lines on the stream
    """
    decoder = ALPHA_DECODERS.get(codec.split(" ")[0], "") if _ALPHA_APART.search(about) else ""
    if not decoder or first_with(decoders=[decoder]):
        return decoder, ()
    lost = "its transparency is ignored, and what lies below shows, as no ffmpeg here has the decoder"
    return "", (f"{label(path)}: {lost} {decoder}; install the package imageio-ffmpeg",)


def _colour_notes(path: Path, matrix: str, about: str) -> tuple[str, ...]:
    """Return a note on colours that ffmpeg cannot read."""
    if _DOLBY_ALONE.search(about):
        what = "Dolby Vision of a profile that no other program shows (5)"
    elif matrix not in (*MATRICES, "gbr", "unknown", "reserved"):
        what = f"a colour matrix that ffmpeg's scaler does not know ({matrix})"
    else:
        return ()
    return (f"{label(path)}: {what}; its colours come out wrong: export it as HDR10, HLG or SDR",)


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
