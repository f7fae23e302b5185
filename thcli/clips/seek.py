"""Search for the time to seek to in a video, so that a part holds the frames that a whole reading shows there."""

from __future__ import annotations

import re
from pathlib import Path

from thcli.clips.ffmpeg import arguments, label, open_input, run
from thcli.records import FPS

NEAR = 1.0
"""Seconds from the beginning up to which a video is read from there."""
BACK = (0.0, 10.0, 60.0)
"""Seconds before the wanted time that are tried for seeking, in this order, until a whole frame comes in time."""
BROADCAST = ("mpegts", "mpeg")
"""Containers of broadcasts and DVDs, in which not every frame has a time stamp."""
UNTIMED = ("av1", "h264", "hevc", "m4v", "mjpeg", "mpegvideo", "obu", "mpeg")
"""Demuxers that read from the beginning: bare streams have no time stamps; those of MPEG-PS may be off after a seek."""

_FIRST = re.compile(r"^\[Parsed_showinfo.*\bn: *0 .*\bpts_time:(\S+) .*\biskey:1\b", re.MULTILINE)
_CORRECTED = re.compile(r"^(?:\[\S+ @ \w+\] )?Correcting start time (?:of Input #0 )?by (-?\d+)", re.MULTILINE)


def seek_time(path: Path, container: str, start: float) -> tuple[float, float]:
    """Return the second to seek to for the frames from ``start`` on, and the time stamp that ``start`` has then.

    container: ffmpeg's name of the container

    Where the video must be read from the beginning, these are 0 and ``start``. A container without an index, such as
    MPEG-TS, is searched by its time stamps: what comes then may begin between two keyframes, and be whole only after
    ``start``. Hence the first frame that comes is checked, and the search begins earlier where that one is late.
    """
    if container in UNTIMED or start <= NEAR:
        return 0.0, start
    shift = beginning(path, container, "V:0")
    # In MPEG-TS the frames up to the first time stamp may be off, and are left behind.
    for back in BACK[1:] if container in BROADCAST else BACK:
        seek = start - back
        if seek <= NEAR:
            break
        first = _first_keyframe(path, seek)
        if first is not None and first < back + shift + 0.5 / FPS:
            return seek, back + shift
    return 0.0, start


def seek_options(seek: float) -> dict[str, object]:
    """Return ffmpeg's options that open a file at ``seek``, with all frames from the keyframe before it on.

    Frames before ``seek`` have negative time stamps; the one on show at ``seek`` may have begun long before.
    """
    return {"ss": f"{seek:.6f}", "noaccurate_seek": None} if seek > 0 else {}


def beginning(path: Path, container: str, track: str) -> float:
    """Return the second of the file that ffmpeg calls 0 where it reads this track alone from the beginning.

    After seeking, and in other containers, the time of the file counts, which begins with its first track.
    """
    if container not in BROADCAST:
        return 0.0
    command = arguments(open_input(path)[track].output("-", format="null", c="copy", t=0), loglevel="verbose")
    corrected = _CORRECTED.search(run(command, label(path))[1])
    return int(corrected[1]) / 1e6 if corrected else 0.0


def _first_keyframe(path: Path, seek: float) -> float | None:
    """Return the time stamp in s of the first frame after seeking, or None where it is no keyframe."""
    shown = open_input(path, **seek_options(seek))["V:0"].filter("showinfo")
    log = run(arguments(shown.output("-", format="null", **{"frames:v": 1}), loglevel="info"), label(path))[1]
    first = _FIRST.search(log)
    return float(first[1]) if first else None
