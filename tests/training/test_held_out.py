"""Which takes Θ is trained on: whole subjects apart, and of one subject frames that no other take shows."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.data.episodes import WINDOW, PackedTake, TakeMeta
from thcli.errors import MediaError
from thcli.training.held_out import hold_out


def a_take(file: str, frames: list[int], subject: str = "ada") -> PackedTake:
    """A take of some frames of a clip; number t is in everything that belongs to frame t."""
    names = [str(t).encode() for t in frames]
    jpegs = {"references": [b"r"] * 3, "geometric": names, "projected": names, "real": names}
    landmarks = np.float32(frames)[:, None, None] * np.ones((1, 68, 2), np.float32)
    meta = TakeMeta(file, subject, "train", len(frames), 3)
    return PackedTake(meta, jpegs, np.zeros((3, 68, 2), np.float32), landmarks, np.array(frames) % 3)


def shown(takes: list[PackedTake]) -> list[int]:
    """The frames that takes show, and that all their parts agree on them."""
    for take in takes:
        frames = [int(t) for t in take.landmarks[:, 0, 0]]
        assert [int(name) for name in take.jpegs["real"]] == frames == [int(n) for n in take.jpegs["geometric"]]
        assert take.matched.tolist() == [t % 3 for t in frames] and take.meta.frames == len(frames)
        assert len(take.jpegs["references"]) == 3
        assert all(b == a + 1 for a, b in zip(frames[::WINDOW], frames[1::WINDOW], strict=True)), "whole windows"
    return [int(t) for take in takes for t in take.landmarks[:, 0, 0]]


@pytest.mark.parametrize(("held_out", "expected"), [(1, 1), (2, 2), (9, 3)])
def test_of_several_subjects_whole_ones_are_held_out(held_out: int, expected: int) -> None:
    takes = [a_take(f"{name}.{i}", [0, 1], name) for name in ("ada", "bo", "cy", "di") for i in range(2)]
    train, apart = hold_out(takes, held_out, seed=0)
    names = [{take.meta.subject for take in part} for part in (train, apart)]
    assert len(names[1]) == expected and not names[0] & names[1] and len(train) + len(apart) == 8
    assert hold_out(takes, held_out, seed=0) == (train, apart)
    assert len({frozenset(t.meta.subject for t in hold_out(takes, held_out, seed)[1]) for seed in range(9)}) > 1


def test_with_none_to_hold_out_takes_are_looked_at_themselves() -> None:
    takes = [a_take("ada.0", [0, 1])]
    assert hold_out(takes, 0, seed=0) == (takes, takes)


def test_of_one_take_the_last_windows_are_held_out() -> None:
    frames = [*range(20), 30, 31, 40, 41]
    train, apart = hold_out([a_take("ada.0", frames)], 10, seed=0)
    assert shown(train) == frames[:18] and shown(apart) == frames[18:]


def test_a_held_out_take_is_looked_at_whole() -> None:
    _, apart = hold_out([a_take("ada.0", list(range(40))), a_take("ada.1", list(range(60, 76)))], 10, seed=0)
    assert shown(apart) == list(range(60, 76))
    assert {take.meta.frames for take in apart} == {4}


def test_of_one_subject_no_held_out_frame_is_trained_on() -> None:
    takes = [a_take(f"ada.{i}", list(range(first, first + 16))) for i, first in enumerate((0, 8, 31, 40, 25))]
    train, apart = hold_out(takes, 10, seed=0)
    assert shown(apart) == list(range(25, 41))
    # the third take shows 31 to 46: windows (31, 32) to (39, 40) share a frame with the last one; so does (40, 41)
    assert shown(train) == [*range(16), *range(8, 24), *range(41, 47), *range(42, 56)]


@pytest.mark.parametrize("takes", [[[0, 1]], [[0, 1, 2, 3], [0, 1, 2, 3]]])
def test_too_little_of_one_subject(takes: list[list[int]]) -> None:
    with pytest.raises(MediaError, match=r"^ada\.0: takes of one subject, with too few frames to hold some out; "):
        hold_out([a_take(f"ada.{i}", frames) for i, frames in enumerate(takes)], 10, seed=0)
