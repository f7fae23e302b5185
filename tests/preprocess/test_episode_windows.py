"""``make_episodes`` chooses the windows of an episode beside its references, where the face was found."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.encode import VideoWriter
from thcli.data.episodes import Episode
from thcli.data.store import CROP, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.preprocess import episodes as preprocess
from thcli.preprocess.episodes import PAST, EpisodeOptions, make_episodes
from thcli.records import FaceTrack


@pytest.fixture
def chosen(monkeypatch) -> list[tuple[list[int], list[int]]]:
    """Record the frames that references come from, and the first frames of windows, of each episode.

    Frames are told apart by their confidence. The episodes are of a single pixel.
    """
    record = []

    def render(models, person, clip, track, windows, random):
        frames = {float(value): t for t, value in enumerate(track.confidence)}
        record.append(([frames[float(value)] for value in person.track.confidence], list(windows)))
        pixel, point = np.zeros((1, 1, 1, 3), np.uint8), np.zeros((1, 68, 2), np.float32)
        return Episode(pixel, point, pixel, pixel, pixel, point, np.zeros(1, np.int64))

    monkeypatch.setattr(preprocess, "render_episode", render)
    return record


def one_clip(root: Path, track: FaceTrack) -> Store:
    """Make a store of one black clip with this track."""
    with StoreWriter(root).clip(ClipMeta("one", "one", "train", len(track))) as folder:
        with VideoWriter(folder / CROP, (256, 256), None, len(track)) as video:
            for _ in range(len(track)):
                video.write(np.zeros((256, 256, 3), np.uint8))
        save_track(folder / TRACK, track)
    write_index(root)
    return Store(root)


@pytest.mark.parametrize(("length", "windows"), [(42, 1), (60, 3), (90, 11), (200, 8)])
def test_make_episodes_chooses_windows_apart_and_without_references(tmp_path, talking, chosen, length, windows):
    confidence = np.linspace(0.5, 1, length, dtype=np.float32)
    store = one_clip(tmp_path / "store", dataclasses.replace(talking(0, length), confidence=confidence))
    run = make_episodes(store, tmp_path / "episodes", EpisodeOptions(episodes=30, windows=windows))
    assert [outcome.status for outcome in run.outcomes] == ["done"] and len(chosen) == 30
    for references, firsts in chosen:
        assert PAST[0] <= len(references) <= PAST[1]
        assert references == list(range(references[0], references[-1] + 1))
        assert len(firsts) == windows and firsts == sorted(firsts)
        frames = {t for first in firsts for t in (first, first + 1)}
        assert len(frames) == 2 * windows and frames <= set(range(length)) - set(references)


def test_make_episodes_leaves_out_frames_where_the_face_was_lost(tmp_path, talking, chosen):
    confidence = np.ones(100, np.float32)
    confidence[::3] = 0
    store = one_clip(tmp_path / "store", dataclasses.replace(talking(0, 100), confidence=confidence))
    run = make_episodes(store, tmp_path / "episodes", EpisodeOptions(episodes=20, windows=8))
    assert [outcome.status for outcome in run.outcomes] == ["done"] and len(chosen) == 20
    windows = [firsts for _, firsts in chosen]
    assert all((confidence[[first, first + 1]] > 0).all() for firsts in windows for first in firsts)
    assert 1 <= min(map(len, windows)) < 8
