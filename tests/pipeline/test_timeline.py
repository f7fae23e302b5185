"""The order of frames of a dubbed video: cut, whole, or backwards and forwards at its end without a jump."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.timed import TimedFrame
from thcli.pipeline.footage import Footage
from thcli.pipeline.timeline import Timeline, in_order, make_timeline, tail_start
from thcli.yuv import YuvColours, YuvFrame


def footage(steps: list[int], shot: list[int] | None = None) -> Footage:
    """Return what is known of a video whose frames are shown for some hundredths of a second each."""
    count = len(steps)
    time = np.concatenate([[0], np.cumsum(steps)[:-1]]).astype(np.int64)
    nothing = np.zeros(count, np.float32)
    shots = np.zeros(count, np.int32) if shot is None else np.array(shot, np.int32)
    colours = np.zeros((count, 1, 3), np.uint8)
    return Footage(Path("x"), (4, 2), time, Fraction(1, 100), steps[-1], shots, nothing, nothing, colours, "none")


def numbered(one: Footage) -> Iterator[TimedFrame]:
    """Yield frames of which every code value is the frame's number."""
    for t in range(len(one)):
        yield TimedFrame(YuvFrame(np.full(12, t, np.uint8), (4, 2), YuvColours()), 0, one.unit, 10)


def test_a_video_of_its_own_length_is_itself():
    one = footage([4, 4, 8, 4])
    line = make_timeline(one, one.end)
    assert line.source.tolist() == [0, 1, 2, 3] and line.time.tolist() == [0, 4, 8, 16] and line.end == 20


def test_a_shorter_video_ends_earlier():
    line = make_timeline(footage([4] * 10), 0.18)
    assert line.source.tolist() == [0, 1, 2, 3, 4] and line.end == 18


def test_a_longer_video_goes_backwards_and_forwards_with_the_steps_that_were_filmed():
    line = make_timeline(footage([50, 30, 40, 20]), 3.9)
    assert line.source.tolist() == [0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2][: len(line)]
    assert line.time.tolist()[:8] == [0, 50, 80, 120, 140, 180, 210, 260]
    assert line.time[-1] < line.end == 390


@pytest.mark.parametrize("seconds", [0.5, 3.0, 30.0])
def test_neighbours_in_time_are_neighbours_in_the_video(seconds):
    one = footage([4] * 60)
    line = make_timeline(one, seconds)
    assert np.abs(np.diff(line.source)).max() == 1
    assert (np.diff(line.time) > 0).all() and line.end == round(seconds * 100)
    assert line.end - line.time[-1] <= 8


def test_only_the_last_shot_goes_on():
    one = footage([4] * 100, [0] * 50 + [1] * 50)
    assert tail_start(one) == 50
    assert make_timeline(one, 20.0).source[100:].min() == 50


def test_at_most_ten_seconds_go_on():
    assert tail_start(footage([4] * 1000)) == 750


def test_a_very_short_last_shot_does_not_go_on_alone():
    assert tail_start(footage([4] * 100, [0] * 90 + [1] * 10)) == 0


@pytest.mark.parametrize("unit", [Fraction(1, 25600), Fraction(1, 25), Fraction(1001, 30000)])
def test_a_frame_is_shown_from_the_second_at_which_it_begins(unit):
    step = 1024 if unit == Fraction(1, 25600) else 1
    line = Timeline(np.arange(500), np.arange(500) * step, 500 * step)
    begins = np.arange(500) * float(unit * step)
    assert np.array_equal(line.shown_at(begins, unit), np.arange(500))
    assert np.array_equal(line.shown_at(begins + 0.9 * float(unit * step), unit), np.arange(500))
    assert line.shown_at(np.array([-1.0, 1e3]), unit).tolist() == [0, 499]


def test_a_last_frame_that_is_shown_for_longer_than_goes_on_stays():
    one = footage([4] * 20 + [1500])
    line = make_timeline(one, 40.0)
    assert tail_start(one) == 20 and line.source[20:].tolist() == [20] * 3
    assert [int(frame.data[0]) for frame in in_order(numbered(one), line, one)] == line.source.tolist()


def test_a_single_frame_stays():
    assert make_timeline(footage([4]), 0.2).source.tolist() == [0] * 5


def test_frames_that_are_shown_again_are_as_they_were_read():
    one = footage([10] * 8)
    line = make_timeline(one, 2.0)
    shown = []
    for frame in in_order(numbered(one), line, one):
        shown.append(int(frame.data[0]))
        frame.data[:] = 99  # drawing into a frame does not change what is shown again
    assert shown == line.source.tolist()
