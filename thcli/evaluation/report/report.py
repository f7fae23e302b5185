"""The report as a whole: computed, as data, and as files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thcli import __version__
from thcli.checkpoints import write_atomic
from thcli.evaluation.report import check_suffix
from thcli.evaluation.report.job import Job
from thcli.evaluation.report.quality import Quality, qualities, warnings
from thcli.evaluation.report.seen import Seen, look_back
from thcli.inspection.advice import AXES, Advice
from thcli.records import FPS, Float

FORMAT = 1
"""Of the JSON; a number that grows when keys change their meaning."""


@dataclass(frozen=True)
class Report:
    """What is to be said of a finished job."""

    job: Job
    seen: Seen
    figures: list[Quality]
    warnings: list[Advice]

    def data(self) -> dict[str, Any]:
        """All of it but the video and its pictures, as JSON has it: numbers, None where there is none."""
        job = self.job
        return {
            "format": FORMAT,
            "thgen": __version__,
            "synthetic": True,
            "video": job.video.name,
            "warnings": [{"key": advice.key, "text": advice.text} for advice in self.warnings],
            "figures": {figure.kind.name: _figure(figure) for figure in self.figures},
            "reference": {
                "seconds": job.look.seconds,
                "frames_used": len(job.references),
                "face_height": round(job.look.face_height),
                "range_degrees": {axis: _range(values) for axis, values in zip(AXES, job.look.rotation.T, strict=True)},
            },
            "sound": {
                "seconds": round(job.sound.seconds, 3),
                "speaking": round(float(job.sound.activity.mean()), 3),
                "level_dbfs": _number(job.sound.level, 1),
                "noise_dbfs": _number(job.sound.noise, 1),
                "clipped": round(job.sound.clipped, 6),
            },
            "fps": FPS,
            "curves": self.curves(),
            "made": job.record,
        }

    def summary(self) -> dict[str, Any]:
        """Values of the figures and keys of the warnings, for the video's sidecar."""
        return {
            "figures": {figure.kind.name: _number(figure.figure.value, 4) for figure in self.figures},
            "warnings": [advice.key for advice in self.warnings],
        }

    def curves(self) -> dict[str, list[float | None]]:
        """By name, a value a frame: degrees, openings as in ``Seen``, dBFS, share of the frame that is speech."""
        seen, sound = self.seen, self.job.sound
        turned = np.degrees(seen.pose[:, : len(AXES)])
        curves = {axis: _curve(turned[:, i], 2) for i, axis in enumerate(AXES)}
        return curves | {
            "mouth": _curve(seen.mouth, 4),
            "mouth_asked": _curve(self.job.asked, 4),
            "eyes": _curve(seen.eyes, 4),
            "loudness": _curve(sound.loudness, 1),
            "speech": _curve(sound.activity, 2),
        }


def make_report(job: Job, advance: Callable[[int], None] = lambda frames: None) -> Report:
    """Look at what came out; ``advance`` is told of frames done. Raises MediaError, WeightsError."""
    seen = look_back(job, advance)
    figures = qualities(job, seen)
    return Report(job, seen, figures, warnings(job, figures))


def write_report(path: Path, report: Report) -> None:
    """As one page, or as data, by the name's end; beside the target, then renamed."""
    check_suffix(path)
    if path.suffix.lower() == ".json":
        text = json.dumps(report.data(), ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(path, text.encode())
        return
    from thcli.evaluation.report.page import render

    write_atomic(path, render(report).encode())


def _figure(quality: Quality) -> dict[str, Any]:
    kind, figure, normal = quality.kind, quality.figure, quality.normal
    return {
        "title": kind.title,
        "value": _number(figure.value, 4),
        "unit": kind.unit,
        "normal": {"low": _number(normal.low, 4), "high": _number(normal.high, 4), "source": normal.source},
        "reference": _number(quality.reference, 4),
        "verdict": quality.verdict,
        "meaning": kind.meaning,
        "model": figure.model,
        "why": figure.why,
    }


def _number(value: float | None, digits: int) -> float | None:
    return None if value is None or not math.isfinite(value) else round(float(value), digits)


def _curve(values: Float, digits: int) -> list[float | None]:
    return [_number(value, digits) for value in values.tolist()]


def _range(values: Float) -> list[float]:
    return [round(float(values.min()), 2), round(float(values.max()), 2)]
