"""Rows of figures: their means over clips, and their form as a table, Markdown, CSV and JSON Lines."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from statistics import fmean, stdev
from typing import Any

from thcli.evaluation.metric import Figure, Metric, not_computed

MEAN = "mean"
"""``Row.clip`` of a row that averages over clips."""
ARROWS = {"higher": "↑", "lower": "↓", "real": "≈"}
"""Sign in a column's heading, by ``Metric.better``."""
LEGEND = "↑ higher is better; ↓ lower is better; ≈ best where it comes near the real video's"
EMPTY = "–"
"""Text of a cell without a figure."""
MAX_DECIMALS = 6
"""Most decimals of a figure in a table."""
FEW = 3
"""Most reasons given for a missing figure."""


@dataclass(frozen=True)
class Row:
    """Figures of one method on one clip, or on average.

    clip: name of the clip; ``MEAN`` for an average
    figures: figures by the metric's name
    notes: sentences on what was done to make the videos comparable, or on what a mean leaves out
    spread: standard deviation from clip to clip by the metric's name, for means over at least two clips
    """

    method: str
    clip: str
    figures: Mapping[str, Figure]
    notes: tuple[str, ...] = ()
    spread: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Sheet:
    """A table as it is printed.

    headings: title of each column; the first column names the rows, and each other column is a metric
    cells: texts of each row
    remarks: sentences under the table: what was not computed and why, and how to read the table
    """

    headings: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    remarks: tuple[str, ...]


def mean_rows(
    rows: Sequence[Row], metrics: Sequence[Metric], pooled: Mapping[str, Mapping[str, Figure]] | None = None
) -> list[Row]:
    """Return one row per method, in order of appearance: means over clips, or pooled figures over all clips.

    pooled: figures of pooled metrics by method and metric (``compare.pool``)
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    return [
        _mean([row for row in rows if row.method == method], metrics, (pooled or {}).get(method, {}))
        for method in methods
    ]


def _mean(rows: Sequence[Row], metrics: Sequence[Metric], pooled: Mapping[str, Figure]) -> Row:
    figures: dict[str, Figure] = {}
    spread: dict[str, float] = {}
    notes: list[str] = []
    for metric in metrics:
        own = [row.figures[metric.name] for row in rows if metric.name in row.figures]
        known = [figure for figure in own if figure.value is not None]
        values = [figure.value for figure in known if figure.value is not None]
        if metric.name in pooled:
            model = next((figure.model for figure in (pooled[metric.name], *known) if figure.model), "")
            figures[metric.name] = replace(pooled[metric.name], model=model)
        elif metric.pooled is not None and len(values) > 1:
            figures[metric.name] = not_computed("is computed over all clips at once")
        elif not known:
            figures[metric.name] = not_computed(_reasons(own))
        else:
            figures[metric.name] = Figure(fmean(values), sum(f.count for f in known), known[0].model)
            if len(values) > 1:
                spread[metric.name] = stdev(values)
        if 0 < len(known) < len(rows):
            notes.append(f"{metric.title} of {len(known)} of {len(rows)} clips")
    return Row(rows[0].method, MEAN, figures, tuple(notes), spread)


def _reasons(figures: Sequence[Figure]) -> str:
    reasons = list(dict.fromkeys(figure.why for figure in figures if figure.why)) or ["was not measured"]
    more = f"; and {len(reasons) - FEW} more" if len(reasons) > FEW else ""
    return "; ".join(reasons[:FEW]) + more


def sheet(rows: Sequence[Row], metrics: Sequence[Metric], heading: str = "") -> Sheet:
    """Return rows as a printed table; a metric without any figure becomes a remark instead of a column.

    heading: heading of the first column, which names the rows; by default it follows from their clips
    """
    shown = [metric for metric in metrics if any(_figure(row, metric).value is not None for row in rows)]
    clips = {row.clip for row in rows}
    names = [row.method if len(clips) < 2 else f"{row.clip}, {row.method}" for row in rows]
    columns = [_column(rows, metric) for metric in shown]
    cells = tuple((name, *values) for name, *values in zip(names, *columns, strict=True))
    headings = (
        heading or ("clip, method" if len(clips) > 1 else "".join(clips)),
        *(f"{metric.title} {ARROWS[metric.better]}" for metric in shown),
    )
    return Sheet(headings, cells, tuple(_remarks(rows, names, metrics, shown)))


def _figure(row: Row, metric: Metric) -> Figure:
    return row.figures.get(metric.name) or not_computed("was not measured")


def _column(rows: Sequence[Row], metric: Metric) -> list[str]:
    """Return one text per row, all with as many decimals as the largest value needs for three to four digits."""
    values = [_figure(row, metric).value for row in rows]
    largest = max((abs(value) for value in values if value is not None), default=0.0)
    magnitude = math.floor(math.log10(largest)) if largest > 0 else 0
    decimals = min(max(0, 3 - magnitude if magnitude >= 0 else 2 - magnitude), MAX_DECIMALS)
    return [_text(row, metric, decimals) for row in rows]


def _text(row: Row, metric: Metric, decimals: int) -> str:
    value = _figure(row, metric).value
    if value is None:
        return EMPTY
    # Adding zero turns the negative zero of a rounded value into zero.
    text = f"{round(value, decimals) + 0.0:.{decimals}f}"
    return f"{text} ± {row.spread[metric.name]:.{decimals}f}" if metric.name in row.spread else text


def _remarks(
    rows: Sequence[Row], names: Sequence[str], metrics: Sequence[Metric], shown: Sequence[Metric]
) -> list[str]:
    """Return remarks on missing figures, each reason once, on rows and spread, and the legend."""
    missing: dict[tuple[str, str], list[str]] = {}
    for metric in metrics:
        if metric not in shown:
            key = (_reasons([_figure(row, metric) for row in rows]), "")
            missing.setdefault(key, []).append(metric.title)
            continue
        for row, name in zip(rows, names, strict=True):
            if _figure(row, metric).value is None:
                missing.setdefault((_figure(row, metric).why, f" ({name})"), []).append(metric.title)
    remarks = [f"not computed: {', '.join(titles)}{of}: {why}" for (why, of), titles in missing.items()]
    remarks += [f"{row.method}: {', '.join(row.notes)}" for row in rows if row.clip == MEAN and row.notes]
    if any(row.spread for row in rows):
        remarks.append("±: standard deviation from clip to clip")
    return [*remarks, LEGEND]


def markdown(rows: Sequence[Row], metrics: Sequence[Metric], heading: str = "") -> str:
    """Return the rows as a Markdown table, followed by its remarks as a list."""
    made = sheet(rows, metrics, heading)
    rule = ["---", *("---:" for _ in made.headings[1:])]
    lines = [_markdown_line(cells) for cells in (made.headings, rule, *made.cells)]
    return "\n".join([*lines, "", *(f"- {remark}" for remark in made.remarks), ""])


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def to_csv(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """Return the rows as CSV: clip, method, and one column per metric, empty where it was not computed."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["clip", "method", *(metric.name for metric in metrics)])
    for row in rows:
        values = [_figure(row, metric).value for metric in metrics]
        writer.writerow([row.clip, row.method, *("" if value is None else value for value in values)])
    return text.getvalue()


def to_json_lines(rows: Sequence[Row], metrics: Sequence[Metric]) -> str:
    """Return the rows as JSON Lines: clip, method, figures (value, count, model, why, spread of a mean) and notes."""
    return "".join(json.dumps(_object(row, metrics), ensure_ascii=False, allow_nan=False) + "\n" for row in rows)


def _object(row: Row, metrics: Sequence[Metric]) -> dict[str, Any]:
    figures: dict[str, dict[str, Any]] = {}
    for metric in metrics:
        figures[metric.name] = asdict(_figure(row, metric))
        if metric.name in row.spread:
            figures[metric.name]["spread"] = row.spread[metric.name]
    return {"clip": row.clip, "method": row.method, "figures": figures, "notes": list(row.notes)}
