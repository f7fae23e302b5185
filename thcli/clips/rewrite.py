"""Writing of a video's own frames again, changed: at their own time stamps, with new sound beside its other streams."""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import ffmpeg

from thcli.clips.audio import timed_sound
from thcli.clips.encode import AUDIO_RATE, MATROSKA, Finish, VideoWriter
from thcli.clips.ffmpeg import arguments, deep_encoder, h264_encoder, label, local_file, open_input, run
from thcli.clips.probe import MediaInfo
from thcli.clips.provenance import XMP_KEY
from thcli.clips.timed import Stored
from thcli.yuv import YuvFrame

IN_MP4 = ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac")
"""Codecs of sound that an MP4 takes as they are; others are encoded as AAC."""
TEXTS = ("subrip", "srt", "ass", "ssa", "webvtt", "mov_text", "text")
"""Codecs of subtitles that are text, which an MP4 takes as its own kind."""
SOUND_FADE = 0.02
"""Seconds over which the video's own sound fades where the new speech begins and ends."""
KEYFRAME_SECONDS = 2
"""Most seconds from one keyframe to the next."""
MICROSECOND = 1_000_000
"""Units of a second in the stream of frames that ffmpeg reads."""
PIXEL_NAMES = {"yuv420p": b"I420", "yuv420p10le": b"Y3\x0b\x0a"}
"""Names of raw YUV 4:2:0 in a Matroska stream, by ffmpeg's names."""
_STREAM = re.compile(r"^ {2,4}Stream #0:(\d+).*?: (Audio|Subtitle): (\w+)", re.MULTILINE)


@dataclass(frozen=True)
class OtherStreams:
    """Streams of a video that are neither its picture nor the sound that is replaced.

    sounds: number among the tracks of sound, and codec, of each further one
    subtitles: codecs of the subtitles, in order
    """

    sounds: tuple[tuple[int, str], ...] = ()
    subtitles: tuple[str, ...] = ()

    def notes(self, matroska: bool) -> tuple[str, ...]:
        """Return a line on subtitles that the output cannot hold."""
        lost = [] if matroska else [codec for codec in self.subtitles if codec not in TEXTS]
        if not lost:
            return ()
        return (f"an MP4 cannot hold subtitles in {', '.join(dict.fromkeys(lost))}: write to a .mkv to keep them",)


@dataclass(frozen=True)
class NewSound:
    """Sound of the video that is written.

    speech: file of the new speech
    begin: second of the video at which it begins
    end: second of the video at which it ends at the latest; the video's own sound goes on from there
    keep: factor by which the video's own sound is lowered below the speech; 0 leaves it out
    peak: largest absolute sample of speech and own sound together; above 1, all is scaled to 1
    whole: whether the speech takes the place of all of the video's own sound
    """

    speech: MediaInfo
    begin: float
    end: float
    keep: float
    peak: float
    whole: bool


def other_streams(info: MediaInfo) -> OtherStreams:
    """Return the further tracks of sound and the subtitles of a video."""
    listing = open_input(info.path).output("-", format="null", c="copy", t=0)
    log = run(arguments(listing, loglevel="info"), label(info.path))[1]
    found = {int(number): (kind, codec) for number, kind, codec in _STREAM.findall(log.split("\nOutput #0")[0])}
    ordered = [found[number] for number in sorted(found)]
    sounds = [codec for kind, codec in ordered if kind == "Audio"]
    kept = tuple((i, codec) for i, codec in enumerate(sounds) if i != info.sound.index)
    return OtherStreams(kept, tuple(codec for kind, codec in ordered if kind == "Subtitle"))


class VideoRewriter(VideoWriter):
    """Context manager that writes frames of a video again, at given time stamps, to an MP4 or a Matroska file.

    target: the file to make, replaced if it exists; None for a streamable MP4 on standard output
    source: the video, whose other streams and chapters are copied
    how: how its frames are read
    unit: seconds of a unit of the time stamps
    usual: units from one frame to the next, usually
    first, end: units at which the first frame begins and the last one ends
    sound: the sound
    others: further streams of the source
    n_frames: number of frames
    metadata, finish: as for ``VideoWriter``
    """

    def __init__(
        self,
        target: Path | None,
        source: MediaInfo,
        how: Stored,
        clock: tuple[Fraction, int, int, int],
        sound: NewSound,
        others: OtherStreams,
        n_frames: int,
        metadata: Mapping[str, str],
        finish: Finish | None = None,
    ) -> None:
        super().__init__(target, how.size, None, n_frames, metadata, finish=finish)
        self._source, self._how, self._sound, self._others = source, how, sound, others
        self._unit, self._usual, self._first, self._end = clock
        self._matroska = target is not None and target.suffix.lower() in MATROSKA
        if self._matroska:
            self._metadata.pop(XMP_KEY, None)

    def __enter__(self) -> VideoRewriter:
        super().__enter__()
        return self

    def write_stored(self, frame: YuvFrame, time: int) -> None:
        """Append a frame that begins at ``time``, units."""
        if self._count == self._n_frames:
            raise ValueError(f"more than the {self._n_frames} frames announced")
        if self._count == 0:
            nanoseconds = int(self._usual * self._unit * 1_000_000_000)
            self._send(memoryview(matroska_head(self._how.size, nanoseconds, self._how.pixels)))
        stamp = round((time - self._first) * self._unit * MICROSECOND)
        self._send(memoryview(matroska_frame_head(stamp, frame.data.nbytes)))
        self._send(frame.data.data.cast("B"))
        self._count += 1

    def _command(self) -> list[str]:
        deep = self._how.colours.bits > 8
        encoder = (deep_encoder() if deep else None) or h264_encoder(quick=True)
        tags, unit = self._how.tags, self._unit
        late = float(self._first * unit)
        frames = ffmpeg.input("pipe:0", format="matroska", itsoffset=f"{late:.6f}")
        video = frames["v:0"].filter("format", self._how.pixels).filter("setsar", 1).filter("setparams", **tags)
        streams: list[Any] = [video]
        options: dict[str, Any] = {"c:v": encoder.name, **dict(encoder.options)}
        every = max(1, round(KEYFRAME_SECONDS / float(self._usual * unit)))
        options |= {"g": every, "fps_mode:v": "passthrough", "enc_time_base:v": f"{unit.numerator}:{unit.denominator}"}
        options |= {key: value for key, value in tags.items() if key != "range"}
        options |= {"color_range": tags["range"]}
        streams.append(self._new_sound())
        options |= {"c:a:0": "aac", "b:a:0": "160k", "disposition:a:0": "default"}
        self._add_others(streams, options)
        said = ((key, value) for key, value in self._metadata.items() if key != XMP_KEY)
        options |= {f"metadata:g:{i}": f"{key}={value}" for i, (key, value) in enumerate(said)}
        options |= {"map_chapters": "SOURCE", "map_metadata": "SOURCE", "t": f"{float(self._end * unit):.6f}"}
        if self._matroska:
            options |= {"format": "matroska"}
        else:
            fragmented = "frag_keyframe+delay_moov+default_base_moof+skip_trailer"
            options |= {"format": "mp4", "video_track_timescale": unit.denominator}
            if encoder.name == "libx265":
                options["tag:v"] = "hvc1"  # Apple's players know no other name for it
            options["movflags"] = fragmented if self._part is None else "+faststart"
        output = "pipe:1" if self._part is None else local_file(self._part)
        command = arguments(ffmpeg.output(*streams, output, **options).overwrite_output(), encoder.executable)
        return _numbered(command, self._source.path)

    def _new_sound(self) -> Any:
        """Return the sound: the speech in its part, the video's own around it, and lowered below it."""
        sound, end = self._sound, float(self._end * self._unit)
        speech = _even(timed_sound(sound.speech, AUDIO_RATE), stereo=not sound.whole or sound.keep > 0)
        speech = speech.filter("atrim", end=f"{max(sound.end - sound.begin, 0.001):.6f}")
        if sound.begin > 0:
            speech = speech.filter("adelay", f"{round(sound.begin * AUDIO_RATE)}S", all=1)
        if self._source.audio and (not sound.whole or sound.keep > 0):
            own = _own(timed_sound(self._source, AUDIO_RATE), sound)
            # Endless silence on one side of a mixture would never end.
            both = [one.filter("apad", whole_dur=f"{end:.6f}") for one in (speech, own)]
            speech = ffmpeg.filter(both, "amix", inputs=2, duration="longest", normalize=0)
        if sound.peak > 1:
            speech = speech.filter("volume", f"{1 / sound.peak:.9f}", precision="float")
        return speech.filter("apad", whole_dur=f"{end:.6f}").filter("atrim", end=f"{end:.6f}")

    def _add_others(self, streams: list[Any], options: dict[str, Any]) -> None:
        """Add the further tracks of sound and the subtitles, copied where the container takes them."""
        source = open_input(self._source.path)
        if self._target is None:
            return
        for place, (number, codec) in enumerate(self._others.sounds, 1):
            streams.append(source[f"a:{number}"])
            copied = self._matroska or codec in IN_MP4
            options |= {f"c:a:{place}": "copy" if copied else "aac", f"disposition:a:{place}": "0"}
        place = 0
        for number, codec in enumerate(self._others.subtitles):
            if self._matroska:
                kind = "srt" if codec == "mov_text" else "copy"
            elif codec in TEXTS:
                kind = "copy" if codec == "mov_text" else "mov_text"
            else:
                continue
            streams.append(source[f"s:{number}"])
            options[f"c:s:{place}"] = kind
            place += 1


def _even(stream: Any, stereo: bool) -> Any:
    """Return sound with one or two channels, or with two in any case, so that it can be mixed."""
    return stream.filter("aformat", sample_fmts="fltp", channel_layouts="stereo" if stereo else "mono|stereo")


def _own(stream: Any, sound: NewSound) -> Any:
    """Return the video's own sound: as it is outside the part of the speech, and lowered or silent in it."""
    parts: Sequence[tuple[float, float | None, float]] = (
        (0.0, sound.begin, 1.0), (sound.begin, sound.end, sound.keep), (sound.end, None, 1.0)
    )  # fmt: skip
    if sound.whole:
        parts = ((0.0, None, sound.keep),)
    pieces = [(begin, end, factor) for begin, end, factor in parts if end is None or end - begin > 1e-3]
    whole = _even(stream, stereo=True)
    copies = whole.filter_multi_output("asplit", len(pieces)) if len(pieces) > 1 else [whole]
    made = []
    for number, (begin, end, factor) in enumerate(pieces):
        cut = {"start": f"{begin:.6f}", **({} if end is None else {"end": f"{end:.6f}"})}
        piece = copies[number].filter("atrim", **cut).filter("asetpts", "PTS-STARTPTS")
        if factor != 1:
            piece = piece.filter("volume", f"{factor:.9f}", precision="float")
        if number > 0:
            piece = piece.filter("afade", t="in", d=SOUND_FADE)
        if end is not None and number < len(pieces) - 1:
            piece = piece.filter("afade", t="out", st=f"{max(end - begin - SOUND_FADE, 0):.6f}", d=SOUND_FADE)
            piece = piece.filter("apad", whole_dur=f"{end - begin:.6f}")
        made.append(piece)
    return made[0] if len(made) == 1 else ffmpeg.concat(*made, v=0, a=1)


def _numbered(command: list[str], source: Path) -> list[str]:
    """Return a command line with the number of the source among its inputs in place of ``SOURCE``."""
    inputs = [command[i + 1] for i, part in enumerate(command) if part == "-i"]
    name = arguments(open_input(source).output("-", format="null"))
    wanted = name[name.index("-i") + 1]
    number = str(inputs.index(wanted)) if wanted in inputs else "-1"
    return [number if part == "SOURCE" else part for part in command]


def matroska_head(size: tuple[int, int], nanoseconds: int, pixels: str) -> bytes:
    """Return the beginning of a Matroska stream of raw YUV 4:2:0, with time stamps in microseconds.

    nanoseconds: usual time from one frame to the next
    pixels: one of ``PIXEL_NAMES``
    """
    picture = (
        _element(0xB0, _number(size[0])) + _element(0xBA, _number(size[1])) + _element(0x2EB524, PIXEL_NAMES[pixels])
    )
    track = _element(0xD7, _number(1)) + _element(0x73C5, _number(1)) + _element(0x83, _number(1))
    track += _element(0x86, b"V_UNCOMPRESSED") + _element(0x23E383, _number(max(nanoseconds, 1)))
    track += _element(0xE0, picture)
    about = _element(0x2AD7B1, _number(1000)) + _element(0x4D80, b"thgen") + _element(0x5741, b"thgen")
    head = _element(0x4286, _number(1)) + _element(0x42F7, _number(1)) + _element(0x42F2, _number(4))
    head += _element(0x42F3, _number(8)) + _element(0x4282, b"matroska")
    head += _element(0x4287, _number(4)) + _element(0x4285, _number(2))
    open_ended = bytes.fromhex("1853806701ffffffffffffff")
    return _element(0x1A45DFA3, head) + open_ended + _element(0x1549A966, about) + _element(
        0x1654AE6B, _element(0xAE, track)
    )  # fmt: skip


def matroska_frame_head(stamp: int, length: int) -> bytes:
    """Return what comes before a frame of ``length`` bytes: a cluster of its own, with its time stamp in units."""
    time = _element(0xE7, _number(stamp))
    block = bytes.fromhex("a3") + _size(length + 4) + bytes.fromhex("81000080")
    return bytes.fromhex("1f43b675") + _size(len(time) + len(block) + length) + time + block


def _element(name: int, content: bytes) -> bytes:
    return name.to_bytes((name.bit_length() + 7) // 8, "big") + _size(len(content)) + content


def _size(length: int) -> bytes:
    return struct.pack(">Q", length | 1 << 56)


def _number(value: int) -> bytes:
    return value.to_bytes(max(1, (value.bit_length() + 7) // 8), "big")
