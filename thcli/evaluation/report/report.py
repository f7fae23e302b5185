"""Making of a report, and writing it as a page or as data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from thcli.checkpoints import write_atomic
from thcli.evaluation.report import check_suffix
from thcli.evaluation.report.data import Report
from thcli.evaluation.report.job import FinishedVideo
from thcli.evaluation.report.measured import measure_video
from thcli.evaluation.report.page import render
from thcli.evaluation.report.quality import qualities, warnings
from thcli.inspection.advice import Advice


def make_report(job: FinishedVideo, advance: Callable[[int], None] = lambda frames: None) -> Report:
    """Measure a finished video, and compare it with what is normal.

    advance: called with the number of frames done since its last call

    Raises MediaError, WeightsError.
    """
    measured = measure_video(job, advance)
    figures = qualities(job, measured)
    notes = [Advice("note", text) for text in job.record.get("notes", [])]
    return Report(job, measured, figures, notes + warnings(job, figures))


def write_report(path: Path, report: Report) -> None:
    """Write a report as a page or as data, by the suffix of its path; the file is written beside it and renamed.

    Raises UsageError for another suffix.
    """
    check_suffix(path)
    if path.suffix.lower() == ".json":
        text = json.dumps(report.data(), ensure_ascii=False, allow_nan=False) + "\n"
        write_atomic(path, text.encode())
        return
    write_atomic(path, render(report).encode())
