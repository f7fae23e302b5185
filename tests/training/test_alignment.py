"""Alignment of the clips to train Ψ on: audio and mouth are brought into step."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from thcli.data.audio_motion import AudioMotion, shifted
from thcli.training.alignment import best_offset, find_shifts


def talker(name: str, seed: int, lag_steps: int, frames: int = 200) -> AudioMotion:
    """A mouth that is as open as the audio is loud, ``lag_steps`` of 10 ms later."""
    random = np.random.default_rng(seed)
    loud = gaussian_filter1d(random.normal(size=4 * frames + 80), 8).astype(np.float32)
    audio = loud[40 : 40 + 4 * frames]
    seen = loud[40 - lag_steps : 40 - lag_steps + 4 * frames].reshape(frames, 4).mean(axis=1)
    features = np.repeat(audio.reshape(frames, 4, 1), 80, axis=2)
    none = np.zeros((frames, 20), np.float32)
    return AudioMotion(name, name, features, none, none[:, :6], seen, np.ones(frames, bool))


def loudness(clip: AudioMotion) -> np.ndarray:
    return clip.features.mean(axis=(1, 2))


@pytest.mark.parametrize("steps", [-9, -3, 0, 2, 4, 11])
def test_shifted_brings_the_mouth_back_into_step_with_the_audio(steps: int) -> None:
    clip = shifted(talker("a", 0, steps), steps)
    assert len(clip) == len(clip.features) == len(clip.pose) >= 200 - 3
    np.testing.assert_allclose(loudness(clip)[4:-4], clip.opening[4:-4], atol=1e-5)


def test_best_offset_is_found_to_a_fraction_of_a_frame() -> None:
    clip = talker("a", 1, 6)
    assert best_offset(loudness(clip), clip.opening) == pytest.approx(1.5, abs=0.2)
    assert best_offset(clip.opening, loudness(clip)) == pytest.approx(-1.5, abs=0.2)


def test_best_offset_is_zero_where_it_cannot_be_told() -> None:
    random = np.random.default_rng(0)
    assert best_offset(random.normal(size=400), random.normal(size=400)) == 0
    assert best_offset(np.zeros(100), random.normal(size=100)) == 0
    short = random.normal(size=20)
    assert best_offset(short, np.roll(short, 2)) == 0


def test_find_shifts_brings_clips_into_step_by_predictions_from_other_subjects() -> None:
    lags = [0, 0, 0, 5, -6, 0, 2, 0]
    clips = [talker(f"s{i}", i, lag) for i, lag in enumerate(lags)]
    seen = []

    def fit(others: list[AudioMotion]):
        trained = {clip.subject for clip in others}

        def predict(clip: AudioMotion) -> np.ndarray:
            assert clip.subject not in trained
            seen.append(clip.clip)
            return loudness(clip)

        return predict

    shifts = find_shifts(clips, fit, rounds=2, seed=0)
    assert sorted(seen) == sorted(2 * [clip.clip for clip in clips])
    assert max(abs(shifts[f"s{i}"] - lag) for i, lag in enumerate(lags)) <= 1
