"""Record of a finished job, from which a report is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from thcli.evaluation.recording import Recording
from thcli.face_model import FaceModel
from thcli.inspection.advice import ClipStats, SpeechStats
from thcli.records import CropBox, FaceTrack, Float, Speech


@dataclass(frozen=True)
class FinishedVideo:
    """A finished video, and what it was made from.

    video: the finished MP4
    box: crop of the face in the video's frames
    model: face model with which poses and expressions are measured
    track: face of the reference, in px of its crop
    clip_stats: measurements of the reference
    references: reference frames that the image is made of
    speech: audio of the video
    sound: measurements of the audio
    asked: [T] mouth opening that was asked for, over the distance of the outer eye corners
    record: how the video was made, as in its sidecar
    """

    video: Path
    box: CropBox
    model: FaceModel
    track: FaceTrack
    clip_stats: ClipStats
    references: Recording
    speech: Speech
    sound: SpeechStats
    asked: Float
    record: Mapping[str, Any]
