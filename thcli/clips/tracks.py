"""Tracks of sound in a file, as ffmpeg lists them, and the choice of one."""

from __future__ import annotations

import re
from dataclasses import dataclass

_TRACK = re.compile(r"^ {2,4}Stream #0:(\d+).*?: Audio: (.*)$", re.MULTILINE)
_TITLE = re.compile(r"^ +title +: (.*)$", re.MULTILINE)
_LONGEST_TITLE = 40
"""Most characters of a track's title that are shown."""


@dataclass(frozen=True)
class SoundTrack:
    """The track of sound that is read.

    index: its number among the tracks of sound, from 0
    codec: ffmpeg's name of its codec
    mono: whether it has one channel
    floating: whether its file holds floats, which may go beyond full scale
    others: number of further tracks of sound in the file
    title: its title in the file, or an empty text
    """

    index: int = 0
    codec: str = ""
    mono: bool = False
    floating: bool = False
    others: int = 0
    title: str = ""

    def note(self, name: str) -> tuple[str, ...]:
        """Return a line on which track of the file ``name`` is read, where it has several."""
        if not self.others:
            return ()
        which = f"{self.index + 1}{f' ({self.title})' if self.title else ''}"
        return (
            f"{name}: {self.others + 1} tracks of sound; number {which} is taken, as players do by default; save "
            "another to a file of its own to use it",
        )


def sound_track(header: str) -> SoundTrack | None:
    """Return the track of sound that a player plays: the first that is marked as default, or the first.

    header: ffmpeg's list of the streams of a file
    """
    # Programs of MPEG-TS list their streams in any order, and may share one.
    found = {int(track[1]): track for track in _TRACK.finditer(header)}
    if not found:
        return None
    tracks = [found[number] for number in sorted(found)]
    index = next((i for i, track in enumerate(tracks) if "(default)" in track[2]), 0)
    fields = tracks[index][2].split(", ")
    codec = fields[0].split(" ")[0]
    title = _TITLE.search(header[tracks[index].end() :].split("  Stream #0:")[0])
    return SoundTrack(
        index,
        codec,
        mono=any(field in ("mono", "1 channels") for field in fields),
        floating=codec.startswith("pcm_f") or (codec == "wavpack" and "fltp" in fields),
        others=len(found) - 1,
        title="".join(filter(str.isprintable, title[1])).strip()[:_LONGEST_TITLE] if title else "",
    )
