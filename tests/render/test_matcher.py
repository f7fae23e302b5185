"""The matcher chooses the references of each frame by pose, mouth and eyes."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from thcli.face_model import INNER_LIPS, OUTER_LIPS, mouth_opening, rims
from thcli.render.matcher import (
    BASE,
    BLENDED,
    EYES,
    HEAD_RADIUS,
    MOUTH,
    OPENED,
    STRETCHED,
    choose,
    cross_fade,
    eye_cost,
    mouth_cost,
    pose_cost,
    soft_weights,
    turn_cost,
)
from thcli.rotations import apply_pose


def poses(seed: int, count: int) -> np.ndarray:
    """Return random head poses [count, 6]."""
    return (np.random.default_rng(seed).normal(size=(count, 6)) * 0.2).astype(np.float32)


def price(cost, path, change):
    """Return what a path costs with its changes of reference."""
    changes = np.count_nonzero(np.diff(path))
    return cost[np.arange(len(path)), list(path)].sum() + change * changes


@pytest.mark.parametrize("change", [0.0, 0.1, 0.5, 100.0])
@pytest.mark.parametrize(("frames", "count"), [(1, 1), (1, 3), (6, 1), (5, 4), (7, 3), (9, 2)])
def test_choose_finds_the_cheapest_of_all_paths(frames, count, change):
    for seed in range(3):
        cost = np.random.default_rng(seed).random((frames, count)).astype(np.float32)
        path = choose(cost, change)
        cheapest = min(price(cost, other, change) for other in product(range(count), repeat=frames))
        assert path.shape == (frames,)
        assert price(cost, path, change) == pytest.approx(cheapest, abs=1e-6)


def test_choose_avoids_expensive_changes_and_follows_the_cost_when_they_are_free():
    cost = np.random.default_rng(1).random((200, 6)).astype(np.float32)
    assert len(set(choose(cost, 1e6))) == 1
    assert choose(cost, 1e6)[0] == cost.sum(0).argmin()
    assert np.array_equal(choose(cost, 0.0), cost.argmin(1))


def test_choose_stays_exact_over_ten_minutes():
    """The sum of all costs is so large that float32 would lose what a change costs."""
    frames = 15_000
    cost = np.full((frames, 3), 10.0, np.float32)
    cost[np.arange(frames), np.arange(frames) // 5000] = 9.999
    path = choose(cost, 0.003)
    assert np.array_equal(path, np.arange(frames) // 5000)


@pytest.mark.parametrize("fade", [1, 3, 7])
def test_cross_fade_weights_are_not_negative_and_sum_to_one(fade):
    path = np.random.default_rng(0).integers(0, 4, 60)
    weights = cross_fade(path, 5, fade)
    assert weights.shape == (60, 5) and weights.dtype == np.float32
    assert np.allclose(weights.sum(1), 1, atol=1e-6)
    assert weights.min() >= 0
    assert not weights[:, 4].any()


@pytest.mark.parametrize("fade", [1, 3, 7])
def test_cross_fade_spreads_a_change_evenly_over_the_fade(fade):
    weights = cross_fade(np.repeat([0, 1], 20), 2, fade)
    mixed = np.flatnonzero((weights > 0).all(1))
    assert len(mixed) == fade - 1
    assert np.allclose(weights[:, 0], weights[::-1, 1], atol=1e-6)
    assert (np.diff(weights[:, 1]) >= -1e-6).all()
    assert np.array_equal(weights[0], [1, 0]) and np.array_equal(weights[-1], [0, 1])


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_cross_fade_accepts_clips_shorter_than_the_fade(frames):
    weights = cross_fade(np.zeros(frames, np.intp), 1, 7)
    assert np.allclose(weights, 1)


@pytest.mark.parametrize("matching", [BASE, MOUTH, EYES])
def test_pose_cost_is_zero_for_itself_symmetric_and_positive(matching):
    pose = poses(0, 7)
    cost = pose_cost(pose, pose, matching)
    assert cost.shape == (7, 7) and cost.dtype == np.float32
    assert np.allclose(np.diag(cost), 0, atol=1e-5)
    assert np.allclose(cost, cost.T, atol=1e-5)
    assert cost.min() >= 0
    assert (cost[~np.eye(7, dtype=bool)] > 1e-3).all()


def test_pose_cost_measures_turns_and_shifts_in_one_unit():
    """Eq. 2 is the squared distance that a point HEAD_RADIUS away from the origin moves."""
    rest = np.zeros((1, 6), np.float32)
    for axis in range(3):
        turned, shifted = rest.copy(), rest.copy()
        turned[0, axis] = 0.1
        shifted[0, 3 + axis] = 0.1
        assert pose_cost(turned, rest)[0, 0] == pytest.approx((0.1 * HEAD_RADIUS) ** 2, rel=0.01)
        assert turn_cost(shifted, rest, BASE)[0, 0] == pytest.approx(0, abs=1e-6)
        assert pose_cost(shifted, rest)[0, 0] == pytest.approx(0.01, rel=1e-4)


def test_pose_cost_of_a_turn_in_place_has_no_shift():
    """When a displaced face turns where it is, the translation of its pose changes but its placement does not."""
    face = np.zeros((1, 3), np.float32)
    first = np.array([[0, 0.3, 0, 0, 0, 0]], np.float32)
    second = np.array([[0, -0.3, 0, 0, 0, 0]], np.float32)
    place = np.array([0.5, 0.2, 0], np.float32)
    for pose in (first, second):
        pose[:, 3:] = -apply_pose(place[None, None], np.concatenate([-pose[:, :3], np.zeros((1, 3))], 1))[0]
        assert np.allclose(apply_pose(face[None], pose)[0], place, atol=1e-6)
    assert pose_cost(first, second)[0, 0] == pytest.approx(turn_cost(first, second, BASE)[0, 0], abs=1e-5)


def test_mouth_cost_compares_the_shape_of_the_lips_alone(face_model):
    random = np.random.default_rng(0)
    faces = face_model.canonical + face_model.displacement(random.normal(size=(4, 20)).astype(np.float32))
    cost = mouth_cost(faces, faces)
    assert np.allclose(np.diag(cost), 0, atol=1e-7)
    assert (cost[~np.eye(4, dtype=bool)] > 0).all()
    elsewhere = faces + np.array([0.3, -0.2, 0.1], np.float32)
    assert np.allclose(mouth_cost(elsewhere, faces), cost, atol=1e-5)
    other = faces.copy()
    other[:, [v for v in range(478) if v not in {*OUTER_LIPS, *INNER_LIPS}]] += 1
    assert np.allclose(mouth_cost(other, faces), cost, atol=1e-6)


def opened(face_model, gap):
    """Return the canonical face with its lower lip further down by a gap."""
    face = face_model.canonical.copy()
    face[rims(INNER_LIPS)[0] + rims(OUTER_LIPS)[0], 1] += gap
    return face


def test_a_mouth_is_closed_rather_than_opened(face_model):
    """Of references whose lips are as far from the target's, the more open one costs less."""
    closed, wanted, wide = (opened(face_model, gap)[None] for gap in (0.0, 0.1, 0.2))
    cost = mouth_cost(wanted, np.concatenate([closed, wide]))[0]
    assert cost[0] > 2 * cost[1]
    shape = cost[1]
    missing = mouth_opening(wanted) - STRETCHED * mouth_opening(closed)
    assert cost[0] == pytest.approx(shape + OPENED * float(missing[0]) ** 2, rel=1e-4)


def test_a_mouth_that_is_hardly_opened_costs_what_it_would_closed(face_model):
    hardly, wanted = opened(face_model, 0.2)[None], opened(face_model, 0.21)[None]
    assert mouth_cost(wanted, hardly) == pytest.approx(mouth_cost(hardly, wanted), rel=1e-4)


def test_mouth_cost_of_many_frames_equals_that_of_each(face_model):
    expression = np.random.default_rng(1).normal(size=(503, 20)).astype(np.float32)
    faces = face_model.canonical + face_model.displacement(expression)
    cost = mouth_cost(faces, faces[:3])
    assert cost.shape == (503, 3)
    for t in (0, 499, 500, 502):
        assert np.allclose(cost[t], mouth_cost(faces[t : t + 1], faces[:3])[0], atol=1e-7)


def blinking(face_model, *closures):
    """Return faces [T, V, 3] without expression whose eyes are closed so far."""
    nothing = np.zeros((len(closures), 20), np.float32)
    return face_model.canonical + face_model.displacement(nothing, np.array(closures, np.float32))


def test_eye_cost_of_open_eyes_avoids_references_with_closed_eyes(face_model):
    wanted = blinking(face_model, *np.zeros(30))
    cost = eye_cost(wanted, blinking(face_model, 1.0, 0.0, 0.6, 0.1))
    assert (cost.argmin(1) == 1).all()
    assert (choose(cost, EYES.change) == 1).all()
    order = cost[0].argsort()
    assert list(order) == [1, 3, 2, 0]


def test_eye_cost_is_nine_times_higher_for_opening_eyes_than_for_closing_them(face_model):
    open_eyes, closed = blinking(face_model, 0.0), blinking(face_model, 1.0)
    references = blinking(face_model, 0.0, 0.0, 1.0)
    to_open = eye_cost(open_eyes, references)[0, 2]
    to_close = eye_cost(closed, references)[0, 0]
    assert to_open == pytest.approx(9 * to_close, rel=1e-3)


def test_eye_cost_is_finite_where_all_references_have_closed_eyes(face_model):
    cost = eye_cost(blinking(face_model, 0.0, 1.0), blinking(face_model, 1.0, 1.0))
    assert np.isfinite(cost).all()


@pytest.mark.parametrize("count", [1, 2, BLENDED, BLENDED + 1, 8, 32])
def test_soft_weights_blend_the_cheapest_few(count):
    cost = np.random.default_rng(count).random((200, count)).astype(np.float32)
    weights = soft_weights(cost, 0.3)
    assert weights.shape == cost.shape and weights.dtype == np.float32
    assert np.allclose(weights.sum(1), 1, atol=1e-6) and weights.min() >= 0
    assert ((weights > 0).sum(1) == min(count, BLENDED)).all()
    order = cost.argsort(1)
    assert (np.diff(np.take_along_axis(weights, order, 1), axis=1) <= 0).all()


def test_soft_weights_fall_to_one_over_e_by_closeness():
    """A reference that costs ``closeness`` more has 1 / e of the weight."""
    (weights,) = soft_weights(np.array([[0.25, 0.15, 0.35]], np.float32), 0.1)
    assert weights[1] / weights[0] == pytest.approx(np.e, rel=1e-4)
    assert weights[0] / weights[2] == pytest.approx(np.e, rel=1e-4)


def test_soft_weights_depend_on_differences_of_cost_alone():
    cost = np.random.default_rng(0).random((50, 8))
    assert np.allclose(soft_weights(cost + 7, 0.1), soft_weights(cost, 0.1), atol=1e-6)
    assert np.allclose(soft_weights(3 * cost, 0.3), soft_weights(cost, 0.1), atol=1e-6)
    order = [3, 0, 7, 5, 1, 2, 6, 4]
    assert np.allclose(soft_weights(cost[:, order], 0.1), soft_weights(cost, 0.1)[:, order], atol=1e-6)


def test_soft_weights_follow_the_costs_without_jumps():
    """Half the step is about half the change, also where one of the four gives way to another."""

    def largest_step(steps):
        way = np.linspace(0, 6 * np.pi, steps)[:, None]
        cost = np.sin(way * np.arange(1, 9) / 3 + np.arange(8)) + 0.1 * np.arange(8)
        weights = soft_weights(cost, 0.5)
        sets = weights > 0
        assert (sets[1:] != sets[:-1]).any(1).sum() >= 10
        return np.abs(np.diff(weights, axis=0)).max()

    coarse, fine = largest_step(4000), largest_step(8000)
    assert coarse < 0.05 and fine < 0.6 * coarse


@pytest.mark.parametrize("count", [2, BLENDED, BLENDED + 1, 8])
def test_soft_weights_of_equal_costs_are_equal(count):
    weights = soft_weights(np.full((3, count), 0.7, np.float32), 0.01)
    few = min(count, BLENDED)
    assert (weights == np.float32(1 / few) * (np.arange(count) < few)).all()
    cost = np.full((1, count), 0.7, np.float32)
    cost[0, -1] = 0.6999
    assert soft_weights(cost, 0.01)[0].argmax() == count - 1


def test_soft_weights_and_choose_ignore_references_of_infinite_cost():
    cost = np.random.default_rng(0).random((40, 8)).astype(np.float32)
    for gone in ([0], [1, 2, 6], [0, 1, 2, 3, 4, 5, 6]):
        hidden, rest = cost.copy(), [k for k in range(8) if k not in gone]
        hidden[:, gone] = np.inf
        assert not soft_weights(hidden, 0.1)[:, gone].any()
        assert np.allclose(soft_weights(hidden, 0.1)[:, rest], soft_weights(cost[:, rest], 0.1), atol=1e-6)
        assert np.array_equal(choose(hidden, 0.05), np.array(rest)[choose(cost[:, rest], 0.05)])


def test_soft_weights_of_costs_far_apart_use_the_cheapest_alone():
    assert soft_weights(np.array([[5, 1e6, 0, 1e9, 1e12]], np.float32), 1e-3)[0].tolist() == [0, 0, 1, 0, 0]
