"""How a person moves the mouth when speaking, learned from the reference clip, whose sound is known (§3.2).

Psi says how people in general would move; what it hears in the clip's own sound stands here beside what the mouth did.
Departure from the paper, which gives its network no more of the person than one expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.records import Float

SHORTEST = 50
"""Frames of speech, at least, from which anything is learned."""
LARGEST_LAG = 4
"""Frames by which the clip's sound may be off its picture."""
LIKENESS = 0.35
"""Correlation of the mouth's opening with what Psi hears below which the sound is not the person's own speech."""
RIDGE = 30.0
"""Squared coefficients, summed over frames, at which a coefficient's own movement weighs as much as that of others."""
GAIN = (0.5, 2.0)
LEVELS = np.linspace(0.02, 0.98, 9)
"""Quantiles at which the opening's distribution is taken over."""


@dataclass(frozen=True)
class Articulation:
    """From Psi's movement to the person's.

    matrix: [20, 20], which coefficients the person moves, and how much, where Psi says which
    gap: [20], change of the gap between the lips for each coefficient
    heard, shown: [9] rising, quantiles of the gap's change as heard and as it was
    """

    matrix: Float
    gap: Float
    heard: Float
    shown: Float

    def apply(self, moved: Float) -> Float:
        """Movement [T, 20], distance from the usual expression, as the person would make it."""
        own = moved @ self.matrix
        opening = own @ self.gap
        inside = np.interp(opening, self.heard, self.shown)
        beyond = opening - np.clip(opening, self.heard[0], self.heard[-1])
        # The least change of the coefficients that gives the gap.
        return (own + (inside + beyond - opening)[:, None] * self.gap / (self.gap @ self.gap)).astype(np.float32)


def learn_articulation(heard: Float, shown: Float, gap: Float) -> Articulation | None:
    """Compare Psi's movement for the clip's own sound with the movement of the face.

    heard, shown: [τ, 20], distance from the usual expression; gap: [20], ``FaceModel.lip_gap``
    None where there is too little, or where the sound does not go with the mouth: another's voice, music, silence.
    """
    if min(len(heard), len(shown)) < SHORTEST:
        return None
    lag, likeness = _in_step(heard @ gap, shown @ gap)
    if likeness < LIKENESS:
        return None
    heard, shown = _overlap(heard, shown, lag)
    wish, truth = (np.asarray(x - x.mean(axis=0), np.float64) for x in (heard, shown))
    own = np.eye(len(gap))
    matrix = own + np.linalg.solve(wish.T @ wish + RIDGE * own, wish.T @ (truth - wish))
    # Ridge regression makes movement smaller than it is.
    matrix *= np.clip((truth @ gap).std() / max((wish @ matrix @ gap).std(), 1e-6), *GAIN)
    levels = np.quantile(heard @ matrix @ gap, LEVELS)
    rising = levels + 1e-6 * np.arange(len(levels))
    return Articulation(
        matrix.astype(np.float32),
        np.asarray(gap, np.float32),
        rising.astype(np.float32),
        np.quantile(shown @ gap, LEVELS).astype(np.float32),
    )


def _in_step(heard: Float, shown: Float) -> tuple[int, float]:
    """By how many frames the mouth trails the sound, and the correlation there."""
    likeness = {}
    for lag in range(-LARGEST_LAG, LARGEST_LAG + 1):
        x, y = _overlap(heard, shown, lag)
        still = min(x.std(), y.std()) < 1e-6
        likeness[lag] = 0.0 if still else float(np.corrcoef(x, y)[0, 1])
    best = max(likeness, key=lambda lag: likeness[lag])
    return best, likeness[best]


def _overlap(heard: Float, shown: Float, lag: int) -> tuple[Float, Float]:
    """Both where frame t + lag shows what is heard at t."""
    length = min(len(heard), len(shown)) - abs(lag)
    first, second = max(0, -lag), max(0, lag)
    return heard[first : first + length], shown[second : second + length]
