"""What a reference clip teaches about the way a person speaks."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.motion.articulation import DOUBT, GAIN, SHORTEST, fit_articulation

FRAMES = 100


@pytest.fixture
def gap() -> np.ndarray:
    gap = np.zeros(20, np.float32)
    gap[:3] = (0.04, -0.01, 0.02)
    return gap


def speech(frames: int = FRAMES, seed: int = 0) -> np.ndarray:
    """Smooth movement of 20 coefficients, as Ψ would predict it."""
    noise = np.random.default_rng(seed).normal(size=(frames + 8, 20))
    return np.stack([np.convolve(x, np.hanning(9) / 2, mode="valid") for x in noise.T], axis=1).astype(np.float32)


def opening_error(moved: np.ndarray, truth: np.ndarray, gap: np.ndarray) -> float:
    return float(np.abs(moved @ gap - truth @ gap).mean())


def test_fit_articulation_changes_little_of_a_person_who_moves_as_predicted(gap):
    heard = speech()
    own = fit_articulation(heard, heard, gap)
    assert own is not None
    other = speech(seed=1)
    assert opening_error(own.apply(other), other, gap) < 0.05 * float((other @ gap).std())


def learned_ratio(size: float, frames: int, gap: np.ndarray) -> float:
    """How far a mouth opens over what is heard, after some frames of a person who opens it ``size`` times as far."""
    own = fit_articulation(speech(frames), size * speech(frames), gap)
    assert own is not None
    later = speech(400, seed=1)
    return float((own.apply(later) @ gap).std() / (later @ gap).std())


@pytest.mark.parametrize("size", [0.6, 1.5])
def test_fit_articulation_learns_how_far_a_person_opens_the_mouth_and_trusts_longer_clips_more(gap, size):
    short, long = (learned_ratio(size, frames, gap) for frames in (2 * DOUBT, 1000))
    assert long == pytest.approx(size, rel=0.08)
    assert 0.2 < (short - 1) / (long - 1) < 0.8


def test_fit_articulation_learns_which_coefficients_a_person_moves(gap):
    mixing = np.eye(20, dtype=np.float32)
    mixing[4, 5], mixing[5, 5] = 0.8, 0.2
    own = fit_articulation(speech(400), speech(400) @ mixing, gap)
    assert own is not None
    later = speech(seed=1)
    wanted, made = (later @ mixing)[:, 5], own.apply(later)[:, 5]
    assert np.corrcoef(later[:, 5], wanted)[0, 1] < 0.4
    assert np.corrcoef(made, wanted)[0, 1] > 0.8


def test_articulation_closes_the_lips_as_often_as_the_clip_does(gap):
    heard = speech(300)
    shown = heard.copy()
    # The lips rest on one another in a third of the frames, which no straight line through what is heard gives.
    opening, closed = heard @ gap, np.quantile(heard @ gap, 0.33)
    shown += ((np.maximum(opening, closed) - opening)[:, None] * gap / (gap @ gap)).astype(np.float32)
    own = fit_articulation(heard, shown, gap)
    assert own is not None
    made = own.apply(speech(2000, seed=1)) @ gap
    lowest = (shown @ gap).min()
    assert np.mean(made < lowest + 0.1 * shown.std() * np.abs(gap).max()) == pytest.approx(0.33, abs=0.08)


@pytest.mark.parametrize("lag", [-3, 2])
def test_fit_articulation_ignores_a_lag_of_the_sound(gap, lag):
    heard = speech(120)
    own = fit_articulation(heard, np.roll(heard, lag, axis=0), gap)
    assert own is not None
    later = speech(seed=1)
    made, wanted = own.apply(later) @ gap, later @ gap
    assert np.corrcoef(made, wanted)[0, 1] > 0.97


@pytest.mark.parametrize("lag", [-2, 0, 1])
def test_fit_articulation_takes_only_tracked_frames_for_movement(gap, lag):
    """Frames between the tracked ones are interpolated, and their lips meet less often than the person's."""
    heard, places = speech(600), np.arange(600)
    shown = np.roll(1.4 * heard, lag, axis=0)
    sparse = np.stack([np.interp(places, places[::3], values[::3]) for values in shown.T], axis=1)
    taken, mixed = (fit_articulation(heard, sparse, gap, every) for every in (3, 1))
    assert taken is not None and mixed is not None
    later = speech(400, seed=1)
    wanted = float((1.4 * later @ gap).std())
    assert float((taken.apply(later) @ gap).std()) == pytest.approx(wanted, rel=0.05)
    assert float((mixed.apply(later) @ gap).std()) < 0.93 * wanted


def test_fit_articulation_gives_none_for_another_voice_or_a_moment(gap):
    assert fit_articulation(speech(), speech(seed=5), gap) is None
    assert fit_articulation(speech(SHORTEST - 1), speech(SHORTEST - 1), gap) is None
    assert fit_articulation(np.zeros((0, 20), np.float32), speech(), gap) is None
    assert fit_articulation(np.zeros((FRAMES, 20), np.float32), speech(), gap) is None


def test_fit_articulation_bounds_the_gain(gap):
    heard = speech()
    own = fit_articulation(0.01 * heard, 5 * heard, gap)
    assert own is not None and np.isfinite(own.matrix).all()
    assert np.abs(own.matrix).max() <= 3 * GAIN[1]
