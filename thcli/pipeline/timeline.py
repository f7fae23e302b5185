"""Order of frames in a dubbed video: its own and, where the speech is longer, its end backwards and forwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from thcli.clips.timed import TimedFrame
from thcli.pipeline.footage import Footage
from thcli.records import Image
from thcli.yuv import YuvColours, YuvFrame, frame_values

MOST_SECONDS = 10.0
"""Most seconds at the end of a video that go on backwards and forwards."""
LEAST_SECONDS = 1.0
"""Least seconds of the last shot for which it goes on alone."""
MOST_BYTES = 1 << 30
"""Most bytes of frames that are kept on disk for that."""


@dataclass(frozen=True)
class Timeline:
    """Frames of the video that is made.

    source: [M], number of the frame of the video that each one shows
    time: [M] int64, units of ``Footage.unit`` at which each begins
    end: units at which the last one ends
    """

    source: np.ndarray
    time: np.ndarray
    end: int

    def __len__(self) -> int:
        return len(self.source)

    def shown_at(self, seconds: np.ndarray, unit: Fraction) -> np.ndarray:
        """Return the numbers of the frames [n] that are shown at some seconds [n].

        Before the video it is the first frame, and after it the last one.

        unit: seconds of a unit
        """
        # A frame that begins at the very second is shown, however the two were rounded.
        place = np.searchsorted(self.time, seconds / float(unit) + 1e-3, side="right") - 1
        return np.asarray(place.clip(0, len(self) - 1))


def make_timeline(footage: Footage, seconds: float) -> Timeline:
    """Return the order of the frames of a video of some seconds.

    A longer one goes on from its last frame to the one before, and turns where the frames end that go on: those of the
    last shot, at most ``MOST_SECONDS``. Each step takes as long as it took when it was filmed.
    """
    unit, count = float(footage.unit), len(footage)
    end = round(seconds / unit)
    own_end = int(footage.time[-1]) + footage.last
    if end <= own_end:
        kept = max(int(np.searchsorted(footage.time, end - 0.5)), 1)
        return Timeline(np.arange(kept), footage.time[:kept], max(end, int(footage.time[kept - 1]) + 1))
    first = tail_start(footage)
    steps = np.diff(footage.time[first:])
    source, time = [np.arange(count)], [footage.time]
    now, at_end = own_end, True
    while now < end:
        if count - first < 2:
            source.append(np.array([count - 1]))
            time.append(np.array([now]))
            now += footage.last
            continue
        order = np.arange(count - 2, first - 1, -1) if at_end else np.arange(first + 1, count)
        taken = steps[::-1] if at_end else steps
        starts = now + np.concatenate([[0], np.cumsum(taken)[:-1]])
        source.append(order)
        time.append(starts)
        now += int(taken.sum())
        at_end = not at_end
    whole, times = np.concatenate(source), np.concatenate(time).astype(np.int64)
    kept = int(np.searchsorted(times, end - 0.5))
    return Timeline(whole[:kept], times[:kept], end)


def tail_start(footage: Footage) -> int:
    """Return the number of the first frame of the end that goes on backwards and forwards."""
    seconds, end = footage.seconds, footage.end
    of_shot = np.flatnonzero(footage.shot != footage.shot[-1])
    first = int(of_shot[-1]) + 1 if len(of_shot) else 0
    if end - seconds[first] < LEAST_SECONDS:
        first = 0
    first = max(first, int(np.searchsorted(seconds, end - MOST_SECONDS)))
    frame_bytes = frame_values(footage.size) * YuvColours(bits=footage.bits).dtype.itemsize
    room = max(MOST_BYTES // frame_bytes, 1)
    return min(max(first, len(footage) - room), len(footage) - 1)


def in_order(
    frames: Iterable[TimedFrame], line: Timeline, footage: Footage, into: Iterator[Image] | None = None
) -> Iterator[YuvFrame]:
    """Yield the frames of a timeline; those that are shown again are kept in a temporary file.

    frames: all frames of the video, in order; no more are taken than are needed
    into: arrays that frames which are shown again are read into, in order; None for one of its own for each
    """
    again = len(line) > len(footage)
    first = tail_start(footage) if again else len(footage)
    count = min(len(line), len(footage))
    with tempfile.TemporaryFile() as spool:
        shape: YuvFrame | None = None
        for t, timed in zip(range(count), frames, strict=False):
            if t >= first:
                spool.write(timed.frame.data.data)
            shape = timed.frame
            yield timed.frame
        if shape is None or not again:
            return
        size = shape.data.nbytes
        for t in line.source[count:].tolist():
            spool.seek((t - first) * size)
            data = shape.colours.empty_frame(shape.size) if into is None else next(into)
            spool.readinto(data.data.cast("B"))
            yield YuvFrame(data, shape.size, shape.colours)
