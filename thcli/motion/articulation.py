"""A person's own articulation, fitted to the reference clip and its audio (§3.2).

Ψ predicts how people in general move the mouth. Its prediction for the clip's own audio is compared with the movement
of the mouth in the clip. This departs from the paper, whose network knows only one expression of the person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.records import Float

SHORTEST = 50
"""Fewest frames of a clip to which an articulation is fitted."""
LAGS = range(-6, 3)
"""Lags of the clip's images behind its audio that are corrected, frames; usual footage has -2."""
LIKENESS = 0.35
"""Least correlation of predicted and tracked lip gap; below it, the audio is not the person's own speech."""
RIDGE = 30.0
"""Penalty that keeps the matrix near the identity (ridge regression), in squared coefficients summed over frames."""
GAIN = (0.5, 2.0)
"""Least and largest factor that makes up for the ridge regression's loss of movement."""
DOUBT = 32
"""Frames of a clip whose articulation and Ψ's usual one weigh the same.

Chosen by how far the mouths of 89 training people moved, given three seconds: within 15 % of the truth for 72 % of
them, for 66 % with the articulation taken whole, and for 56 % without it.
"""
LEVELS = np.linspace(0.02, 0.98, 9)
"""Quantiles at which the distribution of the lip gap's change is matched."""


@dataclass(frozen=True)
class Articulation:
    """Map from the movement that Ψ predicts to the person's own movement.

    matrix: [20, 20] float32, linear map from predicted coefficients to the person's, applied from the right
    gap: [20] float32, change of the gap between the lips for each coefficient
    heard, shown: [9] float32, rising, quantiles of the gap's change as predicted from the audio and as tracked
    trust: weight of the person's own movement over that of people in general, 0..1
    """

    matrix: Float
    gap: Float
    heard: Float
    shown: Float
    trust: float

    def apply(self, moved: Float) -> Float:
        """Convert predicted movement [T, 20], the difference from the median expression, to the person's own."""
        own = moved @ self.matrix
        opening = own @ self.gap
        inside = np.interp(opening, self.heard, self.shown)
        beyond = opening - np.clip(opening, self.heard[0], self.heard[-1])
        # The gap is reached by the least change of the coefficients.
        own = own + (inside + beyond - opening)[:, None] * self.gap / (self.gap @ self.gap)
        return (moved + self.trust * (own - moved)).astype(np.float32)


def fit_articulation(predicted: Float, tracked: Float, gap: Float, every: int = 1) -> Articulation | None:
    """Fit the articulation that maps Ψ's movement for the clip's own audio to the movement of the face.

    predicted, tracked: [τ, 20], difference from the median expression, as Ψ predicts it and as the track shows it
    gap: [20], ``FaceModel.lip_gap``
    every: distance in frames, from the first on, of those that were tracked; interpolated ones tell the lag alone,
        because lips that meet for a moment between two tracked frames do not meet in them

    Returns None where the clip is too short, or where the audio does not fit the mouth: another voice, music, silence.
    """
    frames = min(len(predicted), len(tracked))
    if frames < SHORTEST:
        return None
    lag, correlation = _best_lag(predicted @ gap, tracked @ gap)
    if correlation < LIKENESS:
        return None
    predicted, tracked = _overlap(predicted, tracked, lag)
    seen = slice(-max(lag, 0) % every, None, every)
    predicted, tracked = predicted[seen], tracked[seen]
    wish, truth = (np.asarray(x - x.mean(axis=0), np.float64) for x in (predicted, tracked))
    identity = np.eye(len(gap))
    weight = RIDGE / every * identity
    matrix = identity + np.linalg.solve(wish.T @ wish + weight, wish.T @ (truth - wish))
    # Ridge regression makes movement smaller than it is.
    matrix *= np.clip((truth @ gap).std() / max((wish @ matrix @ gap).std(), 1e-6), *GAIN)
    levels = np.quantile(predicted @ matrix @ gap, LEVELS)
    rising = levels + 1e-6 * np.arange(len(levels))
    return Articulation(
        matrix.astype(np.float32),
        np.asarray(gap, np.float32),
        rising.astype(np.float32),
        np.quantile(tracked @ gap, LEVELS).astype(np.float32),
        frames / (frames + DOUBT),
    )


def _best_lag(predicted: Float, tracked: Float) -> tuple[int, float]:
    """Return the lag, frames, at which the tracked lip gap [τ] correlates best with the predicted one, and how much."""
    correlations = {}
    for lag in LAGS:
        x, y = _overlap(predicted, tracked, lag)
        still = min(x.std(), y.std()) < 1e-6
        correlations[lag] = 0.0 if still else float(np.corrcoef(x, y)[0, 1])
    best = max(correlations, key=lambda lag: correlations[lag])
    return best, correlations[best]


def _overlap(predicted: Float, tracked: Float, lag: int) -> tuple[Float, Float]:
    """Return parts of both in which tracked frame t + lag belongs to predicted frame t."""
    length = min(len(predicted), len(tracked)) - abs(lag)
    first, second = max(0, -lag), max(0, lag)
    return predicted[first : first + length], tracked[second : second + length]
