"""Processes that draw the frames of a video, which lie in memory that all of them share.

A frame is read into this memory, drawn there and written from there; it goes through no pipe between processes.
"""

from __future__ import annotations

import mmap
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from types import TracebackType

import numpy as np

from thcli.clips.timed import Stored
from thcli.errors import DeviceError
from thcli.forks import Forks, most_at_a_time
from thcli.records import Image
from thcli.yuv import YuvFrame, frame_values

GROUP = 4
"""Number of frames in a row that are drawn together."""


@dataclass(frozen=True)
class Changed:
    """Part of a frame that was drawn anew: place of its corner, width and height, px."""

    left: int
    top: int
    width: int
    height: int


Draw = Callable[[int, Sequence[YuvFrame]], list[Changed | None]]
"""Function that draws into frames in a row, in place, given the number of the first; it returns what changed."""


class Drawers:
    """Context manager of processes that draw a video, the same bytes for any number of them.

    draw: function that draws some frames
    how: how the frames are read
    count: number of processes; with 0 of them, this process draws

    Raises DeviceError where there is no memory for the frames, or a process cannot be started.
    """

    def __init__(self, draw: Draw, how: Stored, count: int) -> None:
        self._draw = draw
        frames, values, kind = GROUP * most_at_a_time(count), frame_values(how.size), how.colours.dtype
        try:
            shared = np.frombuffer(mmap.mmap(-1, frames * values * kind.itemsize), kind).reshape(frames, values)
        except OSError as error:
            raise DeviceError(
                f"no memory for {frames} frames of {how.size[0]}x{how.size[1]} ({error.strerror}); take fewer "
                "--workers, or free some memory"
            ) from error
        self._frames = [YuvFrame(data, how.size, how.colours) for data in shared]
        self._forks = Forks(self._draw_group, count)

    def __enter__(self) -> Drawers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forks.close()

    def arrays(self) -> Iterator[Image]:
        """Yield the array that each frame of the video is to be read into, in order."""
        return (frame.data for frame in cycle(self._frames))

    def draw_all(self, frames: Iterable[YuvFrame]) -> Iterator[tuple[YuvFrame, Changed | None]]:
        """Yield all frames of the video, drawn, and what changed in them; each counts until the next is asked for.

        frames: the frames in order, read into ``arrays``
        """
        drawn: deque[list[YuvFrame]] = deque()
        for changed in self._forks.map(_grouped(iter(frames), drawn)):
            yield from zip(drawn.popleft(), changed, strict=True)

    def _draw_group(self, numbered: tuple[int, int]) -> list[Changed | None]:
        """Draw a group of frames, given by the number of the first and how many they are."""
        first, count = numbered
        places = [t % len(self._frames) for t in range(first, first + count)]
        return self._draw(first, [self._frames[place] for place in places])


def _grouped(frames: Iterator[YuvFrame], taken: deque[list[YuvFrame]]) -> Iterator[tuple[int, int]]:
    """Yield the number of the first frame of each group, and how many they are; append each group to ``taken``."""
    first = 0
    while group := list(islice(frames, GROUP)):
        taken.append(group)
        yield first, len(group)
        first += len(group)
