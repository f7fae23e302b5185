"""Sound and mouth brought into step to a fraction of a frame, before Psi learns from them.

A clip's ``av_lag`` is good to a frame or two; training on mouths that trail their sound by different amounts blurs
all that is learned. So the subjects are split in halves, a quick network is fitted to each, and every clip is moved
to where the prediction of the other half's network fits its mouth best. Repeated, the fit gets sharper.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from thcli.data.audio_motion import STEPS, AudioMotion, shifted
from thcli.records import Float

REACH = 4
"""Largest correction a round, in frames."""
TRUSTED = 0.3
"""Correlation of predicted and true mouth opening below which a clip is left as it is."""
SHORTEST = 40
"""Frames below which a correlation says too little."""

Predict = Callable[[AudioMotion], Float]


def find_shifts(
    clips: Sequence[AudioMotion], fit: Callable[[list[AudioMotion]], Predict], rounds: int, seed: int
) -> dict[str, int]:
    """By how many steps of 10 ms each clip's mouth trails its sound beyond what is known already, by clip name.

    fit: trains a quick network on some clips and returns what predicts a clip's mouth opening [T]
    The median over all clips is 0: what all have in common cannot be told from the network's own delay.
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
        totals = {name: total + round(STEPS * (found[name] - common)) for name, total in totals.items()}
    return totals


def best_offset(predicted: Float, true: Float) -> float:
    """By how many frames ``true`` [T] trails ``predicted`` [T], 0 where that cannot be told."""
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
    length = len(true) - abs(offset)
    x, y = predicted[max(0, -offset) :][:length], true[max(0, offset) :][:length]
    return float(np.corrcoef(x, y)[0, 1])


def _halves(subjects: Sequence[str], seed: int) -> dict[str, int]:
    """Each subject's half, 0 or 1."""
    shuffled = np.random.default_rng(seed).permutation(sorted(set(subjects)))
    return {str(subject): i % 2 for i, subject in enumerate(shuffled)}
