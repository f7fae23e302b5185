"""Blinks: found in a track, measured, and made at a rate and in a shape."""

import numpy as np
import pytest

from thcli.errors import UsageError
from thcli.motion.blink import (
    BLINK,
    LONGEST_BLINK,
    REFRACTORY,
    SWING,
    BlinkStyle,
    blink_style,
    blinks_of_video,
    eye_closure,
    find_blinks,
    make_blinks,
    regular_blinks,
)

SHAPE = np.array([0.8, 0.4, 0.15, 0.2, 0.4, 0.6, 0.8, 0.9])


def opening(blinks, frames=500, usual=0.3, seed=0):
    """Openings with blinks that close in three frames and open in five, deepest at the given frames."""
    noise = 0.004 * np.random.default_rng(seed).standard_normal(frames)
    values = usual * (1 + 0.08 * np.sin(np.arange(frames) / 60)) + noise
    for frame in blinks:
        part = slice(frame - 2, min(frame + 6, frames))
        values[part] *= SHAPE[: part.stop - part.start]
    return values.astype(np.float32)


def test_find_blinks_finds_the_blinks_and_nothing_else():
    frames = [30, 80, 95, 300, 440]
    assert np.abs(find_blinks(opening(frames)) - frames).max() <= 1
    assert len(find_blinks(opening([]))) == 0


@pytest.mark.parametrize("seed", range(8))
def test_find_blinks_finds_the_peaks_that_scipy_does(seed):
    from scipy.signal import find_peaks

    frames = np.cumsum(np.random.default_rng(seed).integers(11, 60, 20))
    values = opening(frames[frames < 480], seed=seed)
    length = (1, LONGEST_BLINK)
    peaks, _ = find_peaks(eye_closure(values), BLINK, prominence=SWING, distance=REFRACTORY // 2, plateau_size=length)
    assert len(peaks) > 8 and np.array_equal(find_blinks(values), peaks)


def test_find_blinks_leaves_out_eyes_that_stay_closed_and_a_closure_at_either_end():
    values = opening([200])
    values[300:340] = 0.0
    values[:3], values[-4:] = 0.05, 0.05
    assert np.abs(find_blinks(values) - [200]).max() <= 1 and len(find_blinks(values)) == 1


def test_find_blinks_ignores_narrowed_eyes():
    values = opening([])
    values[100:200] *= 0.75
    assert len(find_blinks(values)) == 0


@pytest.mark.parametrize("usual", [0.15, 0.3, 0.45])
def test_eye_closure_is_relative_to_the_usual_opening(usual):
    closure = eye_closure(opening([100], usual=usual))
    assert closure[100] > 0.9
    assert np.median(closure) < 0.1


def test_blink_style_measures_rate_and_shape_of_a_long_clip():
    style = blink_style(opening(range(20, 1480, 50), frames=1500))
    assert style.rate == pytest.approx(0.5, abs=0.06)
    assert 2 <= style.closing <= 3.5
    assert 4 <= style.opening <= 6
    assert style.closing < style.opening


def test_blink_style_of_a_short_clip_stays_near_the_prior():
    assert blink_style(opening([], 1)) == BlinkStyle()
    assert 0.2 < blink_style(opening([], 75)).rate < 0.3
    assert blink_style(opening([10, 25, 40, 55, 70 - 8], 75)).rate < 0.7


def test_make_blinks_follows_rate_seed_and_refractory_time():
    style = BlinkStyle(rate=0.4)
    curve = make_blinks(style, 25 * 600, seed=3)
    assert curve.dtype == np.float32 and curve.min() == 0 and curve.max() <= 1
    closed = np.flatnonzero((curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]) & (curve[1:-1] > 0.5))
    assert len(closed) / 600 == pytest.approx(0.4, rel=0.15)
    assert np.diff(closed).min() > style.closing + style.opening
    assert (curve == 0).mean() > 0.8
    assert make_blinks(style, 500, 3).tobytes() == make_blinks(style, 500, 3).tobytes()
    assert not np.array_equal(make_blinks(style, 500, 3), make_blinks(style, 500, 4))


def test_make_blinks_closes_lids_faster_than_it_opens_them():
    curve = make_blinks(BlinkStyle(rate=0.2), 5000, seed=0)
    assert np.diff(curve).max() > -np.diff(curve).min()


def test_regular_blinks_come_at_the_seconds_given():
    curve = regular_blinks(BlinkStyle(), 2.0, 1000, 0)
    closed = np.flatnonzero((curve[1:-1] >= curve[:-2]) & (curve[1:-1] > curve[2:]))
    assert len(closed) == 20
    assert np.abs(np.diff(closed) - 50).max() <= 12


@pytest.mark.parametrize("seconds", [0.0, -1.0, 0.1, float("nan")])
def test_regular_blinks_refuses_less_time_than_a_blink_takes(seconds):
    with pytest.raises(UsageError, match=r"^--blink .*: a blink takes 0.32 s; give more seconds, or 'none'$"):
        regular_blinks(BlinkStyle(), seconds, 100, 0)


def test_blinks_of_video_keeps_blinks_alone_and_open_eyes_after_its_end():
    values = opening([60, 200], 250)
    values[120:160] *= 0.8
    curve = blinks_of_video(values, 400)
    assert curve.shape == (400,)
    assert curve[60] > 0.8 and curve[200] > 0.8
    assert curve[120:160].max() == 0 and curve[300:].max() < 0.01
    assert blinks_of_video(values, 100).shape == (100,)


def test_blinks_of_video_opens_the_eyes_slowly_after_an_end_in_a_blink():
    curve = blinks_of_video(opening([60, 247], 250), 300)
    assert curve[-1] < 0.05
    assert -np.diff(curve[249:]).min() < 0.5
