"""The matcher computes what a person's references cost, and chooses the best of them or blends several."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import TrackedTarget
from thcli.records import WHOLE_CROP, Clip, Person, ReferenceWeights
from thcli.render.matcher import BASE, BLENDED, CHUNK, EYES, MOUTH, Costs, choose, costs, cross_fade, soft_weights

PARTS = ("base", "mouth", "eyes")


@pytest.fixture(scope="module")
def person(face_model, talking) -> Person:
    """A person with six references out of 60 frames."""
    clip = Clip(np.zeros((60, 256, 256, 3), np.uint8), Path("made up"))
    return person_from_track(face_model, clip, talking(0, 60), WHOLE_CROP, None, ReferenceOptions(references=6))


def test_costs_of_a_reference_s_own_frame_are_nearly_zero_and_choose_it(person):
    """The frame itself costs no more than a rounding error, and all others cost more."""
    assert len(person.reference_indices) == 6
    known = costs(person, TrackedTarget(person.track.select(person.reference_indices)))
    for name in PARTS:
        cost = getattr(known, name)
        assert cost.shape == (6, 6)
        assert np.diag(cost).max() < 1e-6
    assert (known.base.argmin(1) == np.arange(6)).all() and (known.mouth.argmin(1) == np.arange(6)).all()
    for k, frame in enumerate(person.reference_indices):
        alone = costs(person, TrackedTarget(person.track.select(np.array([frame]))))
        assert alone.match().base.tolist() == [np.eye(6)[k].tolist()]
        assert alone.blend().base[0].argmax() == k


def test_costs_of_many_frames_equal_those_of_each(person, talking):
    """A video longer than one chunk costs, frame by frame, what its frames cost alone."""
    track = talking(1, CHUNK + 3)
    known = costs(person, TrackedTarget(track))
    for frame in (0, CHUNK - 1, CHUNK, CHUNK + 2):
        alone = costs(person, TrackedTarget(track.select(slice(frame, frame + 1))))
        for name in PARTS:
            np.testing.assert_allclose(getattr(known, name)[frame], getattr(alone, name)[0], atol=1e-6)
    assert all(len(getattr(known, name)) == CHUNK + 3 for name in PARTS)


def test_costs_choose_and_blend_each_part_by_its_own_measure():
    random = np.random.default_rng(0)
    sizes = {"base": 0.05, "mouth": 0.005, "eyes": 0.1}
    cost = {name: (random.random((80, 6)) * size).astype(np.float32) for name, size in sizes.items()}
    matched, blended = Costs(**cost).match(), Costs(**cost).blend()
    for name, part in zip(PARTS, (BASE, MOUTH, EYES), strict=True):
        path = choose(cost[name], part.change)
        np.testing.assert_array_equal(getattr(matched, name), cross_fade(path, 6, part.fade))
        np.testing.assert_array_equal(getattr(blended, name), soft_weights(cost[name], part.closeness))


def test_weights_of_a_video_sum_to_one_and_use_few_references(person, talking):
    known = costs(person, TrackedTarget(talking(3, 100)))
    for weights, most in ((known.match(), 6), (known.blend(), BLENDED)):
        for name in PARTS:
            share = getattr(weights, name)
            assert share.shape == (100, 6) and share.dtype == np.float32 and share.min() >= 0
            np.testing.assert_allclose(share.sum(1), 1, atol=1e-6)
            assert (share > 0).sum(1).max() <= most
    # A match uses one reference except in cross-fades; a blend nearly always uses several.
    assert (known.match().base == 1).any(1).mean() > 0.4
    assert ((known.blend().base > 0).sum(1) > 1).mean() > 0.5


def test_weights_of_a_single_reference_are_one(face_model, talking):
    clip = Clip(np.zeros((1, 256, 256, 3), np.uint8), Path("photo"))
    photo = person_from_track(face_model, clip, talking(0, 1), WHOLE_CROP, None, ReferenceOptions())
    known = costs(photo, TrackedTarget(talking(1, 9)))
    for weights in (known.match(), known.blend()):
        assert all((getattr(weights, name) == np.ones((9, 1))).all() for name in PARTS)


def test_reference_weights_select_gives_the_rows_of_some_frames():
    weights = ReferenceWeights(*(np.arange(12, dtype=np.float32).reshape(6, 2) + i for i in range(3)))
    some = weights.select(slice(2, 4))
    assert [getattr(some, name).tolist() for name in PARTS] == [[[4 + i, 5 + i], [6 + i, 7 + i]] for i in range(3)]
