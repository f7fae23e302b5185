"""Which frames of the clip the picture is made of."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import thgen_models
from thcli.face_model import FaceModel, eye_opening
from thcli.render.references import UNSURE, choose_references


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(Path(thgen_models.__file__).parent / "weights" / "face_model.safetensors")


def clip(model, frames=60, seed=0, blinks=()):
    """Poses [T, 6], de-posed faces [T, V, 3], confidence [T] of somebody who nods and talks."""
    random = np.random.default_rng(seed)
    time = np.arange(frames)[:, None]
    pose = 0.1 * np.sin(time / 11 + random.uniform(0, 6, 6)).astype(np.float32)
    expression = (np.sin(time / 3 + random.uniform(0, 6, 20)) / 2).astype(np.float32)
    blink = np.zeros(frames, np.float32)
    blink[list(blinks)] = 0.9
    faces = model.canonical + model.displacement(expression, blink)
    return pose, faces.astype(np.float32), np.ones(frames, np.float32)


@pytest.mark.parametrize("count", [1, 2, 8, 32, 59])
def test_so_many_different_frames_in_order(model, count):
    chosen = choose_references(*clip(model), count)
    assert len(chosen) == count
    assert np.array_equal(chosen, np.unique(chosen))
    assert chosen[0] >= 0 and chosen[-1] < 60


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_a_clip_of_no_more_frames_is_taken_whole(model, frames):
    assert np.array_equal(choose_references(*clip(model, frames), 8), np.arange(frames))


def test_frames_the_tracker_was_unsure_of_are_left_out(model):
    pose, faces, confidence = clip(model)
    unsure = np.arange(0, 60, 2)
    confidence[unsure] = UNSURE - 0.01
    for count in (4, 29, 50):
        chosen = choose_references(pose, faces, confidence, count)
        assert len(chosen) == min(count, 30)
        assert not set(chosen) & set(unsure)


def test_better_an_unsure_frame_than_none(model):
    pose, faces, _ = clip(model)
    assert len(choose_references(pose, faces, np.zeros(60, np.float32), 5)) == 5


def test_a_clip_that_stands_still_gives_each_frame_once(model):
    pose, faces, confidence = clip(model, 1)
    still = choose_references(*(np.repeat(part, 40, axis=0) for part in (pose, faces, confidence)), 8)
    assert np.array_equal(still, np.unique(still))
    assert 1 <= len(still) <= 8


def test_one_reference_has_open_eyes(model):
    blinks = range(20, 45)
    pose, faces, confidence = clip(model, blinks=blinks)
    (chosen,) = choose_references(pose, faces, confidence, 1)
    assert chosen not in blinks


def test_few_references_are_spent_on_blinks(model):
    pose, faces, confidence = clip(model, 100, blinks=[10, 11, 12, 40, 41, 42, 70, 71, 72])
    chosen = choose_references(pose, faces, confidence, 8)
    opening = eye_opening(faces)
    assert np.count_nonzero(opening[chosen] < 0.6 * np.median(opening)) <= 1


def test_every_manner_of_holding_the_head_is_there(model):
    """Three poses held for long and one for a moment: all four are among four references."""
    turns = np.repeat([-0.4, 0.0, 0.4, 0.9], [25, 25, 25, 3])
    pose = np.zeros((len(turns), 6), np.float32)
    pose[:, 1] = turns
    faces = np.repeat(model.canonical[None], len(turns), axis=0)
    chosen = choose_references(pose, faces, np.ones(len(turns), np.float32), 4)
    assert set(turns[chosen]) == set(turns)


def test_more_references_show_more(model):
    pose = np.zeros((80, 6), np.float32)
    pose[:, 1] = np.random.default_rng(0).uniform(-0.5, 0.5, 80)
    faces = np.repeat(model.canonical[None], 80, axis=0)

    def missing(count):
        chosen = choose_references(pose, faces, np.ones(80, np.float32), count)
        return (np.abs(pose[:, None, 1] - pose[None, chosen, 1]) ** 2).min(1).sum()

    shown = [missing(count) for count in (1, 2, 4, 8, 16, 32)]
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] < shown[0] / 100


def test_the_same_clip_gives_the_same_frames(model):
    assert np.array_equal(choose_references(*clip(model), 7), choose_references(*clip(model), 7))
