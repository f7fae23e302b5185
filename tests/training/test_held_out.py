"""``hold_out``: whole subjects are held out, or of one subject frames that no training episode shows."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.data.episodes import WINDOW, EpisodeMeta, PackedEpisode
from thcli.errors import MediaError
from thcli.training.held_out import hold_out


def an_episode(file: str, frames: list[int], subject: str = "ada") -> PackedEpisode:
    """An episode of some frames of a clip; the number t is in everything that belongs to frame t."""
    names = [str(t).encode() for t in frames]
    jpegs = {"references": [b"r"] * 3, "geometric": names, "projected": names, "real": names}
    landmarks = np.float32(frames)[:, None, None] * np.ones((1, 68, 2), np.float32)
    meta = EpisodeMeta(file, subject, "train", len(frames), 3)
    return PackedEpisode(meta, jpegs, np.zeros((3, 68, 2), np.float32), landmarks, np.array(frames) % 3)


def shown(episodes: list[PackedEpisode]) -> list[int]:
    """The frames that episodes show, after a check that all their parts agree on them."""
    for episode in episodes:
        frames = [int(t) for t in episode.landmarks[:, 0, 0]]
        assert [int(name) for name in episode.jpegs["real"]] == frames == [int(n) for n in episode.jpegs["geometric"]]
        assert episode.matched.tolist() == [t % 3 for t in frames] and episode.meta.frames == len(frames)
        assert len(episode.jpegs["references"]) == 3
        assert all(b == a + 1 for a, b in zip(frames[::WINDOW], frames[1::WINDOW], strict=True)), "whole windows"
    return [int(t) for episode in episodes for t in episode.landmarks[:, 0, 0]]


@pytest.mark.parametrize(("held_out", "expected"), [(1, 1), (2, 2), (9, 3)])
def test_hold_out_of_several_subjects_holds_whole_subjects_out(held_out: int, expected: int) -> None:
    episodes = [an_episode(f"{name}.{i}", [0, 1], name) for name in ("ada", "bo", "cy", "di") for i in range(2)]
    train, apart = hold_out(episodes, held_out, seed=0)
    names = [{episode.meta.subject for episode in part} for part in (train, apart)]
    assert len(names[1]) == expected and not names[0] & names[1] and len(train) + len(apart) == 8
    assert hold_out(episodes, held_out, seed=0) == (train, apart)
    assert len({frozenset(t.meta.subject for t in hold_out(episodes, held_out, seed)[1]) for seed in range(9)}) > 1


def test_hold_out_of_no_subject_validates_on_the_training_episodes() -> None:
    episodes = [an_episode("ada.0", [0, 1])]
    assert hold_out(episodes, 0, seed=0) == (episodes, episodes)


def test_hold_out_of_one_episode_holds_its_last_windows_out() -> None:
    frames = [*range(20), 30, 31, 40, 41]
    train, apart = hold_out([an_episode("ada.0", frames)], 10, seed=0)
    assert shown(train) == frames[:18] and shown(apart) == frames[18:]


def test_hold_out_cuts_a_whole_episode_into_pieces() -> None:
    _, apart = hold_out([an_episode("ada.0", list(range(40))), an_episode("ada.1", list(range(60, 76)))], 10, seed=0)
    assert shown(apart) == list(range(60, 76))
    assert {episode.meta.frames for episode in apart} == {4}


def test_hold_out_of_one_subject_trains_on_no_held_out_frame() -> None:
    episodes = [an_episode(f"ada.{i}", list(range(first, first + 16))) for i, first in enumerate((0, 8, 31, 40, 25))]
    train, apart = hold_out(episodes, 10, seed=0)
    assert shown(apart) == list(range(25, 41))
    # The third episode shows 31 to 46, and its windows (31, 32) to (39, 40) share a frame with the last episode.
    # So does the window (40, 41) of the fourth.
    assert shown(train) == [*range(16), *range(8, 24), *range(41, 47), *range(42, 56)]


@pytest.mark.parametrize("frames_of_each", [[[0, 1]], [[0, 1, 2, 3], [0, 1, 2, 3]]])
def test_hold_out_refuses_too_few_frames_of_one_subject(frames_of_each: list[list[int]]) -> None:
    with pytest.raises(MediaError, match=r"^ada\.0: episodes of one subject, with too few frames to hold some out; "):
        hold_out([an_episode(f"ada.{i}", frames) for i, frames in enumerate(frames_of_each)], 10, seed=0)
