"""Result of a study as tables, Markdown, JSON and CSV."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict

from thcli.evaluation.study.scoring import Comparison, Result, Score
from thcli.evaluation.table import EMPTY, Sheet

_COLUMNS = (
    "question", "method", "versus", "viewers", "ratings", "mean", "normalised", "deviation", "low", "high",
    "difference", "p", "holm",
)  # fmt: skip


def sheets(result: Result) -> tuple[Sheet, Sheet]:
    """Return the means and the tests as printed tables."""
    means = Sheet(
        ("question", "method", "mean", "of 1", "SD", "95 % interval", "viewers", "ratings"),
        tuple(_mean_cells(score) for score in result.scores),
        (
            f"viewers: {result.viewers}; clips: {result.clips}; ratings from 0 (worst) to 10 (best), of 1: scaled to 1",
            "mean: over viewers of each viewer's mean; SD: of all ratings; interval: Student's t over viewers",
        ),
    )
    reasons = [f"{one.question}, {one.first} and {one.second}: {one.why}" for one in result.comparisons if one.why]
    tests = Sheet(
        ("question", "methods", "difference", "p", "p, Holm", "viewers"),
        tuple(_test_cells(comparison) for comparison in result.comparisons),
        (
            *reasons,
            "tests: Wilcoxon signed-rank over viewers, of each one's mean difference over clips; two-sided; "
            "corrected after Holm for all tests here",
        ),
    )
    return means, tests


def markdown(result: Result) -> str:
    """Return both tables as Markdown, each with its remarks as a list, and the notes."""
    parts = [f"# {_escaped(result.title)}"]
    for sheet in sheets(result):
        if sheet.cells:
            lines = [_line(cells) for cells in (sheet.headings, ["---"] * len(sheet.headings), *sheet.cells)]
            parts += ["\n".join(lines), "\n".join(f"- {_escaped(remark)}" for remark in sheet.remarks)]
    parts += ["\n".join(f"- {_escaped(note)}" for note in result.notes)] if result.notes else []
    return "\n\n".join(parts) + "\n"


def to_json(result: Result) -> str:
    """Return the whole result as JSON, unrounded; missing figures are null."""
    content = asdict(result)
    for entry, score in zip(content["scores"], result.scores, strict=True):
        entry["normalised"] = score.normalised
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def to_csv(result: Result) -> str:
    """Return the result as CSV: one line per mean and one per test, which has its second method in ``versus``."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for score in result.scores:
        writer.writerow({**asdict(score), "normalised": score.normalised})
    for one in result.comparisons:
        writer.writerow({**asdict(one), "method": one.first, "versus": one.second})
    return text.getvalue()


def _mean_cells(score: Score) -> tuple[str, ...]:
    interval = EMPTY if score.low is None else f"{score.low:.2f} to {score.high:.2f}"
    figures = (_decimals(value) for value in (score.mean, score.normalised, score.deviation))
    return (score.question, score.method, *figures, interval, str(score.viewers), str(score.ratings))


def _test_cells(one: Comparison) -> tuple[str, ...]:
    difference = EMPTY if one.difference is None else f"{one.difference:+.2f}"
    methods = f"{one.first} − {one.second}"
    return (one.question, methods, difference, _probability(one.p), _probability(one.holm), str(one.viewers))


def _decimals(value: float | None) -> str:
    return EMPTY if value is None else f"{value:.2f}"


def _probability(value: float | None) -> str:
    if value is None:
        return EMPTY
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell) for cell in cells)} |"


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
