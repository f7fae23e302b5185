"""Plots as inline SVG that stretches with the page; scales and legends are HTML, so that text keeps its size."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import numpy as np

from thcli.records import FPS

WIDTH, HEIGHT = 1000, 100
"""Size of a plot in the SVG's own coordinates, which the page stretches."""
POINTS = 1000
"""Most bins along a curve; each is drawn from its least to its largest value, so that no blink is lost."""
MARGIN = 0.06
"""Margin above and below the curves, over the span of the scale."""

Curve = Sequence[float | None]
"""Values of a curve, one per frame; None where there is none."""


@dataclass(frozen=True)
class Line:
    """One curve of a plot.

    key: key of the curve in the report's data
    label: text in the legend
    style: CSS class
    """

    key: str
    label: str
    style: str


@dataclass(frozen=True)
class Panel:
    """One plot.

    title, unit: text of the caption
    lines: curves that are drawn
    digits: decimals of the values that are read out at the cursor
    least: least span of the scale
    band: (low, high) of the range that is marked as the reference's
    fill: curve in 0..1 that is shaded behind the others
    """

    title: str
    unit: str
    lines: Sequence[Line]
    digits: int
    least: float
    band: tuple[float, float] | None = None
    fill: Line | None = None


def draw(panel: Panel, curves: dict[str, list[float | None]], last: bool) -> str:
    """Return a panel as HTML.

    curves: values by ``Line.key``
    last: whether it is the last panel, which has the labels of the time axis
    """
    low, high = _scale(panel, curves)
    frames = len(curves[panel.lines[0].key])
    across, up = _ticks(0, frames / FPS, 8), _ticks(low, high, 4)

    def y(value: float) -> float:
        return HEIGHT * (high - value) / (high - low)

    parts = []
    if panel.fill is not None:
        parts.append(f'<path class="fill {panel.fill.style}" d="{_area(curves[panel.fill.key])}"/>')
    if panel.band is not None:
        top, bottom = y(panel.band[1]), y(panel.band[0])
        parts.append(f'<rect class="band" x="0" width="{WIDTH}" y="{top:.2f}" height="{max(bottom - top, 3):.2f}"/>')
    grid = "".join(f"M0 {y(value):.2f}H{WIDTH}" for value in up)
    grid += "".join(f"M{WIDTH * FPS * value / frames:.2f} 0V{HEIGHT}" for value in across)
    parts.append(f'<path class="grid" d="{grid}"/>')
    for line in panel.lines:
        parts.append(f'<path class="curve {line.style}" d="{_path(curves[line.key], y)}"/>')
    scale = "".join(f'<span style="top:{y(value):.2f}%">{_label(value, up)}</span>' for value in up)
    times = "".join(
        f'<span style="left:{100 * FPS * value / frames:.2f}%">{_label(value, across)} s</span>' for value in across
    )
    summary = escape(f"{panel.title} over time, {panel.unit}")
    return (
        f'<figure class="panel"><figcaption><b>{escape(panel.title)}</b> <small>{escape(panel.unit)}</small>'
        f'<span class="legend">{_legend(panel)}</span></figcaption>'
        f'<div class="plot"><div class="scale">{scale}</div><div class="area">'
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{summary}">'
        f'{"".join(parts)}</svg><i class="cursor"></i>{f"<div class=times>{times}</div>" if last else ""}'
        "</div></div></figure>"
    )


def _legend(panel: Panel) -> str:
    lines = [*panel.lines, *([panel.fill] if panel.fill else [])]
    items = [
        f'<span class="{line.style}"><i></i>{escape(line.label)} '
        f'<output data-curve="{line.key}" data-digits="{panel.digits}"></output></span>'
        for line in lines
    ]
    if panel.band is not None:
        items.append('<span class="range"><i></i>reference</span>')
    return "".join(items)


def _scale(panel: Panel, curves: dict[str, list[float | None]]) -> tuple[float, float]:
    """Return the least and largest value of a panel's scale."""
    values = [value for line in panel.lines for value in curves[line.key] if value is not None]
    values += list(panel.band or ())
    low, high = (min(values), max(values)) if values else (0.0, 1.0)
    short = max(panel.least - (high - low), 0) / 2
    margin = MARGIN * max(high - low, panel.least)
    return low - short - margin, high + short + margin


def _ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most ``most`` round numbers between two values."""
    step = 10.0 ** math.floor(math.log10((high - low) / most))
    step *= next(factor for factor in (1, 2, 5, 10, 20) if (high - low) / (step * factor) <= most)
    return [step * n for n in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _label(value: float, ticks: Sequence[float]) -> str:
    step = ticks[1] - ticks[0] if len(ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return f"{value + 0.0:.{digits}f}".replace("-", "−")


def _path(curve: Curve, y: Callable[[float], float]) -> str:
    """Return a curve as an SVG path with gaps where there is no value."""
    parts, drawing = [], False
    for x, value in _thinned(curve):
        if math.isnan(value):
            drawing = False
            continue
        parts.append(f"{'L' if drawing else 'M'}{x:.1f} {y(value):.1f}")
        drawing = True
    return "".join(parts)


def _area(curve: Curve) -> str:
    """Return the area below a curve in 0..1 as an SVG path."""
    points = "".join(f"L{x:.1f} {HEIGHT * (1 - value):.1f}" for x, value in _thinned(curve))
    return f"M0 {HEIGHT}{points}L{WIDTH} {HEIGHT}Z"


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """Return points (x, value) of a curve, x at the middle of a frame; bins of a long one give two points each.

    The two points have the least and the largest value of the bin.
    """
    values = np.array([math.nan if value is None else value for value in curve])
    x = WIDTH * (np.arange(len(values)) + 0.5) / len(values)
    if len(values) <= 2 * POINTS:
        return list(zip(x.tolist(), values.tolist(), strict=True))
    points = []
    for part in np.array_split(np.arange(len(values)), POINTS):
        known = values[part][np.isfinite(values[part])]
        both = (float(known.min()), float(known.max())) if len(known) else (math.nan, math.nan)
        points += [(float(x[part[0]]), both[0]), (float(x[part[-1]]), both[1])]
    return points
