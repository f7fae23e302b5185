"""Covered mouths: a hand of the face's own colour is told from a mouth that speaks, in other light, or turned away."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from thcli.faces.follow import LOWER, PLACES
from thcli.pipeline.covered import AROUND, covered_mouths
from thcli.pipeline.footage import Footage

FRAMES = 200
SKIN = np.array([190.0, 140.0, 120.0])
STRAIGHT = np.zeros(FRAMES, np.float32)
HAND = slice(80, 120)


def filmed(seed: int = 0) -> Footage:
    """A face whose lower part has a pattern of its own; a fifth of its places, the mouth, changes as it speaks."""
    draw = np.random.default_rng(seed)
    usual = SKIN * np.exp(draw.normal(0, 0.25, (len(PLACES), 1))) * np.exp(draw.normal(0, 0.1, (len(PLACES), 3)))
    colours = np.repeat(usual[None], FRAMES, axis=0)
    opening = np.abs(np.sin(np.arange(FRAMES) / 3))[:, None, None]
    colours[:, : LOWER // 5] *= 1 - 0.6 * opening
    colours += draw.normal(0, 2, colours.shape)
    return Footage(
        path=Path("none"), size=(640, 360), time=np.arange(FRAMES), unit=Fraction(1, 25), last=1,
        shot=np.zeros(FRAMES, np.int32), confidence=np.ones(FRAMES, np.float32),
        sharpness=np.ones(FRAMES, np.float32), colours=colours.clip(0, 255).astype(np.uint8), tracker="made up",
    )  # fmt: skip


def behind_hand(footage: Footage, frames: slice) -> Footage:
    """The same face with a hand of its own colour, a little shaded, before the lower part."""
    colours = footage.colours.copy()
    shade = np.exp(np.random.default_rng(9).normal(0, 0.1, (1, LOWER, 1)))
    colours[frames, :LOWER] = (SKIN * shade).clip(0, 255)
    return replace(footage, colours=colours)


def test_a_mouth_that_speaks_is_not_covered():
    assert not covered_mouths(filmed(), STRAIGHT).any()


def test_a_hand_of_the_colour_of_the_face_is_seen_while_it_is_there():
    covered = covered_mouths(behind_hand(filmed(), HAND), STRAIGHT)
    around = round(AROUND * 25)
    assert covered[HAND].all() and not covered[: HAND.start - around - 1].any()
    assert not covered[HAND.stop + around + 1 :].any()


@pytest.mark.parametrize("tint", [(0.5, 0.5, 0.5), (1.3, 0.9, 0.6)])
def test_other_light_covers_nothing(tint):
    footage = filmed()
    colours = footage.colours.astype(np.float32)
    colours[100:140] *= tint
    assert not covered_mouths(replace(footage, colours=colours.clip(0, 255).astype(np.uint8)), STRAIGHT).any()


def test_a_head_turned_away_is_compared_with_itself_turned_alike():
    footage, other, turn = filmed(), filmed(seed=1), STRAIGHT.copy()
    colours = footage.colours.copy()
    colours[150:] = other.colours[150:]
    footage = replace(footage, colours=colours)
    assert covered_mouths(footage, turn)[155:].all()
    turn[150:] = 0.7
    assert not covered_mouths(footage, turn).any()


def test_shots_are_compared_each_with_itself():
    footage, other = filmed(), filmed(seed=1)
    colours, shot = footage.colours.copy(), footage.shot.copy()
    colours[100:], shot[100:] = other.colours[100:], 1
    assert not covered_mouths(replace(footage, colours=colours, shot=shot), STRAIGHT).any()


def test_frames_without_a_face_are_not_covered():
    footage = filmed()
    confidence = footage.confidence.copy()
    confidence[50:60] = np.nan
    colours, turn = footage.colours.copy(), STRAIGHT.copy()
    colours[50:60], turn[50:60] = 0, np.nan
    assert not covered_mouths(replace(footage, colours=colours, confidence=confidence), turn).any()
