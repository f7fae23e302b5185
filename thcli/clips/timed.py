"""Reading of a video's own frames, at its own size, rate and time stamps, as YUV 4:2:0 of 8 or 10 bits.

Unlike ``decode``, which gives 25 frames a second in RGB, this reads what is stored, so that a frame can be written
again as it was. Frames are upright and progressive, and their pixels are square. HDR stays HDR where 10 bits can be
written, and is brought to BT.709 elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import count

from thcli.clips import colour
from thcli.clips.decode import HD_SIDE
from thcli.clips.ffmpeg import Reader, arguments, complaint, deep_encoder, first_with, label, open_input
from thcli.clips.probe import MIN_SIDE, MediaInfo
from thcli.errors import MediaError
from thcli.records import Image
from thcli.yuv import LUMA_WEIGHTS, YuvColours, YuvFrame

_DEEP = re.compile(r"(?:p0?|gray)(?:10|12|14|16)(?:le|be)$")
"""End of the names of pixel formats of more than 8 bits."""
_UNIT = re.compile(rb"\bconfig in time_base: (\d+)/(\d+)")
_SHOWN = re.compile(rb"\bn: *\d+ +pts: *(-?\d+|NOPTS) +pts_time:\S+(?: +duration: *(\d+))?")


@dataclass(frozen=True)
class Stored:
    """How the frames of a video are read.

    size: (width, height) of the frames, px, both even: an odd side is extended by its last column or row
    colours: how their values stand for RGB
    tags: ffmpeg's tags of colour for a copy: ``range``, ``colorspace``, ``color_primaries``, ``color_trc``
    notes: lines on what is not kept as it is
    """

    size: tuple[int, int]
    colours: YuvColours
    tags: dict[str, str]
    notes: tuple[str, ...] = ()

    @property
    def pixels(self) -> str:
        """Name of the pixel format in ffmpeg."""
        return "yuv420p" if self.colours.bits == 8 else "yuv420p10le"


@dataclass(frozen=True)
class TimedFrame:
    """A frame of a video.

    time: time stamp in units of ``unit`` since the beginning of the file
    unit: seconds of a unit
    duration: units for which the frame is shown; 0 where the file does not say
    """

    frame: YuvFrame
    time: int
    unit: Fraction
    duration: int


def stored(info: MediaInfo) -> Stored:
    """Say how the frames of a video are read. Raises MediaError for a file without video."""
    name = label(info.path)
    if info.image:
        raise MediaError(f"{name}: a photo, expected a video")
    if not info.video:
        raise MediaError(f"{name}: no video stream, only sound; expected a video")
    if min(info.width, info.height) < MIN_SIDE:
        raise MediaError(f"{name}: {info.width}x{info.height} pixels, expected at least {MIN_SIDE} a side")
    size = (info.width + info.width % 2, info.height + info.height % 2)
    pixels, tags, bits = info.codec.partition(" ")[2], info.tags, _bits(info)
    if _converted(info):
        if tags.transfer in colour.PEAKS and first_with(filters=colour.FILTERS) is None:
            raise MediaError(f"{name}: HDR, which no ffmpeg here can convert; install the package imageio-ffmpeg")
        said = "HDR is brought to BT.709" if tags.transfer in colour.PEAKS else "its colours are stored as BT.709"
        bt709 = {"colorspace": "bt709", "color_primaries": "bt709", "color_trc": "bt709"}
        return Stored(size, YuvColours(), {"range": "tv", **bt709}, (f"{name}: {said}, with 8 bits",))
    matrix = tags.matrix if tags.matrix in LUMA_WEIGHTS else "bt709" if _hd(info) else "smpte170m"
    given = {"colorspace": tags.matrix, "color_primaries": tags.primaries, "color_trc": tags.transfer}
    kept = {key: value for key, value in given.items() if value not in ("unknown", "reserved")}
    how = Stored(size, YuvColours(matrix, tags.full_range, bits), {"range": "pc" if tags.full_range else "tv", **kept})
    if pixels in (how.pixels, "yuvj420p"):
        return how
    return replace(how, notes=(f"{name}: {pixels} is stored as {how.pixels}, with {bits} bits",))


def stream_stored(
    info: MediaInfo, timed: bool = False, only: list[int] | None = None, into: Iterator[Image] | None = None
) -> Generator[TimedFrame, None, None]:
    """Yield the frames of a video one after the other.

    timed: whether time stamps are read; without them they are 0, which is a little quicker
    only: numbers of the frames that are wanted, in order; None for all
    into: arrays that frames are read into, in order; None for one of its own for each

    Closing or dropping the generator kills its ffmpeg. Raises MediaError for a file without video or without frames.
    """
    how = stored(info)
    own = (how.colours.empty_frame(how.size) for _ in count())
    return _frames(info, how, timed, only, own if into is None else into)


def _frames(
    info: MediaInfo, how: Stored, timed: bool, only: list[int] | None, into: Iterator[Image]
) -> Generator[TimedFrame, None, None]:
    command = arguments(_graph(info, how, timed, only), _binary(info), "info" if timed else "error")
    stamps = _Stamps()
    empty = True
    with Reader(command, label(info.path)) as reader:
        for data in into:
            if reader.fill(data.data.cast("B")) < data.nbytes:
                break
            time, duration = stamps.next(reader) if timed else (0, 0)
            yield TimedFrame(YuvFrame(data, how.size, how.colours), time, stamps.unit, duration)
            empty = False
        log = reader.finish()
    if empty:
        why = f" ({complaint(log)})" if log and not timed else ""
        raise MediaError(f"{label(info.path)}: no video frame can be decoded{why}; export the video again as MP4")


class _Stamps:
    """Time stamps of frames, out of what ffmpeg's filter ``showinfo`` says of them."""

    def __init__(self) -> None:
        self.unit = Fraction(1, 25)
        self.read, self.rest = 0, b""
        self.waiting: list[tuple[int, int]] = []
        self.last = -1

    def next(self, reader: Reader) -> tuple[int, int]:
        """Return time and duration of the next frame, which ffmpeg names before it sends the frame."""
        if not self.waiting:
            said = reader.messages(self.read)
            self.read += len(said)
            text = self.rest + said
            lines, _, self.rest = text.rpartition(b"\n")
            if unit := _UNIT.search(lines):
                self.unit = Fraction(int(unit[1]), int(unit[2]))
            self.waiting = [(_time(shown[1]), int(shown[2] or 0)) for shown in _SHOWN.finditer(lines)]
            self.waiting.reverse()
        time, duration = self.waiting.pop() if self.waiting else (self.last + 1, 0)
        self.last = max(time, self.last + 1)
        return self.last, duration


def _time(text: bytes) -> int:
    return -1 if text == b"NOPTS" else int(text)


def _converted(info: MediaInfo) -> bool:
    """Whether the colours are converted, and not kept as they are stored."""
    tags = info.tags
    hdr = tags.transfer in colour.PEAKS and _bits(info) == 8
    return hdr or tags.alpha or tags.matrix in ("gbr", "bt2020c", "ictcp", "ycgco")


def _bits(info: MediaInfo) -> int:
    """Return with how many bits frames are kept: 10 where there are more than 8 and 10 can be written."""
    deep = _DEEP.search(info.codec.partition(" ")[2]) is not None
    return 10 if deep and deep_encoder() is not None else 8


def _hd(info: MediaInfo) -> bool:
    return max(info.width, info.height) >= HD_SIDE


def _binary(info: MediaInfo) -> str | None:
    filters = colour.FILTERS if _converted(info) and info.tags.transfer in colour.PEAKS else ()
    return first_with([info.decoder] if info.decoder else [], filters)


def _graph(info: MediaInfo, how: Stored, timed: bool, only: list[int] | None) -> object:
    decoder = {"c:V:0": info.decoder} if info.decoder else {}
    frames = open_input(info.path, **decoder)["V:0"]
    if only is not None:
        frames = frames.filter("select", "+".join(f"eq(n,{n})" for n in only))
    frames = frames.filter("bwdif", mode="send_frame", deint="interlaced")
    size = (info.width, info.height)
    if _converted(info):
        frames = colour.in_rgb(frames, info.tags, size, _hd(info), convert=info.tags.transfer in colour.PEAKS)
        frames = frames.filter("scale", out_color_matrix="bt709", out_range="tv", flags="bicubic+accurate_rnd")
    else:
        frames = frames.filter("scale", *size, flags="bicubic+accurate_rnd")
    plain = how.colours.full_range and how.colours.bits == 8
    frames = frames.filter("format", "yuv420p|yuvj420p" if plain else how.pixels)
    if how.size != size:
        frames = frames.filter("pad", *how.size)
        frames = frames.filter("fillborders", right=how.size[0] - size[0], bottom=how.size[1] - size[1], mode="smear")
    if timed:
        frames = frames.filter("showinfo", checksum=0)
    return frames.output("pipe:1", format="rawvideo", fps_mode="passthrough")
