"""Which references frames are made from: costs of a person's references, the best of them, and several blended."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.faces.crop import CropBox
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Tracked
from thcli.records import Clip
from thcli.render import matching
from thcli.render.matcher import BASE, BLENDED, EYES, MOUTH, choose, cross_fade, soften
from thcli.render.matching import Costs, Shares, costs

PARTS = ("base", "mouth", "eyes")


@pytest.fixture(scope="module")
def person(talking) -> Person:
    clip = Clip(np.zeros((60, 256, 256, 3), np.uint8), Path("made up"))
    return person_of(clip, talking(0, 60), CropBox(0, 0, 256), None, GenerateOptions(references=6))


def test_a_reference_s_own_frame_is_drawn_from_it(person):
    """It costs nothing but what a rounding does, and all others cost more."""
    assert len(person.chosen) == 6
    known = costs(person, Tracked(person.track.select(person.chosen)))
    for name in PARTS:
        cost = getattr(known, name)
        assert cost.shape == (6, 6)
        assert np.diag(cost).max() < 1e-6
    assert (known.base.argmin(1) == np.arange(6)).all() and (known.mouth.argmin(1) == np.arange(6)).all()
    for k, frame in enumerate(person.chosen):
        alone = costs(person, Tracked(person.track.select(np.array([frame]))))
        assert alone.match().base.tolist() == [np.eye(6)[k].tolist()]
        assert alone.blend().base[0].argmax() == k


def test_costs_of_many_frames_are_those_of_each(person, monkeypatch):
    target = Tracked(person.track)
    at_once = costs(person, target)
    monkeypatch.setattr(matching, "COST_CHUNK", 7)
    in_parts = costs(person, target)
    for name in PARTS:
        np.testing.assert_allclose(getattr(in_parts, name), getattr(at_once, name), atol=1e-7)


def test_each_part_chooses_by_its_own_measure():
    random = np.random.default_rng(0)
    sizes = {"base": 0.05, "mouth": 0.005, "eyes": 0.1}
    cost = {name: (random.random((80, 6)) * size).astype(np.float32) for name, size in sizes.items()}
    matched, blended = Costs(**cost).match(), Costs(**cost).blend()
    for name, part in zip(PARTS, (BASE, MOUTH, EYES), strict=True):
        path = choose(cost[name], part.change)
        np.testing.assert_array_equal(getattr(matched, name), cross_fade(path, 6, part.fade))
        np.testing.assert_array_equal(getattr(blended, name), soften(cost[name], part.closeness))


def test_shares_of_a_video_are_shares(person, talking):
    known = costs(person, Tracked(talking(3, 100)))
    for shares, most in ((known.match(), 6), (known.blend(), BLENDED)):
        for name in PARTS:
            share = getattr(shares, name)
            assert share.shape == (100, 6) and share.dtype == np.float32 and share.min() >= 0
            np.testing.assert_allclose(share.sum(1), 1, atol=1e-6)
            assert (share > 0).sum(1).max() <= most
    # of the best one, but for the cross-fades; of several, nearly always
    assert (known.match().base == 1).any(1).mean() > 0.5
    assert ((known.blend().base > 0).sum(1) > 1).mean() > 0.5


def test_one_reference_is_all_there_is(talking):
    clip = Clip(np.zeros((1, 256, 256, 3), np.uint8), Path("photo"))
    photo = person_of(clip, talking(0, 1), CropBox(0, 0, 256), None, GenerateOptions())
    known = costs(photo, Tracked(talking(1, 9)))
    for shares in (known.match(), known.blend()):
        assert all((getattr(shares, name) == np.ones((9, 1))).all() for name in PARTS)


def test_part_of_the_shares():
    shares = Shares(*(np.arange(12, dtype=np.float32).reshape(6, 2) + i for i in range(3)))
    some = shares.part(slice(2, 4))
    assert [getattr(some, name).tolist() for name in PARTS] == [[[4 + i, 5 + i], [6 + i, 7 + i]] for i in range(3)]
