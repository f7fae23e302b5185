"""Stores of clips and face tracks on disk: what was written comes back, whole or not at all."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thcli.data.store import CROP, TRACK, ClipMeta, Store, StoreWriter, load_track, save_track, write_index
from thcli.errors import MediaError
from thcli.records import FaceTrack

META = ClipMeta("a_00", "a", "train", 5, av_lag=-1, source="somewhere", license="MIT")


def track(frames: int = 5) -> FaceTrack:
    random = np.random.default_rng(0)

    def values(*shape: int) -> np.ndarray:
        return random.normal(size=shape).astype(np.float32)

    return FaceTrack(
        box=values(frames, 4), mesh=values(frames, 478, 3), landmarks=values(frames, 68, 3), pose=values(frames, 6),
        scale=0.0125, confidence=values(frames), size=(256, 192), tracker="builtin 1",
    )  # fmt: skip


def write(root: Path, meta: ClipMeta) -> None:
    with StoreWriter(root).clip(meta) as folder:
        (folder / CROP).write_bytes(b"frames")
        save_track(folder / TRACK, track())


def test_load_track_returns_what_was_saved_without_pickle(tmp_path: Path) -> None:
    saved, path = track(), tmp_path / "x.track.npz"
    save_track(path, saved)
    back = load_track(path)
    for field in dataclasses.fields(FaceTrack):
        np.testing.assert_array_equal(getattr(back, field.name), getattr(saved, field.name))
    assert (back.size, back.scale, back.tracker) == ((256, 192), 0.0125, "builtin 1")
    with np.load(path, allow_pickle=False) as file:
        assert {"fps", "box", "landmarks", "mesh", "pose", "confidence", "tracker"} <= set(file.files)


def test_store_returns_the_clips_that_were_written(tmp_path: Path) -> None:
    other = dataclasses.replace(META, clip="b_00", subject="b", split="val", av_lag=None)
    write(tmp_path, other)
    write(tmp_path, META)
    write_index(tmp_path)
    store = Store(tmp_path)
    assert store.clips == [META, other]
    assert store.select("val") == [other]
    assert store.crop("a_00").read_bytes() == b"frames"
    assert len(store.track("b_00")) == 5


def test_store_writer_leaves_a_clip_whole_or_not_at_all(tmp_path: Path) -> None:
    writer = StoreWriter(tmp_path)
    with pytest.raises(RuntimeError), writer.clip(META) as folder:
        (folder / CROP).write_bytes(b"half")
        raise RuntimeError
    assert not writer.has("a_00") and list(tmp_path.iterdir()) == []
    write(tmp_path, META)
    assert writer.has("a_00")


def test_sweep_removes_unfinished_clips_of_killed_processes_alone(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for clip, process in (("a_00", ended.pid), ("b_00", os.getpid())):
        (tmp_path / f".{clip}.{process}.partial").mkdir(parents=True)
    write(tmp_path, META)
    StoreWriter(tmp_path).sweep()
    assert {path.name for path in tmp_path.iterdir()} == {"a_00", f".b_00.{os.getpid()}.partial"}


def test_store_writer_replaces_a_clip_that_is_written_again(tmp_path: Path) -> None:
    write(tmp_path, META)
    with StoreWriter(tmp_path).clip(dataclasses.replace(META, frames=6)) as folder:
        save_track(folder / TRACK, track(6))
    write_index(tmp_path)
    assert [meta.frames for meta in Store(tmp_path).clips] == [6]
    assert not Store(tmp_path).crop("a_00").exists()


def test_store_ignores_keys_of_later_versions(tmp_path: Path) -> None:
    record = {**dataclasses.asdict(META), "brightness": 3}
    (tmp_path / "index.jsonl").write_text(json.dumps(record) + "\n\n")
    assert Store(tmp_path).clips == [META]


@pytest.mark.parametrize("index", ["{}\n", "[1]\n", "not json\n"])
def test_store_names_a_damaged_index(tmp_path: Path, index: str) -> None:
    (tmp_path / "index.jsonl").write_text(index)
    with pytest.raises(MediaError, match=r"index.jsonl: not a record"):
        Store(tmp_path)


def test_store_and_load_track_refuse_missing_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="thgen preprocess all"):
        Store(tmp_path)
    with pytest.raises(MediaError, match="no such face track"):
        load_track(tmp_path / "x.npz")
    (tmp_path / "x.npz").write_bytes(b"nothing")
    with pytest.raises(MediaError, match="not a face track"):
        load_track(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", **{**vars(track()), "fps": 30})
    with pytest.raises(MediaError, match="30 frames a second, expected 25"):
        load_track(tmp_path / "x.npz")
