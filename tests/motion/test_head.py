"""Head motion: joined to the reference, in the person's own range, without drift; and as another head moves."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.motion import head
from thcli.motion.curve_tools import soft_limit
from thcli.pipeline.models import load_models
from thcli.records import LOG_MEL_SILENCE
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner

DIMS = HeadMotionDims(audio=8, width=16, features=16, style=8)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return HeadMotionLearner(DIMS).eval()


@pytest.fixture(scope="module")
def shipped():
    return load_models(device="cpu").head_motion_learner


def moving(frames=75, size=0.05, seed=1):
    """Placements of a head that moves about a mean that is not zero, with the noise of a tracker."""
    random = np.random.default_rng(seed)
    deviation = gaussian_filter1d(random.standard_normal((frames, 6)), 6, axis=0, mode="wrap")
    deviation *= size / (deviation.std(0) + 1e-9) if frames > 5 else 0
    noise = 0.001 * random.standard_normal((frames, 6))
    return np.array([0.1, -0.3, 0.05, 0.2, -0.1, 0.0]) + deviation + noise


def sound(frames, seed=2):
    return np.random.default_rng(seed).uniform(-12, 2, (frames, 4, 80)).astype(np.float32)


def predict(network, frames=200, past=None, seed=0):
    past = moving() if past is None else past
    return head.predict_head_motion(network, past, sound(len(past)), sound(frames, 3), seed)


def test_predict_head_motion_gives_same_bytes_for_a_seed_and_other_motion_for_another(network):
    first, again, other = predict(network), predict(network), predict(network, seed=1)
    assert first.dtype == np.float64 and first.shape == (200, 6)
    assert first.tobytes() == again.tobytes()
    assert not np.allclose(first, other, atol=1e-3)


@pytest.mark.parametrize("past", [1, 2, 4, 6, 30, 75, 200])
@pytest.mark.parametrize("frames", [1, 2, 30])
def test_predict_head_motion_takes_any_length_of_reference_and_audio(network, past, frames):
    made = predict(network, frames, moving(past))
    assert made.shape == (frames, 6)
    assert np.isfinite(made).all()


def test_predict_head_motion_takes_missing_sound_for_silence(network):
    past, nothing = moving(), np.zeros((0, 4, 80), np.float32)
    made = head.predict_head_motion(network, past, nothing, sound(30), 0)
    silent = np.full((75, 4, 80), LOG_MEL_SILENCE, np.float32)
    np.testing.assert_array_equal(made, head.predict_head_motion(network, past, silent, sound(30), 0))


def test_predict_head_motion_joins_the_reference_in_position_and_velocity(network):
    past = moving()
    made = predict(network, 100, past)
    before = gaussian_filter1d(past, 1, axis=0, mode="nearest")
    usual = np.abs(np.diff(before, axis=0)).max(0)
    assert (np.abs(made[0] - before[-1]) < 1.5 * usual).all()
    turn = (made[1] - made[0]) - (before[-3] - before[-5]) / 2
    assert (np.abs(turn) < 1.5 * usual).all()


def test_predict_head_motion_of_ten_minutes_stays_in_range_without_drift(network):
    past = moving()
    person = head.motion_style(past)
    made = predict(network, 15_000, past)[50:]
    deviation = (made - person.mean) / person.range
    assert (np.abs(deviation) <= head.supported_range(person) + 1e-6).all()
    fifths = np.array([part.mean(0) for part in np.array_split(deviation, 5)])
    assert np.abs(fifths).max() < 0.9
    spread = np.array([part.std(0) for part in np.array_split(deviation, 5)])
    assert (spread / spread.mean(0)).max() < 1.3


def test_predict_head_motion_has_the_range_of_the_person(shipped):
    for size in (0.01, 0.1):
        past = moving(size=size)
        made = predict(shipped, 500, past)
        ratio = head.windowed_deviation(made) / past.std(0)
        assert (ratio > 0.5).all() and (ratio < 2).all()


def swaying(frames, slow):
    """Motion in ranges: movement of unit size that is faster than a posture, around a posture of size ``slow``."""
    time = np.arange(frames)[:, None] + 10.0 * np.arange(6)
    return np.sqrt(2) * (np.sin(time / 4) + slow * np.sin(time / 60))


def test_widen_posture_moves_a_whole_speech_as_far_as_people_and_keeps_what_is_quick():
    limit = np.full(6, 9.0)
    made = head.widen_posture(swaying(3000, 0.3), limit)
    np.testing.assert_allclose(made.std(0), head.WHOLE_RANGE, atol=0.1)
    np.testing.assert_allclose(np.diff(made, axis=0).std(0), np.diff(swaying(3000, 0.3), axis=0).std(0), rtol=0.05)


def test_widen_posture_stays_within_the_limit():
    limit = np.full(6, 1.6)
    assert (np.abs(head.widen_posture(swaying(3000, 0.5), limit)) <= limit).all()


def test_widen_posture_hardly_changes_short_motion():
    short, limit = swaying(12, 0.5), np.full(6, 9.0)
    assert np.abs(head.widen_posture(short, limit) - short).max() < 0.2


def test_predict_head_motion_takes_the_range_from_a_longer_part_within_what_the_reference_supports(shipped):
    past = moving(size=0.05)
    style = head.motion_style(past)
    limit = head.supported_range(style) * style.range
    ranges = []
    for size in (0.03, 0.05, 0.2):
        longer = moving(750, size)
        made = head.predict_head_motion(shipped, past, sound(75), sound(500, 3), 0, longer)
        assert (np.abs(made[50:] - style.mean) < limit).all()
        ranges.append(head.windowed_deviation(made[50:]))
    assert (ranges[0] < ranges[1]).all() and (ranges[1] < ranges[2]).all()
    np.testing.assert_allclose(head.range_within(moving(750, 0.03)), 0.03, rtol=0.35)


def test_predict_head_motion_gives_the_same_in_chunks(network, monkeypatch):
    whole = predict(network, 300)
    monkeypatch.setattr(head, "CHUNK_FRAMES", 70)
    np.testing.assert_allclose(predict(network, 300), whole, atol=1e-4)


def test_motion_style_does_not_count_tracker_noise_as_movement():
    noisy = 0.003 * np.random.default_rng(0).standard_normal((75, 6))
    assert (head.motion_style(noisy).range < 0.8 * (0.003 + np.exp(head.PRIOR_LOG_RANGE))).all()
    assert (head.motion_style(noisy).range < noisy.std(0) * 1.6).all()


def test_motion_style_of_a_photo_has_the_prior_range():
    person = head.motion_style(moving(1))
    np.testing.assert_allclose(person.range, np.exp(head.PRIOR_LOG_RANGE))
    assert person.motion.shape == (1, 6)


def test_smooth_noise_has_unit_variance_and_no_start():
    noise = head.smooth_noise(50_000, len(head.NOISE_SCALES), 0)
    np.testing.assert_allclose(noise.std(0), 1, atol=0.12)
    many = np.array([head.smooth_noise(3, len(head.NOISE_SCALES), seed)[0] for seed in range(400)])
    np.testing.assert_allclose(many.std(0), 1, atol=0.15)


def test_soft_limit_is_smooth_monotone_and_below_the_limit():
    x = np.linspace(-20, 20, 4001)[:, None]
    y = soft_limit(x, np.array([3.0]))
    assert np.abs(y).max() <= 3
    assert (np.diff(y, axis=0) >= 0).all() and np.diff(y, axis=0).max() <= 0.0101
    np.testing.assert_array_equal(y[np.abs(x) < 2], x[np.abs(x) < 2])


def test_still_head_motion_returns_slowly_to_the_mean():
    past = moving()
    made = head.still_head_motion(past, 200)
    np.testing.assert_allclose(made[-1], past.mean(0), atol=1e-3)
    assert np.abs(made[0] - past[-1]).max() < 0.02
    assert np.abs(np.diff(made, axis=0)).max() < np.abs(np.diff(past, axis=0)).max() * 2
    assert np.ptp(head.still_head_motion(moving(1), 50), axis=0).max() < 1e-9


def test_rebase_head_motion_follows_another_head_and_ends_in_rest():
    past, other = moving(), moving(120, 0.08, seed=9)
    made = head.rebase_head_motion(past, other, 300)
    mean = head.motion_style(past).mean
    np.testing.assert_allclose(made[:120].mean(0), mean, atol=0.02)
    for axis in range(3):
        assert np.corrcoef(made[:120, axis], other[:, axis])[0, 1] > 0.95
    np.testing.assert_allclose(made[-1], mean, atol=1e-3)
    assert np.abs(np.diff(made, axis=0)).max() < 0.05


def test_rebase_head_motion_stays_within_what_a_photo_supports():
    made = head.rebase_head_motion(moving(1), moving(100, 0.4), 100)
    mean = moving(1)[0]
    assert (np.abs(made - mean) <= head.ALWAYS_SUPPORTED + 1e-5).all()


def test_shipped_network_predicts_finite_motion(shipped):
    made = head.predict_head_motion(shipped, moving(), sound(75), sound(50), 0)
    assert np.isfinite(made).all()
