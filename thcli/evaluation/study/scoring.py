"""What the answers come to: means, spread, and paired tests between methods.

The viewer is the unit of every figure here, since one viewer's ratings are no independent samples: ratings are first
averaged over a viewer's clips, then over viewers. The tests compare two methods by each viewer's mean difference over
the clips which this viewer rated for both (Wilcoxon signed-rank, two-sided), corrected for their number after Holm.
They speak of other viewers of these clips; how far other clips would give the same is not tested.
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
"""Who must rate two methods differently for a test: of fewer, not even all of one mind have p < 0.05 (2 / 2^5)."""
MAX_EXACT = 13
"""Viewers up to which the test is exact whatever the ties; of more, scipy's choice."""
CONFIDENCE = 0.95

Ratings = NDArray[np.float64]


@dataclass(frozen=True)
class Score:
    """One method's ratings in one question, 0 (worst) to 10 (best).

    mean: over viewers of each viewer's mean; the mean of all ratings where everybody rated everything
    deviation: standard deviation of all ratings; None of fewer than two
    low, high: 95 % confidence interval of the mean (Student's t over viewers); None of fewer than two viewers
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
        """The mean scaled to 0..1, as in Fig. 11."""
        return None if self.mean is None else (self.mean - LOWEST) / (HIGHEST - LOWEST)


@dataclass(frozen=True)
class Comparison:
    """Two methods in one question.

    viewers: who rated at least one clip for both
    difference: mean over them of first minus second
    p: two-sided, of the test alone; holm: corrected for all tests of the study; None for the reason in ``why``
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
    """All figures of a study, and what to know of them."""

    title: str
    viewers: int
    clips: int
    scores: tuple[Score, ...]
    comparisons: tuple[Comparison, ...]
    notes: tuple[str, ...] = ()


def score(key: Key, answers: Sequence[Answers], notes: Sequence[str] = ()) -> Result:
    """Figures for every question and method, and a comparison for every question and two methods."""
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
    """[viewers, clips], NaN where there is no answer."""
    names = {video.clip: name for name, video in key.videos.items() if video.method == method}
    rows = [[own.ratings.get((names[clip], question), np.nan) for clip in _clips(key)] for own in answers]
    return np.array(rows, np.float64).reshape(len(answers), -1)


def _viewer_means(values: Ratings) -> Ratings:
    """[viewers with an answer] means over clips."""
    answered = values[np.isfinite(values).any(axis=1)]
    # Rounded, so that equal means of other clips are equal for the test too.
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
    """Wilcoxon's two-sided p, exact for few viewers in spite of ties, which ratings are full of."""
    from scipy import stats

    if len(differences) > MAX_EXACT:
        return float(stats.wilcoxon(differences).pvalue)
    ranks = stats.rankdata(np.abs(differences))

    def rank_sum(signed: Ratings, axis: int) -> Ratings:
        return np.asarray((np.sign(signed) * ranks).sum(axis=axis))

    # All 2^n choices of signs: what scipy's wilcoxon does where there are ties, thirty times as slowly.
    return float(
        stats.permutation_test((differences,), rank_sum, permutation_type="samples", n_resamples=np.inf).pvalue
    )


def _holm(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The step-down correction: p-values in rising order times the number of those not smaller, never falling."""
    tested = sorted((c for c in comparisons if c.p is not None), key=lambda c: c.p or 0.0)
    corrected: dict[Comparison, float] = {}
    highest = 0.0
    for rank, comparison in enumerate(tested):
        highest = max(highest, min(1.0, (comparison.p or 0.0) * (len(tested) - rank)))
        corrected[comparison] = highest
    return [replace(comparison, holm=corrected.get(comparison)) for comparison in comparisons]
