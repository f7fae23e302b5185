"""Frames and meshes of faces from a store, for the training of the detector and the mesh network."""

from pathlib import Path

import numpy as np
import pytest

from thcli.clips.encode import VideoWriter
from thcli.data.faces import PHOTOS, FaceSamples, draw_chances, load_faces, split_faces
from thcli.data.store import CROP, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import MediaError
from thcli.records import FaceTrack


def write(root: Path, name: str, frames: int, brightness: int, side: int = 256, split: str = "train") -> None:
    mesh = np.full((frames, 478, 3), brightness, np.float32) + np.arange(frames, dtype=np.float32)[:, None, None]
    zeros, confidence = np.zeros((frames, 6), np.float32), np.ones(frames, np.float32)
    confidence[2:3] = 0
    track = FaceTrack(zeros[:, :4], mesh, mesh[:, :68], zeros, 1.0, confidence, (side, side), "made up")
    with StoreWriter(root).clip(ClipMeta(name, name, split, frames)) as folder:
        save_track(folder / TRACK, track)
        with VideoWriter(folder / CROP, (side, side), None, frames) as video:
            for _ in range(frames):
                video.write(np.full((side, side, 3), brightness, np.uint8))


def test_load_faces_gives_frames_with_their_meshes_and_leaves_out_interpolated_ones(tmp_path: Path) -> None:
    write(tmp_path, "a", 5, 60)
    write(tmp_path, "b", 1, 180)
    write_index(tmp_path)
    samples = load_faces(Store(tmp_path), ["train"], 2)
    assert samples.subjects.tolist() == ["a", "a", "b"] and samples.images.shape == (3, 256, 256, 3)
    np.testing.assert_allclose(samples.images.mean((1, 2, 3)), [60, 60, 180], atol=3)
    np.testing.assert_array_equal(samples.meshes[:, 0, 0], [60, 64, 180])
    assert samples.chances.sum() == pytest.approx(1) and samples.chances[2] == pytest.approx(PHOTOS)


def test_load_faces_takes_clips_of_all_splits_that_are_named(tmp_path: Path) -> None:
    write(tmp_path, "a", 1, 60)
    write(tmp_path, "mute", 1, 180, split="train_silent")
    write_index(tmp_path)
    assert load_faces(Store(tmp_path), ["train"], 1).subjects.tolist() == ["a"]
    assert load_faces(Store(tmp_path), ["train", "train_silent"], 1).subjects.tolist() == ["a", "mute"]


def test_load_faces_names_clips_of_another_size_and_a_split_without_frames(tmp_path: Path) -> None:
    write(tmp_path, "small", 1, 60, side=128)
    write_index(tmp_path)
    with pytest.raises(MediaError, match="'small' is tracked at 128x128, expected 256x256"):
        load_faces(Store(tmp_path), ["train"], 1)
    with pytest.raises(MediaError, match="no tracked frames of split 'val'"):
        load_faces(Store(tmp_path), ["val"], 1)


def test_draw_chances_grow_with_a_subjects_frames_but_less_than_in_proportion() -> None:
    owners = [ClipMeta("a", "a", "train", 100)] * 100 + [ClipMeta("b", "b", "train", 10)] * 10
    chances = draw_chances(owners)
    ratio = chances[:100].sum() / chances[100:].sum()
    assert chances.sum() == pytest.approx(1) and ratio == pytest.approx(10**0.3)


def test_split_faces_holds_out_whole_subjects() -> None:
    subjects = np.repeat([f"s{i}" for i in range(10)], 3)
    zeros = np.zeros((30, 1, 1, 3), np.uint8)
    samples = FaceSamples(zeros, zeros[:, 0].astype(np.float32), subjects, np.full(30, 1 / 30))
    kept, held_out = split_faces(samples, 0.2, seed=1)
    assert len(held_out) == 6 and len(kept) == 24 and not set(kept.subjects) & set(held_out.subjects)
    assert kept.chances.sum() == pytest.approx(1)
    again, _ = split_faces(samples, 0.2, seed=1)
    np.testing.assert_array_equal(again.subjects, kept.subjects)
    with pytest.raises(MediaError, match="1 subjects to train on"):
        split_faces(kept.select(kept.subjects == kept.subjects[0]), 0.2, seed=0)
