"""Frames are drawn in order, in the same groups whatever the number of processes, and never before they are written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from thcli.clips.timed import Stored
from thcli.errors import DeviceError
from thcli.pipeline.drawers import GROUP, Changed, Drawers
from thcli.records import Image
from thcli.yuv import YuvColours, YuvFrame

HOW = Stored((2, 2), YuvColours(), {})
FRAMES = 20 * GROUP + 1


def add_numbers(first: int, frames: Sequence[YuvFrame]) -> list[Changed | None]:
    """Add the number of each frame to what it shows, and report it with the size of its group."""
    for i, frame in enumerate(frames):
        frame.y[:] += first + i
    return [Changed(first + i, len(frames), 2, 2) for i in range(len(frames))]


def read(arrays: Iterator[Image]) -> Iterator[YuvFrame]:
    """Read made-up frames, of which each shows its number."""
    for t, data in zip(range(FRAMES), arrays, strict=False):
        data[:] = t
        yield YuvFrame(data, HOW.size, HOW.colours)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_draw_all_keeps_the_order_and_the_groups_for_any_number_of_processes(count: int) -> None:
    with Drawers(add_numbers, HOW, count) as drawers:
        drawn = [(int(frame.y[0, 0]), frame.y.copy(), one) for frame, one in drawers.draw_all(read(drawers.arrays()))]
    assert [number for number, _, _ in drawn] == [2 * t for t in range(FRAMES)]
    assert all((y == number).all() for number, y, _ in drawn)
    changed = [(one.left, one.top) for _, _, one in drawn if one]
    assert changed == [(n, GROUP if n < 20 * GROUP else 1) for n in range(FRAMES)]


def test_the_memory_of_frames_does_not_depend_on_the_video() -> None:
    with Drawers(add_numbers, HOW, 2) as drawers:
        places = {data.ctypes.data for data, _ in zip(drawers.arrays(), range(FRAMES), strict=False)}
    assert len(places) == 4 * GROUP


def test_frames_that_no_memory_can_hold_give_one_line() -> None:
    vast = Stored((1 << 24, 1 << 24), YuvColours(), {})
    with pytest.raises(
        DeviceError, match=r"^no memory for 16 frames of 16777216x16777216 \(.*\); take fewer --workers"
    ):
        Drawers(add_numbers, vast, 2)
