import numpy as np
import pytest

from thcli.errors import UsageError
from thcli.motion import drive
from thcli.motion.head import resting_pose

RANDOM = np.random.default_rng(0)
PAST = (0.1 + 0.03 * np.cumsum(RANDOM.standard_normal((75, 6)), 0) / 8).astype(np.float32)
POSE = (0.1 + 0.05 * np.sin(np.arange(60)[:, None] / 7 + np.arange(6))).astype(np.float32)
EXPRESSION = np.sin(np.arange(60)[:, None] / 5 + np.arange(20)).astype(np.float32)
BLINK = np.zeros(60, np.float32)
REST = RANDOM.standard_normal(20).astype(np.float32)


def assemble(frames, **scales):
    return drive.assemble(POSE, EXPRESSION, BLINK, past_pose=PAST, rest=REST, frames=frames, **scales)


def test_all_parts_get_the_same_length():
    for frames in (1, 59, 60, 61, 300):
        made = assemble(frames)
        assert made.pose.shape == (frames, 6)
        assert made.expression.shape == (frames, 20)
        assert made.blink.shape == (frames,)
        assert {part.dtype for part in (made.pose, made.expression, made.blink)} == {np.dtype(np.float32)}


def test_what_is_given_is_kept():
    made = assemble(60)
    np.testing.assert_array_equal(made.pose, POSE)
    np.testing.assert_allclose(made.expression, EXPRESSION, atol=1e-6)


def test_short_sources_end_in_rest_without_a_jump():
    made = assemble(300)
    np.testing.assert_allclose(made.pose[-1], resting_pose(PAST), atol=1e-3)
    np.testing.assert_allclose(made.expression[-1], REST, atol=1e-3)
    for curve, source in ((made.pose, POSE), (made.expression, EXPRESSION)):
        steps = np.abs(np.diff(curve, axis=0)).max(1)
        assert steps[59:62].max() < 2 * np.abs(np.diff(source, axis=0)).max()


def test_scales():
    still = assemble(60, motion_scale=0, expression_scale=0)
    np.testing.assert_allclose(still.pose, np.repeat(resting_pose(PAST)[None], 60, 0), atol=1e-5)
    np.testing.assert_allclose(still.expression, np.repeat(REST[None], 60, 0), atol=1e-6)
    twice = assemble(60, expression_scale=2)
    np.testing.assert_allclose(twice.expression - REST, 2 * (EXPRESSION - REST), atol=1e-5)


@pytest.mark.parametrize("option", ["motion_scale", "expression_scale"])
@pytest.mark.parametrize("scale", [-0.1, 3.1, float("nan"), float("inf")])
def test_scales_out_of_reach(option, scale):
    with pytest.raises(UsageError, match=option.replace("_", "-")):
        assemble(60, **{option: scale})
