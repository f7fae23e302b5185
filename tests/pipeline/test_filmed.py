"""Which frames are dubbed: fades where the face goes and comes, hard edges at cuts."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.pipeline.filmed import FADE_SECONDS, opacities

SECONDS = np.arange(100) / 25
ALL = np.ones(100, bool)
ONE = np.zeros(100, np.int32)


def test_a_whole_video_is_dubbed_without_a_fade():
    assert (opacities(SECONDS, ONE, ALL, 4.0) == 1).all()


def test_what_is_drawn_fades_around_frames_without_a_face():
    dubbed = ALL.copy()
    dubbed[40:50] = False
    weight = opacities(SECONDS, ONE, dubbed, 4.0)
    assert (weight[40:50] == 0).all() and (weight[:36] == 1).all() and (weight[54:] == 1).all()
    steps = 1 / (25 * FADE_SECONDS)
    assert np.allclose(weight[36:40], 1 - steps * np.arange(0, 4), atol=1e-6) and np.all(np.diff(weight[50:54]) > 0)


def test_a_cut_is_hard():
    shot, dubbed = np.repeat([0, 1], 50).astype(np.int32), ALL.copy()
    dubbed[50:] = False
    assert (opacities(SECONDS, shot, dubbed, 4.0)[:50] == 1).all()


def test_a_brief_sight_is_left_alone():
    dubbed = ~ALL
    dubbed[20:26] = True
    assert (opacities(SECONDS, ONE, dubbed, 4.0) == 0).all()


@pytest.mark.parametrize("rate", [25, 50])
def test_fades_take_as_long_at_any_rate(rate):
    seconds = np.arange(4 * rate) / rate
    dubbed = seconds < 2
    weight = opacities(seconds, np.zeros(len(seconds), np.int32), dubbed, 4.0)
    assert ((weight > 0) & (weight < 1)).sum() == pytest.approx(FADE_SECONDS * rate, abs=1)
