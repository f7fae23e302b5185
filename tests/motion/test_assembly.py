"""Motion curves from parts of any length: all get the same length and the scales, and rest where they end early."""

import numpy as np

from thcli.motion import assembly
from thcli.motion.head import motion_style
from thcli.rotations import placement

RANDOM = np.random.default_rng(0)
PAST = 0.1 + 0.03 * np.cumsum(RANDOM.standard_normal((75, 6)), 0) / 8
MOTION = 0.1 + 0.05 * np.sin(np.arange(60)[:, None] / 7 + np.arange(6))
POSE, RESTING_POSE = (placement(placed).astype(np.float32) for placed in (MOTION, motion_style(PAST).mean[None]))
EXPRESSION = np.sin(np.arange(60)[:, None] / 5 + np.arange(20)).astype(np.float32)
BLINK = np.zeros(60, np.float32)
REST = RANDOM.standard_normal(20).astype(np.float32)


def assemble(frames, **scales):
    return assembly.assemble(MOTION, EXPRESSION, BLINK, past=PAST, rest=REST, frames=frames, **scales)


def test_assemble_gives_all_parts_the_same_length():
    for frames in (1, 59, 60, 61, 300):
        made = assemble(frames)
        assert made.pose.shape == (frames, 6)
        assert made.expression.shape == (frames, 20)
        assert made.blink.shape == (frames,)
        assert {part.dtype for part in (made.pose, made.expression, made.blink)} == {np.dtype(np.float32)}


def test_assemble_keeps_motion_and_expression_of_the_right_length():
    made = assemble(60)
    np.testing.assert_array_equal(made.pose, POSE)
    np.testing.assert_allclose(made.expression, EXPRESSION, atol=1e-6)


def test_assemble_lets_short_sources_end_in_rest_without_a_jump():
    made = assemble(300)
    np.testing.assert_allclose(made.pose[-1], RESTING_POSE[0], atol=1e-3)
    np.testing.assert_allclose(made.expression[-1], REST, atol=1e-3)
    for curve, source in ((made.pose, POSE), (made.expression, EXPRESSION)):
        steps = np.abs(np.diff(curve, axis=0)).max(1)
        assert steps[59:62].max() < 2 * np.abs(np.diff(source, axis=0)).max()


def test_assemble_scales_motion_about_its_mean_and_expression_about_rest():
    still = assemble(60, motion_scale=0, expression_scale=0)
    np.testing.assert_allclose(still.pose, np.repeat(RESTING_POSE, 60, 0), atol=1e-5)
    np.testing.assert_allclose(still.expression, np.repeat(REST[None], 60, 0), atol=1e-6)
    twice = assemble(60, motion_scale=2, expression_scale=2)
    mean = motion_style(PAST).mean
    np.testing.assert_allclose(placement(twice.pose.astype(np.float64)) - mean, 2 * (MOTION - mean), atol=1e-5)
    np.testing.assert_allclose(twice.expression - REST, 2 * (EXPRESSION - REST), atol=1e-5)
