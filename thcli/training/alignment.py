"""Alignment of audio and mouth to a fraction of a frame, before Ψ is trained on them.

A clip's ``av_lag`` is accurate to a frame or two only, and mouths that trail their audio by different amounts blur
everything that is learned. So the subjects are split in halves, a quick network is fitted to each half, and every clip
is moved to where the prediction of the other half's network fits its mouth best. Further rounds sharpen the fit.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from thcli.clips.features import STEPS_PER_FRAME
from thcli.data.audio_motion import AudioMotion, shifted
from thcli.records import Float

REACH = 4
"""Frames searched to either side in one round; a fit that is best at the limit is not trusted."""
TRUSTED = 0.3
"""Correlation of predicted and true mouth opening below which a clip is left as it is."""
SHORTEST = 40
"""Fewest frames whose correlation is trusted."""

Predict = Callable[[AudioMotion], Float]
"""Function that predicts the mouth opening [T] of a clip from its audio."""


def find_shifts(
    clips: Sequence[AudioMotion], fit: Callable[[list[AudioMotion]], Predict], rounds: int, seed: int
) -> dict[str, int]:
    """Find how many steps of 10 ms each clip's mouth still trails its audio, by clip name.

    The median over all clips is set to 0 in every round, because a delay that all clips share cannot be told from the
    network's own.

    fit: trains a quick network on some clips and returns the function that predicts with it
    """
    totals = {clip.clip: 0 for clip in clips}
    halves = _halves([clip.subject for clip in clips], seed)
    for _ in range(rounds):
        moved = [shifted(clip, totals[clip.clip]) for clip in clips]
        found: dict[str, float] = {}
        for half in (0, 1):
            predict = fit([clip for clip in moved if halves[clip.subject] != half])
            found |= {c.clip: best_offset(predict(c), c.opening) for c in moved if halves[c.subject] == half}
        common = float(np.median(list(found.values())))
        totals = {name: total + round(STEPS_PER_FRAME * (found[name] - common)) for name, total in totals.items()}
    return totals


def best_offset(predicted: Float, true: Float) -> float:
    """Number of frames, with a fraction, by which ``true`` [T] trails ``predicted`` [T]; 0 where it cannot be told."""
    if len(true) < SHORTEST or predicted.std() == 0 or true.std() == 0:
        return 0.0
    offsets = range(-REACH, REACH + 1)
    fits = np.array([_correlation_at(predicted, true, offset) for offset in offsets])
    best = int(fits.argmax())
    if fits[best] < TRUSTED or best in (0, 2 * REACH):
        return 0.0
    before, at, after = fits[best - 1 : best + 2]
    return float(best - REACH + 0.5 * (before - after) / (before - 2 * at + after))


def _correlation_at(predicted: Float, true: Float, offset: int) -> float:
    """Correlation of two curves [T] of which ``true`` is read ``offset`` frames later."""
    length = len(true) - abs(offset)
    x, y = predicted[max(0, -offset) :][:length], true[max(0, offset) :][:length]
    return float(np.corrcoef(x, y)[0, 1])


def _halves(subjects: Sequence[str], seed: int) -> dict[str, int]:
    """Split the subjects at random: the half of each, 0 or 1, by name."""
    shuffled = np.random.default_rng(seed).permutation(sorted(set(subjects)))
    return {str(subject): i % 2 for i, subject in enumerate(shuffled)}
