"""The landmark distance of mouths, and the metrics of their openings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import pearsonr

from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import lmd, opening
from thcli.evaluation.recording import Recording
from thcli.face_model import mouth_opening

BY_NAME = {metric.name: metric for module in (lmd, opening) for metric in module.METRICS}


def value(name: str, pair) -> float:
    figure = BY_NAME[name].measure(pair, MetricModels())
    assert figure.value is not None, figure.why
    return figure.value


def with_landmarks(recording: Recording, landmarks: np.ndarray) -> Recording:
    return replace(recording, track=replace(recording.track, landmarks=landmarks.astype(np.float32)))


@pytest.mark.parametrize("name", ["lmd_sum", "lmd", "lmd_deposed"])
def test_lmd_of_a_video_with_itself_is_zero(name, pair):
    assert value(name, pair()) == 0


def test_lmd_of_one_moved_point_is_its_way_less_that_of_the_centroid(recording, pair):
    # The centroid takes a twentieth of it along: 19/20 of 10 px remain at that point, 1/20 of it at the 19 others.
    true = recording()
    landmarks = true.track.landmarks.copy()
    landmarks[:, 54, 0] += 10
    both = pair(with_landmarks(true, landmarks), true)
    assert value("lmd_sum", both) == pytest.approx(19.0, abs=1e-3)
    assert value("lmd", both) == pytest.approx(0.95, abs=1e-4)


def test_lmd_sum_ignores_other_landmarks_and_the_place_of_the_mouth(recording, pair):
    true = recording()
    landmarks = true.track.landmarks + np.array([7, -3, 50])
    landmarks[:, :48] *= 1.5
    assert value("lmd_sum", pair(with_landmarks(true, landmarks), true)) == pytest.approx(0, abs=1e-3)


def test_lmd_deposed_ignores_the_pose_and_lmd_does_not(recording, pair):
    still, pose = np.zeros((20, 6), np.float32), np.full((20, 6), [0.1, 0.3, -0.1, 0.2, 0.1, 0], np.float32)
    both = pair(recording(20, pose=pose), recording(20, pose=still))
    assert value("lmd", both) > 0.5
    assert value("lmd_deposed", both) < 0.01
    closed = recording(20, pose=pose, expression=np.full((20, 20), [-1] + 19 * [0]))
    assert value("lmd_deposed", pair(closed, recording(20, pose=still))) > 0.5


def test_lmd_leaves_out_frames_without_a_face(recording, pair):
    true = recording(20)
    landmarks, confidence = true.track.landmarks.copy(), true.track.confidence.copy()
    landmarks[5:9, 60] += 100
    confidence[5:9] = 0
    made = with_landmarks(true, landmarks)
    figure = BY_NAME["lmd"].measure(
        pair(replace(made, track=replace(made.track, confidence=confidence)), true), MetricModels()
    )
    assert (figure.value, figure.count) == (0, 16)


@pytest.mark.parametrize("name", BY_NAME)
def test_mouth_metrics_are_not_computed_without_a_face(name, recording, pair):
    faceless = recording(track=None, name="bars.mp4")
    for both in (pair(faceless, recording()), pair(recording(), faceless)):
        figure = BY_NAME[name].measure(both, MetricModels())
        assert figure.value is None
        assert figure.why == "no face found in bars.mp4"


def test_opening_metrics_of_a_video_with_itself_are_one(pair):
    assert value("opening_correlation", pair()) == pytest.approx(1)
    assert value("opening_ratio", pair()) == pytest.approx(1)


def test_opening_metrics_equal_scipy_s_and_numpy_s(recording, pair):
    random = np.random.default_rng(0)
    made, true = (recording(60, expression=0.5 * random.standard_normal((60, 20))) for _ in range(2))
    openings = [mouth_opening(one.track.mesh) for one in (made, true)]
    assert value("opening_correlation", pair(made, true)) == pytest.approx(pearsonr(*openings).statistic, abs=1e-4)
    assert value("opening_ratio", pair(made, true)) == pytest.approx(openings[0].std() / openings[1].std(), rel=1e-4)


def test_opening_correlation_falls_out_of_step_and_needs_a_mouth_that_moves(recording, pair):
    true = recording(60)
    assert value("opening_correlation", pair(true.select(np.roll(np.arange(60), 3)), true)) < 0.5
    held = replace(true.select(np.zeros(60, np.intp)), name="held.mp4")
    assert (
        BY_NAME["opening_correlation"].measure(pair(held, true), MetricModels()).why
        == "the mouth of held.mp4 does not move"
    )
    assert value("opening_ratio", pair(held, true)) == pytest.approx(0, abs=1e-4)
    for name in ("opening_correlation", "opening_ratio"):
        assert BY_NAME[name].measure(pair(true, held), MetricModels()).why == "the mouth of held.mp4 does not move"
