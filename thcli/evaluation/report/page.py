"""Report as one self-contained HTML page, made from the template ``page.html``."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Sequence
from html import escape
from importlib import resources
from string import Template
from typing import Any

import numpy as np

from thcli.evaluation.report.data import Report
from thcli.evaluation.report.plots import Line, Panel, draw
from thcli.evaluation.report.quality import Kind, Quality
from thcli.inspection.advice import AXES
from thcli.records import FPS, Image
from thcli.version import __version__

LARGEST_VIDEO = 100 << 20
"""Most bytes of a video that is put into the page."""
TILE, JPEG_QUALITY = 256, 82
"""Longer side in px of the frames shown in the page, and the quality of their JPEG."""
TURNS = {"nod": "down", "turn": "to the left of the picture", "tilt": "top to the left"}
"""Direction of positive values, by axis."""
VERDICTS = {"ok": "✓ normal", "note": "▲ look", "none": "not computed"}
"""Text of ``Quality.verdict``."""


def render(report: Report) -> str:
    """Return the page as HTML text."""
    data, job = report.data(), report.job
    template = Template(resources.files(__package__).joinpath("page.html").read_text(encoding="utf-8"))
    curves = {"fps": FPS, "curves": data["curves"]}
    made, name = job.record, job.video.name
    page = template.substitute(
        title=escape(name),
        version=escape(__version__),
        subtitle=escape(_subtitle(report)),
        warnings=_warnings(report),
        video=_video(report),
        sheet=_sheet(report.measured.pictures),
        panels=_panels(report, data["curves"]),
        figures="".join(_figure(quality) for quality in report.figures),
        details=_details(made),
        data=json.dumps(curves, separators=(",", ":")).replace("<", "\\u003c"),
        script_hash="",
    )
    return _allow_script(page)


def _allow_script(page: str) -> str:
    """Put the hash of the page's script into its content security policy, which lets no other script run."""
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)
    assert script is not None
    digest = base64.b64encode(hashlib.sha256(script[1].encode()).digest()).decode()
    return page.replace("'sha256-'", f"'sha256-{digest}'", 1)


def _subtitle(report: Report) -> str:
    job = report.job
    inputs = job.record["inputs"]
    person = "video" if "video" in inputs else "ref"
    who, what = (inputs[key]["path"].rsplit("/", 1)[-1] for key in (person, "audio"))
    width, height = job.record["size"]
    return f"{who} says {what}: {len(job.asked) / FPS:.1f} s, {width}×{height}, made by thgen {__version__}"


def _warnings(report: Report) -> str:
    if not report.warnings:
        return '<p class="fine">Nothing about the reference, the motion or the sound calls for a warning.</p>'
    items = "".join(f"<li>{escape(advice.text[0].upper() + advice.text[1:])}.</li>" for advice in report.warnings)
    return f'<section class="warnings"><h2>Warnings</h2><ul>{items}</ul></section>'


def _video(report: Report) -> str:
    path = report.job.video
    size = path.stat().st_size
    if size > LARGEST_VIDEO:
        return f'<p class="absent">The video, {size / 1e6:.0f} MB, is too large for this page: {escape(path.name)}</p>'
    source = base64.b64encode(path.read_bytes()).decode()
    return f'<video controls playsinline preload="auto" src="data:video/mp4;base64,{source}"></video>'


def _sheet(images: Sequence[tuple[float, Image]]) -> str:
    """Return one JPEG of all frames, and a button for each frame, which shows its part and seeks to its time."""
    from PIL import Image as Pillow

    height, width = images[0][1].shape[:2]
    scale = min(1.0, TILE / max(width, height))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    tiles = [np.asarray(Pillow.fromarray(image).resize(size)) for _, image in images]
    buffer = io.BytesIO()
    Pillow.fromarray(np.concatenate(tiles, axis=1)).save(buffer, "JPEG", quality=JPEG_QUALITY)
    source = base64.b64encode(buffer.getvalue()).decode()
    whole = f'width="{size[0] * len(tiles)}" height="{size[1]}"'
    defined = f'<svg class="hidden"><image id="frames" {whole} href="data:image/jpeg;base64,{source}"/></svg>'
    return defined + "".join(
        f'<button type="button" data-time="{time:.2f}"><svg viewBox="{i * size[0]} 0 {size[0]} {size[1]}" role="img" '
        f'aria-label="frame at {time:.2f} s"><use href="#frames"/></svg>{time:.2f} s</button>'
        for i, (time, _) in enumerate(images)
    )


def _panels(report: Report, curves: dict[str, list[float | None]]) -> str:
    clip_stats = report.job.clip_stats
    ranges = [(float(values.min()), float(values.max())) for values in clip_stats.rotation.T]
    panels = [
        Panel(f"Head {axis}", f"degrees, positive {TURNS[axis]}", [Line(axis, "video", "a")], 1, 6.0, band)
        for axis, band in zip(AXES, ranges, strict=True)
    ]
    openings = [Line("mouth", "seen in the video", "a"), Line("mouth_asked", "asked for", "b")]
    panels += [
        Panel("Mouth opening", "of the distance of the eyes", openings, 2, 0.1),
        Panel("Eye opening", "of the eyes’ width", [Line("eyes", "video", "a")], 2, 0.1),
        Panel(
            "Sound", "loudness, dBFS", [Line("loudness", "loudness", "a")], 1, 20.0, fill=Line("speech", "speech", "c")
        ),
    ]
    return "".join(draw(panel, curves, last=panel is panels[-1]) for panel in panels)


def _figure(quality: Quality) -> str:
    kind, figure, normal = quality.kind, quality.figure, quality.normal
    value = "–" if figure.value is None else _shown(figure.value, kind)
    own = "" if quality.reference is None else f"<br><small>reference {_shown(quality.reference, kind)}</small>"
    remark = {"ok": "", "note": kind.remedy, "none": figure.why}[quality.verdict]
    said = f'<span class="remark">{escape(remark)}</span>' if remark else ""
    model = f'<span class="model">{escape(figure.model)}</span>' if figure.model else ""
    return (
        f'<tr class="{quality.verdict}"><th scope="row">{escape(kind.title)}</th>'
        f'<td class="value">{value}{own}</td>'
        f"<td>{_range(normal.low, normal.high, kind)}<br><small>{escape(normal.source)}</small></td>"
        f'<td class="verdict">{VERDICTS[quality.verdict]}</td><td>{escape(kind.meaning)}{said}{model}</td></tr>'
    )


def _shown(value: float, kind: Kind) -> str:
    return _number(value, kind) + _unit(kind)


def _number(value: float, kind: Kind) -> str:
    return f"{value * (100 if kind.unit == 'share' else 1):.{kind.digits}f}".replace("-", "−")


def _unit(kind: Kind) -> str:
    if kind.unit == "°":
        return kind.unit
    return f" {'%' if kind.unit == 'share' else escape(kind.unit)}".rstrip()


def _range(low: float | None, high: float | None, kind: Kind) -> str:
    if low is None or high is None:
        word, end = ("at least", low) if high is None else ("at most", high)
        return "" if end is None else f"{word} {_shown(end, kind)}"
    return f"{_number(low, kind)} to {_shown(high, kind)}"


def _details(record: Any) -> str:
    """Return nested mappings as nested HTML description lists."""
    if isinstance(record, dict):
        rows = "".join(f"<dt>{escape(str(key))}</dt><dd>{_details(value)}</dd>" for key, value in record.items())
        return f"<dl>{rows}</dl>"
    if isinstance(record, (list, tuple)):
        return escape(" × ".join(str(value) for value in record))
    if record is None:
        return "–"
    return ("yes" if record else "no") if isinstance(record, bool) else escape(str(record))
