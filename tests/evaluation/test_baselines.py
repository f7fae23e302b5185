"""``baselines``: the rows of a table that stand beside what is measured."""

from dataclasses import replace

import numpy as np
import pytest

from thcli.evaluation.baselines import APART, FIRST, NEAREST, PAST, REAL, SHUFFLED, baselines, nearest
from thcli.records import N_EXPRESSION


@pytest.fixture(scope="module")
def rows(recording):
    """A pair of different videos and its baselines."""
    from thcli.evaluation.recording import Pair

    made, true = recording(120, "made.mp4", expression=np.zeros((120, N_EXPRESSION))), recording(120, "true.mp4")
    pair = Pair(made, true, ("a note",))
    return pair, dict(baselines(pair))


def test_baselines_stand_beside_the_same_reference(rows):
    pair, found = rows
    assert list(found) == [REAL, FIRST, NEAREST, SHUFFLED]
    for row in found.values():
        assert row.reference is pair.reference
        assert row.notes == ("a note",)
        assert len(row.predicted) == len(row.predicted.track) == 120


def test_real_baseline_is_the_reference(rows):
    pair, found = rows
    assert found[REAL].predicted is pair.reference


def test_first_frame_baseline_holds_the_first_frame(rows):
    pair, found = rows
    held = found[FIRST].predicted
    assert (held.frames == pair.reference.frames[0]).all()
    assert not np.diff(held.track.mesh, axis=0).any()
    assert held.speech is pair.reference.speech


def test_nearest_frame_baseline_shows_frames_of_the_first_quarter_that_are_no_neighbours(rows):
    pair, found = rows
    true, row = pair.reference, found[NEAREST].predicted
    past = min(PAST, 30)
    for t in range(len(row)):
        same = np.flatnonzero((true.track.mesh[:past] == row.track.mesh[t]).all((1, 2)))
        assert len(same), f"frame {t} is none of the first {past}"
        assert np.abs(same - t).min() >= min(APART, past // 2)
        assert (row.frames[t] == true.frames[same[0]]).all()


def test_shuffled_baseline_is_the_predicted_video_out_of_step(rows):
    pair, found = rows
    shuffled = found[SHUFFLED].predicted
    np.testing.assert_array_equal(shuffled.frames[60:], pair.predicted.frames[:60])
    np.testing.assert_array_equal(shuffled.track.mesh[:60], pair.predicted.track.mesh[60:])
    assert shuffled.speech is pair.predicted.speech


def test_baselines_leave_out_the_nearest_frame_without_a_face_and_take_a_single_frame(recording, pair):
    bare = replace(recording(4), track=None)
    assert [name for name, _ in baselines(pair(bare, bare))] == [REAL, FIRST, SHUFFLED]
    single = dict(baselines(pair(recording(1))))
    assert all(len(row.predicted) == 1 for row in single.values())


def test_nearest_finds_the_frame_itself_in_a_longer_past(recording):
    track = recording(60).track
    np.testing.assert_array_equal(nearest(track, track.select(slice(20, 40))), np.arange(20, 40))


@pytest.mark.parametrize(("turn", "open_", "expected"), [(0.5, 0.3, 0), (0.01, 3.0, 1)])
def test_nearest_weighs_the_head_against_the_lips(recording, turn, open_, expected):
    # The first of two past frames has the wanted head and other lips, the second the wanted lips and another head.
    pose, shape = np.zeros((3, 6), np.float32), np.zeros((3, N_EXPRESSION), np.float32)
    shape[0, 0], pose[1, 1] = open_, turn
    track = recording(3, pose=pose, expression=shape).track
    assert nearest(track.select(slice(2)), track.select(slice(2, 3))) == expected
