"""Frames are drawn in order, in the same groups whatever the number of processes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from thcli.forks import Forks
from thcli.pipeline.redrawn import GROUP, Changed, draw_all
from thcli.yuv import YuvColours, YuvFrame


def number_frames(numbered: tuple[int, list[YuvFrame]]) -> tuple[list[YuvFrame], list[Changed | None]]:
    """Draw the number of each frame into it, and report it with the size of its group."""
    first, frames = numbered
    for i, frame in enumerate(frames):
        frame.y[:] = first + i
    return frames, [Changed(first + i, len(frames), 2, 2) for i in range(len(frames))]


def empty(count: int) -> Iterator[YuvFrame]:
    for _ in range(count):
        yield YuvFrame(np.zeros(6, np.uint8), (2, 2), YuvColours())


@pytest.mark.parametrize("count", [0, 1, 3])
def test_draw_all_keeps_the_order_and_the_groups_for_any_number_of_processes(count: int) -> None:
    with Forks(number_frames, count) as forks:
        drawn = list(draw_all(empty(3 * GROUP + 1), forks))
    assert [int(frame.y[0, 0]) for frame, _ in drawn] == list(range(3 * GROUP + 1))
    changed = [(one.left, one.top) for _, one in drawn if one]
    assert changed == [(n, GROUP if n < 3 * GROUP else 1) for n in range(3 * GROUP + 1)]
