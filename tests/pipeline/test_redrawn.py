"""Frames are drawn ahead in order, in the same groups on any number of cores, and few are waiting at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from threading import Lock

import numpy as np
import pytest

from thcli.pipeline import redrawn
from thcli.pipeline.redrawn import GROUP, Changed, draw_ahead
from thcli.yuv import YuvColours, YuvFrame


class Numbering:
    """Draws the number of each frame into it, and the size of its group."""

    def __init__(self) -> None:
        self.groups: dict[int, int] = {}
        self.lock = Lock()

    def draw(self, first: int, frames: Sequence[YuvFrame]) -> list[Changed | None]:
        with self.lock:
            self.groups[first] = len(frames)
        for i, frame in enumerate(frames):
            frame.y[:] = first + i
        return [Changed(first + i, 0, 2, 2) for i in range(len(frames))]


class Source:
    """Yields empty frames, and counts them."""

    taken = 0

    def frames(self, count: int) -> Iterator[YuvFrame]:
        for _ in range(count):
            self.taken += 1
            yield YuvFrame(np.zeros(6, np.uint8), (2, 2), YuvColours())


@pytest.mark.parametrize("cores", [1, 2, 5])
def test_draw_ahead_keeps_the_order_and_the_groups_on_any_number_of_cores(monkeypatch, cores):
    monkeypatch.setattr(redrawn, "usable_cores", lambda: cores)
    drawer = Numbering()
    drawn = list(draw_ahead(drawer, Source().frames(3 * GROUP + 1), "cpu"))
    assert [int(frame.y[0, 0]) for frame, _ in drawn] == list(range(3 * GROUP + 1))
    assert [changed.left for _, changed in drawn] == list(range(3 * GROUP + 1))
    assert drawer.groups == {0: GROUP, GROUP: GROUP, 2 * GROUP: GROUP, 3 * GROUP: 1}


def test_draw_ahead_takes_no_more_frames_than_it_needs(monkeypatch):
    monkeypatch.setattr(redrawn, "usable_cores", lambda: 2)
    source = Source()
    for number, _ in enumerate(draw_ahead(Numbering(), source.frames(50 * GROUP), "cpu")):
        assert source.taken - number <= 4 * GROUP


def test_draw_ahead_raises_what_drawing_raises(monkeypatch):
    class Broken(Numbering):
        def draw(self, first: int, frames: Sequence[YuvFrame]) -> list[Changed | None]:
            if first:
                raise RuntimeError("broken")
            return super().draw(first, frames)

    drawn = draw_ahead(Broken(), Source().frames(3 * GROUP), "cpu")
    assert len([next(drawn) for _ in range(GROUP)]) == GROUP
    with pytest.raises(RuntimeError, match="broken"):
        next(drawn)
