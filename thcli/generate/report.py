"""From a finished job to its report (``--report``): what the stages know, as ``thcli.evaluation.report`` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from thcli.clips.audio import clipped_share
from thcli.evaluation.recording import Recording
from thcli.evaluation.report.job import Job, listen_to, look_at
from thcli.evaluation.report.report import make_report, write_report
from thcli.face_model import mouth_opening
from thcli.faces.crop import CropBox, crop_frames
from thcli.generate.sidecar import rewrite_sidecar
from thcli.pipeline.options import Progress
from thcli.pipeline.target import Driven
from thcli.records import Float, Speech

CHUNK = 500


def report_on(
    video: Path,
    path: Path,
    driven: Driven,
    speech: Speech,
    sound: Path,
    record: dict[str, Any],
    progress: Progress,
) -> tuple[str, ...]:
    """Write the report of a finished video, and its figures into the video's sidecar; returns its warnings.

    driven: whom the video shows, and how it was to move; sound: the file of the speech; record: the sidecar's
    """
    person = driven.person
    whole = CropBox(0, 0, record["size"][0])
    job = Job(
        video=video,
        box=person.box if record["options"]["frame"] == "full" else whole,
        model=person.model,
        track=person.track,
        look=look_at(person.track, person.box, person.frame_size),
        references=Recording(
            "reference",
            crop_frames(person.frames, person.box),
            person.track.select(person.chosen),
            None,
        ),
        speech=speech,
        sound=listen_to(speech, clipped_share(sound)),
        asked=asked_opening(driven),
        record=record,
    )
    report = make_report(job, progress.advance)
    write_report(path, report)
    rewrite_sidecar(video, {**record, "report": {"path": str(path), **report.summary()}})
    return tuple(warning.text for warning in report.warnings)


def asked_opening(driven: Driven) -> Float:
    """The mouth's opening [T] that a drive asks for, over the distance of the outer eye corners."""
    frames = len(driven.pose)
    parts = [mouth_opening(driven.faces(slice(first, first + CHUNK))) for first in range(0, frames, CHUNK)]
    return np.concatenate(parts).astype(np.float32)
