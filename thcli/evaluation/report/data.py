"""Report of a finished video as data."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from thcli.evaluation.report.job import FinishedVideo
from thcli.evaluation.report.measured import MeasuredVideo
from thcli.evaluation.report.quality import Quality
from thcli.inspection.advice import AXES, Advice
from thcli.records import FPS, Float
from thcli.version import __version__

FORMAT = 1
"""Version of the JSON format; it grows when keys change their meaning."""


@dataclass(frozen=True)
class Report:
    """Report of a finished job.

    figures: measured figures beside their normal ranges
    warnings: the job's notes, and problems of reference, motion and speech, with remedies
    """

    job: FinishedVideo
    measured: MeasuredVideo
    figures: list[Quality]
    warnings: list[Advice]

    def data(self) -> dict[str, Any]:
        """Return the report without the video and its frames, as JSON values; a missing number is None."""
        job = self.job
        return {
            "format": FORMAT,
            "thgen": __version__,
            "synthetic": True,
            "video": job.video.name,
            "warnings": [{"key": advice.key, "text": advice.text} for advice in self.warnings],
            "figures": {figure.kind.name: _figure(figure) for figure in self.figures},
            "reference": {
                "seconds": job.clip_stats.seconds,
                "frames_used": len(job.references),
                "face_height": round(job.clip_stats.face_height),
                "range_degrees": {
                    axis: _range(values) for axis, values in zip(AXES, job.clip_stats.rotation.T, strict=True)
                },
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
        """Return the values of the figures and the keys of the warnings, for the video's sidecar."""
        return {
            "figures": {figure.kind.name: _number(figure.figure.value, 4) for figure in self.figures},
            "warnings": [advice.key for advice in self.warnings],
        }

    def curves(self) -> dict[str, list[float | None]]:
        """Return curves by name, one value per frame.

        nod, turn, tilt: head rotation, degrees
        mouth, mouth_asked, eyes: openings, as in ``MeasuredVideo`` and ``FinishedVideo``
        loudness: dBFS
        speech: share of the frame that is speech, 0..1
        """
        measured, speech = self.measured, self.job.sound
        turned = np.degrees(measured.pose[:, : len(AXES)])
        curves = {axis: _curve(turned[:, i], 2) for i, axis in enumerate(AXES)}
        return curves | {
            "mouth": _curve(measured.mouth, 4),
            "mouth_asked": _curve(self.job.asked, 4),
            "eyes": _curve(measured.eyes, 4),
            "loudness": _curve(speech.loudness, 1),
            "speech": _curve(speech.activity, 2),
        }


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
