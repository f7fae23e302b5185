"""Report on a finished video (``--report``), made by ``thcli.evaluation.report`` from the results of the stages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thcli.cropping import crop_frames
from thcli.evaluation.recording import Recording
from thcli.evaluation.report.job import FinishedVideo
from thcli.evaluation.report.report import make_report, write_report
from thcli.face_model import mouth_opening
from thcli.generation.sidecar import rewrite_sidecar
from thcli.inspection.measure import measure_clip, measure_speech
from thcli.pipeline.progress import Progress
from thcli.pipeline.target import DrivenTarget
from thcli.records import CropBox, Float, Speech

CHUNK = 500
"""Frames whose meshes are in memory at a time."""


def report_on(
    video: Path,
    path: Path,
    target: DrivenTarget,
    speech: Speech,
    clipped: float,
    record: dict[str, Any],
    progress: Progress,
) -> tuple[str, ...]:
    """Write the report of a finished video and add its figures to the video's sidecar; return its warnings.

    video: file of the video
    path: file to write the report to
    target: person and motion of the video
    clipped: share of the speech file's samples at full scale
    record: content of the sidecar
    """
    person = target.person
    whole = CropBox(0, 0, record["size"][0])
    job = FinishedVideo(
        video=video,
        box=person.box if person.paste_back else whole,
        model=target.model,
        track=person.track,
        clip_stats=measure_clip(person.track, person.box, person.frame_size),
        references=Recording(
            "reference",
            crop_frames(person.reference_frames, person.box),
            person.track.select(person.reference_indices),
            None,
        ),
        speech=speech,
        sound=measure_speech(speech, clipped),
        asked=asked_opening(target),
        record=record,
    )
    return write_report_of(job, path, progress)


def write_report_of(job: FinishedVideo, path: Path, progress: Progress) -> tuple[str, ...]:
    """Write the report of a finished video and add its figures to the video's sidecar; return its warnings."""
    report = make_report(job, progress.advance)
    write_report(path, report)
    rewrite_sidecar(job.video, {**job.record, "report": {"path": str(path), **report.summary()}})
    return tuple(warning.text for warning in report.warnings)


def asked_opening(target: DrivenTarget) -> Float:
    """Compute the mouth opening [T] of the motion curves, as a share of the distance of the outer eye corners."""
    frames = len(target.pose)
    parts = [mouth_opening(target.unposed_meshes(slice(first, first + CHUNK))) for first in range(0, frames, CHUNK)]
    return np.concatenate(parts).astype(np.float32)
