"""Scoring of answers: means, spread, and paired tests between methods.

The viewer is the unit of every figure, since one viewer's ratings are not independent samples: ratings are averaged
over a viewer's clips first, then over viewers. The tests (Wilcoxon signed-rank, two-sided) compare two methods by each
viewer's mean difference over the clips that this viewer rated for both, with Holm's correction for their number. They
generalise to other viewers of these clips; whether other clips would give the same result is not tested.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.study.answers import Answers
from thcli.evaluation.study.key import HIGHEST, LOWEST, QUESTIONS, Key

MIN_VIEWERS = 6
"""Least viewers with a preference for a test; five who all agree reach only p = 2 / 2^5, which is above 0.05."""
MAX_EXACT = 13
"""Most viewers for whom the test is exact in spite of ties; for more, scipy chooses the method."""
CONFIDENCE = 0.95
"""Probability of the confidence intervals."""

Ratings = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """Ratings of one method in one question, on the scale from ``LOWEST`` to ``HIGHEST``.

    viewers: number of viewers with a rating
    ratings: number of ratings
    mean: mean over viewers of each viewer's mean; the mean of all ratings where everybody rated everything
    deviation: standard deviation of all ratings; None for fewer than two
    low, high: confidence interval of the mean at ``CONFIDENCE`` (Student's t over viewers); None for fewer than two
    """

    question: str
    method: str
    viewers: int
    ratings: int
    mean: float | None
    deviation: float | None
    low: float | None
    high: float | None

    @property
    def normalised(self) -> float | None:
        """Mean scaled to 0..1, as in Fig. 11."""
        return None if self.mean is None else (self.mean - LOWEST) / (HIGHEST - LOWEST)


@dataclass(frozen=True)
class Comparison:
    """Comparison of two methods in one question.

    viewers: number of viewers who rated at least one clip for both
    difference: mean over these viewers of first minus second; None without viewers
    p: two-sided p-value of the test alone; None where there is no test
    holm: p-value corrected for all tests of the study; None where there is no test
    why: reason for a missing test; empty where there is one
    """

    question: str
    first: str
    second: str
    viewers: int
    difference: float | None
    p: float | None
    holm: float | None = None
    why: str = ""


@dataclass(frozen=True)
class Result:
    """Result of a study.

    viewers, clips: their numbers
    scores: ratings of every question and method
    comparisons: tests of every question and two methods
    notes: sentences on incomplete answers
    """

    title: str
    viewers: int
    clips: int
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


def score(key: Key, answers: Sequence[Answers], notes: Sequence[str] = ()) -> Result:
    """Score every question and method, and compare every two methods in every question.

    notes: notes to put into the result
    """
    scores: list[Score] = []
    comparisons: list[Comparison] = []
    for question in QUESTIONS:
        rated = {method: _ratings(key, answers, question.name, method) for method in key.methods}
        scores += [_score(question.name, method, values) for method, values in rated.items()]
        for first, second in itertools.combinations(key.methods, 2):
            comparisons.append(_compare(question.name, first, second, rated[first] - rated[second]))
    clips = len(_clips(key))
    return Result(key.title, len(answers), clips, tuple(scores), tuple(_holm(comparisons)), tuple(notes))


def _clips(key: Key) -> list[str]:
    return sorted({video.clip for video in key.videos.values()})


def _ratings(key: Key, answers: Sequence[Answers], question: str, method: str) -> Ratings:
    """Return the ratings [viewers, clips] of a method in a question; NaN where there is no answer."""
    names = {video.clip: name for name, video in key.videos.items() if video.method == method}
    rows = [[own.ratings.get((names[clip], question), np.nan) for clip in _clips(key)] for own in answers]
    return np.array(rows, np.float64).reshape(len(answers), -1)


def _viewer_means(values: Ratings) -> Ratings:
    """Return the mean over clips of every viewer who has an answer: [viewers with an answer]."""
    answered = values[np.isfinite(values).any(axis=1)]
    # The means are rounded, so that equal means of different clips are equal for the test too.
    return np.asarray(np.nanmean(answered, axis=1).round(9)) if len(answered) else np.empty(0)


def _score(question: str, method: str, values: Ratings) -> Score:
    from scipy import stats

    means, known = _viewer_means(values), values[np.isfinite(values)]
    mean = float(means.mean()) if len(means) else None
    deviation = float(known.std(ddof=1)) if len(known) > 1 else None
    low = high = None
    if mean is not None and len(means) > 1:
        reach = float(stats.sem(means) * stats.t.ppf((1 + CONFIDENCE) / 2, len(means) - 1))
        low, high = max(mean - reach, LOWEST), min(mean + reach, HIGHEST)
    return Score(question, method, len(means), len(known), mean, deviation, low, high)


def _compare(question: str, first: str, second: str, differences: Ratings) -> Comparison:
    means = _viewer_means(differences)
    difference = float(means.mean()) if len(means) else None
    found = Comparison(question, first, second, len(means), difference, None)
    moved = means[means != 0]
    if len(moved) < MIN_VIEWERS:
        why = f"no test: it takes {MIN_VIEWERS} viewers who rate them differently, found {len(moved)}"
        return replace(found, why=why)
    return replace(found, p=_signed_rank(moved))


def _signed_rank(differences: Ratings) -> float:
    """Compute Wilcoxon's two-sided p-value, exact for few viewers in spite of the many ties among ratings."""
    from scipy import stats

    if len(differences) > MAX_EXACT:
        return float(stats.wilcoxon(differences).pvalue)
    ranks = stats.rankdata(np.abs(differences))

    def rank_sum(signed: Ratings, axis: int) -> Ratings:
        return np.asarray((np.sign(signed) * ranks).sum(axis=axis))

    # All 2^n choices of signs are tried; scipy's wilcoxon does the same where there are ties, thirty times as slowly.
    return float(
        stats.permutation_test((differences,), rank_sum, permutation_type="samples", n_resamples=np.inf).pvalue
    )


def _holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Apply Holm's step-down correction: p-values in rising order, each times the number of those not smaller.

    A corrected value is never below the one before it.
    """
    tested = sorted((c for c in comparisons if c.p is not None), key=lambda c: c.p or 0.0)
    corrected: dict[Comparison, float] = {}
    highest = 0.0
    for rank, comparison in enumerate(tested):
        highest = max(highest, min(1.0, (comparison.p or 0.0) * (len(tested) - rank)))
        corrected[comparison] = highest
    return [replace(comparison, holm=corrected.get(comparison)) for comparison in comparisons]
