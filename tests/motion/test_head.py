import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.motion import head
from thcli.rotations import placement
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner

DIMS = HeadMotionDims(audio=8, width=16, features=16, style=8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HeadMotionLearner(DIMS).eval()


def past_pose(frames=75, size=0.05, seed=1):
    """A person's motion about a mean that is not zero, with the noise of a tracker."""
    random = np.random.default_rng(seed)
    deviation = gaussian_filter1d(random.standard_normal((frames, 6)), 6, axis=0, mode="wrap")
    deviation *= size / (deviation.std(0) + 1e-9) if frames > 5 else 0
    noise = 0.001 * random.standard_normal((frames, 6))
    return placement(np.array([0.1, -0.3, 0.05, 0.2, -0.1, 0.0]) + deviation + noise).astype(np.float32)


def sound(frames, seed=2):
    return np.random.default_rng(seed).uniform(-12, 2, (frames, 4, 80)).astype(np.float32)


def predict(network, frames=200, past=None, seed=0):
    past = past_pose() if past is None else past
    return head.predict_head_motion(network, past, sound(len(past)), sound(frames, 3), seed)


def test_same_seed_gives_same_bytes_and_another_seed_another_motion(network):
    first, again, other = predict(network), predict(network), predict(network, seed=1)
    assert first.dtype == np.float32 and first.shape == (200, 6)
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("past", [1, 2, 4, 6, 30, 75, 200])
@pytest.mark.parametrize("frames", [1, 2, 30])
def test_any_length_of_reference_and_audio(network, past, frames):
    made = predict(network, frames, past_pose(past))
    assert made.shape == (frames, 6)
    assert np.isfinite(made).all()


def test_reference_without_sound(network):
    past, nothing = past_pose(), np.zeros((0, 4, 80), np.float32)
    made = head.predict_head_motion(network, past, nothing, sound(30), 0)
    silent = np.full((75, 4, 80), head.SILENCE, np.float32)
    np.testing.assert_array_equal(made, head.predict_head_motion(network, past, silent, sound(30), 0))


def test_joins_in_position_and_velocity(network):
    past = past_pose()
    made = placement(predict(network, 100, past).astype(np.float64))
    before = gaussian_filter1d(placement(past.astype(np.float64)), 1, axis=0, mode="nearest")
    usual = np.abs(np.diff(before, axis=0)).max(0)
    assert (np.abs(made[0] - before[-1]) < 1.5 * usual).all()
    turn = (made[1] - made[0]) - (before[-3] - before[-5]) / 2
    assert (np.abs(turn) < 1.5 * usual).all()


def test_ten_minutes_do_not_drift_and_stay_in_range(network):
    past = past_pose()
    person = head.manner(placement(past.astype(np.float64)))
    made = placement(predict(network, 15_000, past).astype(np.float64))[50:]
    deviation = (made - person.mean) / person.range
    assert (np.abs(deviation) <= head.support(person) + 1e-6).all()
    fifths = np.array([part.mean(0) for part in np.array_split(deviation, 5)])
    assert np.abs(fifths).max() < 0.5
    spread = np.array([part.std(0) for part in np.array_split(deviation, 5)])
    assert (spread / spread.mean(0)).max() < 1.3


def test_range_is_the_persons_own():
    network = head.load_head_motion_learner()
    for size in (0.01, 0.1):
        past = past_pose(size=size)
        made = placement(predict(network, 500, past).astype(np.float64))
        ratio = head.windowed_deviation(made) / placement(past.astype(np.float64)).std(0)
        assert (ratio > 0.5).all() and (ratio < 2).all()


def test_chunks_change_nothing(network, monkeypatch):
    whole = predict(network, 300)
    monkeypatch.setattr(head, "CHUNK_FRAMES", 70)
    np.testing.assert_allclose(predict(network, 300), whole, atol=1e-4)


def test_tracker_noise_does_not_count_as_movement():
    still = placement(np.zeros((75, 6)))
    noisy = still + 0.003 * np.random.default_rng(0).standard_normal(still.shape)
    assert (head.manner(noisy).range < 0.8 * (0.003 + np.exp(head.PRIOR_LOG_RANGE))).all()
    assert (head.manner(noisy).range < noisy.std(0) * 1.6).all()


def test_photo_has_the_prior_range():
    person = head.manner(placement(past_pose(1).astype(np.float64)))
    np.testing.assert_allclose(person.range, np.exp(head.PRIOR_LOG_RANGE))
    assert person.motion.shape == (1, 6)


def test_smooth_noise_has_unit_variance_and_no_start():
    noise = head.smooth_noise(50_000, len(head.NOISE_SCALES), 0)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.12)
    many = np.array([head.smooth_noise(3, len(head.NOISE_SCALES), seed)[0] for seed in range(400)])
    np.testing.assert_allclose(many.std(0), 1, atol=0.15)


def test_bound_is_smooth_monotone_and_below_the_limit():
    x = np.linspace(-20, 20, 4001)[:, None]
    y = head.bound(x, np.array([3.0]))
    assert np.abs(y).max() <= 3
    assert (np.diff(y, axis=0) >= 0).all() and np.diff(y, axis=0).max() <= 0.0101
    np.testing.assert_array_equal(y[np.abs(x) < 2], x[np.abs(x) < 2])


def test_still_returns_slowly_to_the_mean():
    past = past_pose()
    made = placement(head.still_head_motion(past, 200).astype(np.float64))
    placed = placement(past.astype(np.float64))
    np.testing.assert_allclose(made[-1], placed.mean(0), atol=1e-3)
    assert np.abs(made[0] - placed[-1]).max() < 0.02
    assert np.abs(np.diff(made, axis=0)).max() < np.abs(np.diff(placed, axis=0)).max() * 2
    assert (head.still_head_motion(past_pose(1), 50) == head.still_head_motion(past_pose(1), 50)[0]).all()


def test_motion_of_another_is_rebased_and_ends_in_rest():
    past, other = past_pose(), past_pose(120, 0.08, seed=9)
    made = placement(head.rebase_head_motion(past, other, 300).astype(np.float64))
    mean = head.manner(placement(past.astype(np.float64))).mean
    np.testing.assert_allclose(made[:120].mean(0), mean, atol=0.02)
    moved = placement(other.astype(np.float64))
    for axis in range(3):
        assert np.corrcoef(made[:120, axis], moved[:, axis])[0, 1] > 0.95
    np.testing.assert_allclose(made[-1], mean, atol=1e-3)
    assert np.abs(np.diff(made, axis=0)).max() < 0.05


def test_rebased_motion_stays_within_what_a_photo_supports():
    made = placement(head.rebase_head_motion(past_pose(1), past_pose(100, 0.4), 100).astype(np.float64))
    mean = placement(past_pose(1).astype(np.float64))[0]
    assert (np.abs(made - mean) <= head.ALWAYS_SUPPORTED + 1e-5).all()


def test_scale_zero_rests_and_scale_one_keeps():
    past = past_pose()
    pose = past_pose(40, 0.08, 5)
    rest = head.resting_pose(past)
    np.testing.assert_allclose(head.scale_head_motion(past, pose, 0), np.repeat(rest[None], 40, 0), atol=1e-6)
    np.testing.assert_allclose(head.scale_head_motion(past, pose, 1), pose, atol=1e-5)


def test_shipped_network_loads():
    made = head.predict_head_motion(head.load_head_motion_learner(), past_pose(), sound(75), sound(50), 0)
    assert np.isfinite(made).all()
