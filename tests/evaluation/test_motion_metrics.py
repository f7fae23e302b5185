"""Metrics of head motion, blinks and the beats of the head, for movements that are known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from thcli.evaluation import curves
from thcli.evaluation.metric import Figure
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import beat_alignment, blink_rate, jitter, motion_diversity
from thcli.evaluation.recording import Pair, Recording
from thcli.rotations import placement

BY_NAME = {
    metric.name: metric
    for module in (motion_diversity, jitter, beat_alignment, blink_rate)
    for metric in module.METRICS
}


def measured(name: str, recording: Recording) -> Figure:
    return BY_NAME[name].measure(Pair(recording, recording), MetricModels())


def turned(degrees: np.ndarray) -> np.ndarray:
    """Poses [T, 6] of a head turned by rotation vectors [T, 3] in degrees, in the middle of the image."""
    return placement(np.concatenate([np.radians(degrees), np.zeros_like(degrees)], axis=1)).astype(np.float32)


@pytest.fixture
def turning(recording: Callable[..., Recording]) -> Callable[..., Recording]:
    """turning(degrees, **changes): a video of one held image whose track turns by rotation vectors [T, 3]."""

    def make(degrees: np.ndarray, **changes: object) -> Recording:
        template = recording(1)
        track = template.track.select(np.zeros(len(degrees), np.intp))
        loudness = changes.pop("loudness", None)
        if loudness is not None:
            changes["speech"] = recording(1, loudness=loudness).speech
        pictures = np.broadcast_to(template.frames, (len(degrees), *template.frames.shape[1:]))
        return replace(template, frames=pictures, track=replace(track, pose=turned(degrees)), **changes)

    return make


def waves(frames: int, size: list[float], period: float) -> np.ndarray:
    """Sine waves [T, 3] of these sizes and of a period in frames."""
    return np.sin(2 * np.pi * np.arange(frames)[:, None] / period) * np.array(size)


def test_motion_diversity_of_sine_waves_is_their_deviation(turning):
    # A sine of size a deviates by a / √2; the smoothing takes 1 - exp(-ω² / 2) = 0.2 % of it.
    figure = measured("motion_diversity", turning(waves(200, [3.0, 6.0, 0.0], 100)))
    assert figure.value == pytest.approx((3 + 6) / np.sqrt(2) / 3, rel=0.01)
    assert figure.count == 200


def test_noise_adds_to_jitter_and_hardly_to_motion_diversity(turning):
    calm = waves(400, [4.0, 4.0, 4.0], 100)
    noise = np.random.default_rng(0).normal(0, 1, calm.shape)
    diversity = [measured("motion_diversity", turning(x)).value for x in (calm, calm + noise)]
    assert diversity[1] == pytest.approx(diversity[0], rel=0.03)  # The noise alone would add 6 %.
    # Third differences of white noise deviate by √20, and their mean size is √(2 / π) of that.
    expected = np.sqrt(20 * 2 / np.pi)
    assert measured("jitter", turning(calm + noise)).value == pytest.approx(expected, rel=0.1)


def test_jitter_of_a_sine_wave_is_its_mean_third_difference(turning):
    # Every difference of a sine is a sine, 2 sin(ω / 2) times as large; the mean size of a sine is 2 / π.
    figure = measured("jitter", turning(waves(500, [0.0, 9.0, 0.0], 10.37)))
    assert figure.value == pytest.approx(9 * (2 * np.sin(np.pi / 10.37)) ** 3 * 2 / np.pi / 3, rel=0.03)


@pytest.mark.parametrize("name", ["motion_diversity", "jitter", "blink_rate"])
def test_motion_metrics_of_a_held_frame_are_zero(name, recording):
    held = recording(40).select(np.zeros(40, np.intp))
    assert measured(name, held).value == pytest.approx(0, abs=1e-6)


def test_turning_speed_is_the_angle_between_frames(turning):
    axis = np.array([0.6, 0.0, 0.8])
    path = np.linspace(0, 40, 21)[:, None] * axis
    start = Rotation.from_rotvec([10, -20, 30], degrees=True)
    degrees = (Rotation.from_rotvec(path, degrees=True) * start).as_rotvec(degrees=True)
    speed = curves.turning_speed(turning(degrees).track)
    np.testing.assert_allclose(speed[4:-4], 2.0, atol=1e-3)


def test_head_turn_has_the_axes_of_the_pose_conventions(turning):
    down = turning(
        np.tile([-20.0, 0, 0], (5, 1))
    ).track.pose  # With rx > 0 the face looks down; placements are negated.
    assert np.all(down[:, 0] > 0)
    np.testing.assert_allclose(
        curves.head_turn(turning(np.tile([-20.0, 5, 1], (5, 1))).track)[2], [-20, 5, 1], atol=1e-3
    )


def nods(frames: int, moments: np.ndarray) -> np.ndarray:
    """Rotations [T, 3] of a head that turns to and fro, fastest at the moments, frames from the start of frame 0."""
    time = np.arange(frames)[:, None] + 0.5
    steps = np.tanh((time - moments) / 2) * np.where(np.arange(len(moments)) % 2, -1, 1)
    return np.outer(steps.sum(axis=1), [3.0, 1.0, 0.0])


def bursts(frames: int, moments: np.ndarray) -> np.ndarray:
    """Loudness [T] that rises sharply at the given moments and dies away."""
    since = np.arange(frames)[:, None] + 0.5 - moments
    return np.where(since > 0, np.exp(-np.maximum(since, 0) / 4), 0).max(axis=1)


MOMENTS = np.arange(12.0, 240, 24)


def test_head_beats_and_speech_onsets_are_found_where_they_are(turning):
    video = turning(nods(250, MOMENTS), loudness=bursts(250, MOMENTS))
    np.testing.assert_allclose(beat_alignment.head_beats(video.track), MOMENTS, atol=0.6)
    np.testing.assert_allclose(beat_alignment.speech_onsets(video.speech), MOMENTS, atol=1.1)


def test_beat_alignment_is_high_in_step_and_low_out_of_step(turning):
    sound = bursts(250, MOMENTS)
    # The beats of the second lie half way between the onsets, which at σ = 3 is as good as none: exp(-12² / 18).
    inside, outside = (turning(nods(250, moments), loudness=sound) for moments in (MOMENTS, MOMENTS + 12))
    scores = [measured("beat_alignment", video).value for video in (inside, outside)]
    assert scores[0] > 0.9
    assert scores[1] < 0.05
    # Over any 24 frames the kernel's mean is 3 √(2 π) / 24.
    chance = measured("beat_chance", inside).value
    assert chance == pytest.approx(3 * np.sqrt(2 * np.pi) / 24, abs=0.04)


def test_beat_chance_is_the_beat_alignment_of_shuffled_motion(turning):
    random = np.random.default_rng(0)
    sound = bursts(500, np.sort(random.uniform(5, 495, 40)))
    scores = []
    for seed in range(8):
        moments = np.random.default_rng(seed).permutation(np.arange(10, 490, 12)) + random.uniform(-4, 4, 40)
        scores.append(measured("beat_alignment", turning(nods(500, np.sort(moments)), loudness=sound)).value)
    assert np.mean(scores) == pytest.approx(
        measured("beat_chance", turning(np.zeros((500, 3)), loudness=sound)).value, abs=0.06
    )


def test_alignment_is_the_kernel_of_the_nearest_onset():
    scores = beat_alignment.alignment(np.array([10.0, 13.0, 40.0]), np.array([10.0, 34.0]))
    np.testing.assert_allclose(scores, np.exp([0, -0.5, -2]))


def test_beat_alignment_says_what_is_missing_without_beats_onsets_or_sound(turning):
    still = turning(np.zeros((60, 3)), name="still.mp4", loudness=bursts(60, np.array([20.0, 40.0])))
    assert measured("beat_alignment", still).why == "the head of still.mp4 has no beats"
    for name in ("beat_alignment", "beat_chance"):
        mute = replace(still, speech=None)
        assert measured(name, mute).why == "still.mp4 has no sound"
        silent = replace(still, speech=replace(still.speech, samples=np.zeros_like(still.speech.samples)))
        assert measured(name, silent).why == "the sound of still.mp4 has no onsets"


def test_blink_rate_counts_blinks_a_minute(recording):
    blink = np.zeros(300, np.float32)
    for middle in (40, 110, 190, 260):
        blink[middle - 2 : middle + 3] = [0.5, 0.9, 1.0, 0.8, 0.4]
    figure = measured("blink_rate", recording(300, blink=blink))
    assert figure.value == pytest.approx(4 / (300 / 25 / 60))


def test_motion_metrics_of_very_short_videos_are_not_computed(recording):
    assert measured("blink_rate", recording(10, name="a.mp4")).why == "a.mp4 has 10 frames; blinks take 25"
    assert measured("jitter", recording(3, name="a.mp4")).why == "a.mp4 has 3 frames; jitter takes 4"
    assert measured("beat_alignment", recording(2, name="a.mp4")).value is None


@pytest.mark.parametrize("name", [name for name in BY_NAME if name != "beat_chance"])
def test_motion_metrics_are_not_computed_without_a_face(name, recording):
    assert measured(name, recording(track=None, name="bars.mp4")).why == "no face found in bars.mp4"
