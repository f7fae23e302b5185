"""Closures of the lips: which of them are met, and which of those made are right."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.metrics import closures

BY_NAME = {metric.name: metric for metric in closures.METRICS}


@pytest.fixture
def talker(recording, face_model):
    """A recording of 40 frames whose lips meet in the given frames and are open elsewhere."""
    gap = face_model.lip_gap
    closing = -gap / (gap @ gap)

    def make(*frames, name="made.mp4"):
        wish = np.full(40, 0.1)
        wish[list(frames)] = 0
        upper, lower = face_model.canonical[[13, 14], 1]
        return recording(40, name=name, expression=np.outer(lower - upper - wish, closing))

    return make


def value(name, made, true, pair):
    return BY_NAME[name].measure(pair(made, true), MetricModels()).value


def test_closures_count_as_met_within_two_frames(talker, pair):
    true = talker(10, 11, 20, 30)
    assert value("closures_met", true, true, pair) == value("closures_right", true, true, pair) == 1
    made = talker(13, 23)  # two frames after the first, three after the second, none at the third
    assert value("closures_met", made, true, pair) == pytest.approx(1 / 3)
    assert value("closures_right", made, true, pair) == pytest.approx(1 / 2)


def test_closures_are_not_computed_for_lips_that_never_meet(talker, pair):
    figures = {
        name: metric.measure(pair(talker(), talker(5, name="real.mp4")), MetricModels())
        for name, metric in BY_NAME.items()
    }
    assert figures["closures_met"].value == 0
    assert figures["closures_right"].why == "the lips of made.mp4 never meet"


def test_closures_leave_out_frames_without_a_face(talker, pair, recording):
    faceless = recording(track=None, name="bars.mp4")
    for metric in closures.METRICS:
        assert metric.measure(pair(faceless, talker()), MetricModels()).why == "no face found in bars.mp4"
