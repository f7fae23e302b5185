"""Face tracks on disk: a clip that was tracked once is not tracked again, whatever happens to the folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from thcli.pipeline import track_cache
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.records import FaceTrack

Talking = Callable[[int, int], FaceTrack]


class Maker:
    """Makes a track, and counts how often."""

    def __init__(self, track: FaceTrack) -> None:
        self.track, self.made = track, 0

    def __call__(self) -> FaceTrack:
        self.made += 1
        return self.track


@pytest.fixture
def make(talking: Talking) -> Maker:
    return Maker(talking(0, 7))


def same(one: FaceTrack, other: FaceTrack) -> bool:
    pairs = ((getattr(one, f.name), getattr(other, f.name)) for f in fields(FaceTrack))
    return all(np.array_equal(a, b) and np.asarray(a).dtype == np.asarray(b).dtype for a, b in pairs)


def test_track_cache_of_another_run_returns_the_same_track_to_the_bit(tmp_path: Path, make: Maker) -> None:
    assert TrackCache(tmp_path / "new").get("a", make) is make.track
    assert same(TrackCache(tmp_path / "new").get("a", make), make.track)
    assert make.made == 1
    TrackCache(tmp_path / "new").get("b", make)
    assert make.made == 2
    assert {path.name for path in (tmp_path / "new").iterdir()} == {"a.track.npz", "b.track.npz"}


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 half", b"not a track", None])
def test_track_cache_makes_a_damaged_file_anew(tmp_path: Path, make: Maker, content: bytes | None) -> None:
    cache, path = TrackCache(tmp_path), tmp_path / "a.track.npz"
    cache.get("a", make)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    assert cache.get("a", make) is make.track
    assert same(cache.get("a", make), make.track) and make.made == 2


def test_track_cache_does_without_a_folder_that_cannot_be_written(tmp_path: Path, make: Maker) -> None:
    (tmp_path / "file").write_text("")
    cache = TrackCache(tmp_path / "file" / "below")
    assert cache.get("a", make) is cache.get("a", make) and make.made == 2


def test_track_cache_deletes_the_tracks_not_used_for_longest(tmp_path: Path, make: Maker) -> None:
    TrackCache(tmp_path).get("a", make)
    size = (tmp_path / "a.track.npz").stat().st_size
    cache = TrackCache(tmp_path, most=3 * size + size // 2)
    for age, key in ((40, "b"), (30, "c")):
        cache.get(key, make)
        os.utime(tmp_path / f"{key}.track.npz", (0, 1e9 - age))
    os.utime(tmp_path / "a.track.npz", (0, 1e9 - 50))
    cache.get("a", make)  # used again
    cache.get("d", make)
    assert {path.name[0] for path in tmp_path.iterdir()} == {"a", "c", "d"}
    TrackCache(tmp_path, most=1).get("e", make)
    assert [path.name[0] for path in tmp_path.iterdir()] == ["e"]


def test_track_key_depends_on_all_that_a_track_depends_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip, copy, other = (tmp_path / name for name in ("clip", "copy", "other"))
    for path, content in ((clip, b"1"), (copy, b"1"), (other, b"2")):
        path.write_bytes(content)
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "unprojection.onnx").write_bytes(b"another network")
    plain = track_key(clip, "builtin 1", None, 0.0, 4.0, "largest")
    assert plain == track_key(copy, "builtin 1", None, 0.0, 4.0, "largest")
    others = [
        track_key(other, "builtin 1", None, 0.0, 4.0, "largest"),
        track_key(clip, "builtin 2", None, 0.0, 4.0, "largest"),
        track_key(clip, "builtin 1", mine, 0.0, 4.0, "largest"),
        track_key(clip, "builtin 1", None, 1.0, 4.0, "largest"),
        track_key(clip, "builtin 1", None, 0.0, 2.0, "largest"),
        track_key(clip, "builtin 1", None, 0.0, 4.0, (0.0, 0.0, 9.0, 9.0)),
    ]
    monkeypatch.setattr(track_cache, "__version__", "0.0.9")
    others.append(track_key(clip, "builtin 1", None, 0.0, 4.0, "largest"))
    assert len({plain, *others}) == 8


def test_track_cache_lies_in_the_cache_folder_of_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert TrackCache().folder == tmp_path / "thgen" / "tracks"


def content_of(path: Path) -> str:
    """Read a file of the cache that is not damaged."""
    content = path.read_text()
    if not content.startswith("whole"):
        raise ValueError("damaged")
    return content


def writer(content: str) -> Callable[[Path], None]:
    """Return what writes a file of the cache."""

    def write(path: Path) -> None:
        path.write_text(content)

    return write


def test_content_is_made_once_and_anew_where_it_is_damaged(tmp_path: Path) -> None:
    cache = TrackCache(tmp_path)
    for made in ("whole 1", "whole 2"):
        with cache.content("a", writer(made), content_of) as content:
            assert content == "whole 1"
    (tmp_path / "a.footage").write_text("spoilt")
    for made in ("whole 3", "whole 4"):
        with cache.content("a", writer(made), content_of) as content:
            assert content == "whole 3"


def test_content_stays_while_it_is_used_though_the_cache_needs_its_room(tmp_path: Path) -> None:
    cache = TrackCache(tmp_path, most=8)
    with cache.content("a", writer("whole a"), Path) as first, cache.content("b", writer("whole b"), Path):
        assert [path.name for path in tmp_path.iterdir()] == ["b.footage"]
        assert content_of(first) == "whole a"
    assert not first.exists()


def test_content_is_made_where_nothing_can_be_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with TrackCache(tmp_path / "file" / "tracks").content("a", writer("whole"), content_of) as content:
        assert content == "whole"
