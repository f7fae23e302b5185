"""Whether something lies before a person's mouth: a hand, a cup, a microphone.

Lips, nostrils and the shadows around them make a pattern of light and colour that stays alike while a person speaks.
Whatever covers the mouth lacks it, even a hand, which has the colour of the face.
"""

from __future__ import annotations

import numpy as np

from thcli.faces.follow import LOWER
from thcli.opencv import cv2
from thcli.pipeline.footage import Footage
from thcli.records import Float, Image
from thcli.smoothing import percentile_around

ALIKE = 0.5
"""Least correlation of the lower face with its usual pattern where nothing covers it.

A hand of the colour of their own cheek was laid before the mouths of 33 people of the training clips and of ``val``:
97 % of the frames in which it hides most of the lips lie below, and 0.2 % of those without it. Of the frames of the 36
people who turn the most 0.1 % do.
"""
TURNED, BIN = 0.4, 0.3
"""Turn from the usual one, rad, beyond which the pattern is also compared with that of heads turned alike, which are
taken together in steps of ``BIN``."""
LEAST = 10
"""Least frames that tell what is usual."""
SAMPLED = 500
"""About how many frames of a shot tell what is usual, at least."""
STEADY, AROUND = 0.2, 0.12
"""Seconds over which the median of the correlation is taken, and by which a cover is widened, as it comes and goes."""
PIECE = 4096
"""Frames that are compared at a time."""


def covered_mouths(footage: Footage, turn: Float) -> np.ndarray:
    """Return whether something lies before the mouth of each frame [T]; none where there is no face.

    turn: [T], turn of the head, rad; NaN without a face
    """
    covered = np.zeros(len(footage), bool)
    seconds = footage.seconds
    step = max(float(np.mean(np.diff(seconds))) if len(seconds) > 1 else STEADY, 1e-3)
    seen = np.flatnonzero(footage.confidence > 0)
    for shot in np.unique(footage.shot[seen]):
        which = seen[footage.shot[seen] == shot]
        if len(which) >= LEAST:
            likeness = _likeness_in_shot(footage.colours, which, turn[which])
            steady = percentile_around(likeness, 50, 2 * round(STEADY / step / 2) + 1)
            around = np.ones((2 * max(round(AROUND / step), 1) + 1, 1), np.uint8)
            covered[which] = cv2.dilate((steady < ALIKE).astype(np.uint8)[:, None], around)[:, 0] > 0
    return covered


def _likeness_in_shot(colours: Image, which: np.ndarray, turn: Float) -> Float:
    """Return the correlation of the frames ``which`` [n] of a shot with what is usual in it: [n]."""
    best = _likeness(colours, which, _usual(colours, which))
    turned = np.abs(turn - np.median(turn)) > TURNED
    bins = np.round(turn / BIN)
    for number in np.unique(bins[turned]):
        some, near = which[bins == number], turned & (np.abs(bins - number) <= 1)
        if len(some) >= LEAST:
            best[near] = np.maximum(best[near], _likeness(colours, which[near], _usual(colours, some)))
    return best


def _usual(colours: Image, which: np.ndarray) -> Float:
    """Return the usual pattern [3, P] of some frames, by about ``SAMPLED`` of them."""
    sampled = which[:: max(1, len(which) // SAMPLED)]
    return np.asarray(np.median(_patterns(colours[sampled]), axis=0))


def _likeness(colours: Image, which: np.ndarray, usual: Float) -> Float:
    """Return the correlation of some frames [n] with a pattern [3, P], the mean over its light and colours."""
    usual = usual - usual.mean(axis=1, keepdims=True)
    found = []
    for first in range(0, len(which), PIECE):
        shown = _patterns(colours[which[first : first + PIECE]])
        lengths = np.linalg.norm(shown, axis=2) * np.linalg.norm(usual, axis=1)
        found.append(((shown * usual).sum(axis=2) / np.maximum(lengths, 1e-6)).mean(axis=1))
    return np.concatenate(found)


def _patterns(colours: Image) -> Float:
    """Return light, red and blue against green of lower faces [n, places, 3] as logarithms about zero: [n, 3, P]."""
    logs = np.log(colours[:, :LOWER].astype(np.float32) + 16)
    red, green, blue = (logs[..., i] for i in range(3))
    shown = np.stack([logs.mean(axis=2), red - green, blue - green], axis=1)
    return np.asarray(shown - shown.mean(axis=2, keepdims=True))
