"""choose_references picks the frames of a clip from which images are made."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.face_model import eye_opening
from thcli.render.references import UNSURE, choose_references


def clip(model, frames=60, seed=0, blinks=()):
    """Return poses [T, 6], unposed meshes [T, V, 3] and confidence [T] of somebody who nods and talks."""
    random = np.random.default_rng(seed)
    time = np.arange(frames)[:, None]
    pose = 0.1 * np.sin(time / 11 + random.uniform(0, 6, 6)).astype(np.float32)
    expression = (np.sin(time / 3 + random.uniform(0, 6, 20)) / 2).astype(np.float32)
    blink = np.zeros(frames, np.float32)
    blink[list(blinks)] = 0.9
    faces = model.canonical + model.displacement(expression, blink)
    return pose, faces.astype(np.float32), np.ones(frames, np.float32)


@pytest.mark.parametrize("count", [1, 2, 8, 32, 59])
def test_choose_references_returns_as_many_different_frames_in_order(face_model, count):
    chosen = choose_references(*clip(face_model), count)
    assert len(chosen) == count
    assert np.array_equal(chosen, np.unique(chosen))
    assert chosen[0] >= 0 and chosen[-1] < 60


@pytest.mark.parametrize("frames", [1, 5, 8])
def test_choose_references_takes_short_clips_whole(face_model, frames):
    assert np.array_equal(choose_references(*clip(face_model, frames), 8), np.arange(frames))


def test_choose_references_leaves_out_frames_of_low_confidence(face_model):
    pose, faces, confidence = clip(face_model)
    unsure = np.arange(0, 60, 2)
    confidence[unsure] = UNSURE - 0.01
    for count in (4, 29, 50):
        chosen = choose_references(pose, faces, confidence, count)
        assert len(chosen) == min(count, 30)
        assert not set(chosen) & set(unsure)


def test_choose_references_takes_frames_of_low_confidence_where_there_are_no_others(face_model):
    pose, faces, _ = clip(face_model)
    assert len(choose_references(pose, faces, np.zeros(60, np.float32), 5)) == 5


def test_choose_references_takes_no_frame_twice_from_a_still_clip(face_model):
    pose, faces, confidence = clip(face_model, 1)
    still = choose_references(*(np.repeat(part, 40, axis=0) for part in (pose, faces, confidence)), 8)
    assert np.array_equal(still, np.unique(still))
    assert 1 <= len(still) <= 8


def test_choose_references_takes_open_eyes_for_a_single_reference(face_model):
    blinks = range(20, 45)
    pose, faces, confidence = clip(face_model, blinks=blinks)
    (chosen,) = choose_references(pose, faces, confidence, 1)
    assert chosen not in blinks


def test_choose_references_takes_at_most_one_blink(face_model):
    pose, faces, confidence = clip(face_model, 100, blinks=[10, 11, 12, 40, 41, 42, 70, 71, 72])
    chosen = choose_references(pose, faces, confidence, 8)
    opening = eye_opening(faces)
    assert np.count_nonzero(opening[chosen] < 0.6 * np.median(opening)) <= 1


def test_choose_references_covers_rare_head_poses(face_model):
    """Three poses are held for long and one for a moment; four references show all of them."""
    turns = np.repeat([-0.4, 0.0, 0.4, 0.9], [25, 25, 25, 3])
    pose = np.zeros((len(turns), 6), np.float32)
    pose[:, 1] = turns
    faces = np.repeat(face_model.canonical[None], len(turns), axis=0)
    chosen = choose_references(pose, faces, np.ones(len(turns), np.float32), 4)
    assert set(turns[chosen]) == set(turns)


def test_choose_references_covers_more_poses_with_more_references(face_model):
    pose = np.zeros((80, 6), np.float32)
    pose[:, 1] = np.random.default_rng(0).uniform(-0.5, 0.5, 80)
    faces = np.repeat(face_model.canonical[None], 80, axis=0)

    def missing(count):
        chosen = choose_references(pose, faces, np.ones(80, np.float32), count)
        return (np.abs(pose[:, None, 1] - pose[None, chosen, 1]) ** 2).min(1).sum()

    shown = [missing(count) for count in (1, 2, 4, 8, 16, 32)]
    assert shown == sorted(shown, reverse=True)
    assert shown[-1] < shown[0] / 100


def test_choose_references_is_deterministic(face_model):
    assert np.array_equal(choose_references(*clip(face_model), 7), choose_references(*clip(face_model), 7))
