"""What a report is made from: a finished job."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from thcli.clips.features import speech_activity
from thcli.evaluation.recording import Recording
from thcli.face_model import FaceModel, eye_opening, mouth_opening
from thcli.faces.crop import CropBox
from thcli.faces.track import outside_share
from thcli.inspection.advice import Look, Sound
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, FaceTrack, Float, Speech

SILENT = -90.0
"""dBFS, the floor of loudness."""
MIN_SPEECH, MIN_REST = 0.5, 0.05
"""Share of a frame that makes it speech; share of the frames without speech from which their level is known."""


@dataclass(frozen=True)
class Job:
    """A finished job: what came out, and what it was made from.

    video: the finished MP4; box: where the face's crop lies in its frames
    model: the face model that poses and expressions are measured with
    track: the reference's, in pixels of its crop; look: what it shows; references: the frames the picture is made of
    speech, sound: what is said; asked: [T] mouth opening that was asked for, over the distance of the eye corners
    record: how the video was made, as its sidecar says
    """

    video: Path
    box: CropBox
    model: FaceModel
    track: FaceTrack
    look: Look
    references: Recording
    speech: Speech
    sound: Sound
    asked: Float
    record: Mapping[str, Any]


def look_at(track: FaceTrack, box: CropBox, size: tuple[int, int]) -> Look:
    """What a reference shows: a track in pixels of the crop at ``box`` of frames of (width, height) px."""
    return Look(
        seconds=len(track) / FPS if len(track) > 1 else 0.0,
        tracked=float((track.confidence > 0).mean()),
        face_height=float(np.median(track.box[:, 3] - track.box[:, 1])) * box.side / CROP_SIZE,
        outside=float(np.median(outside_share(box.to_frame(track.mesh), size))),
        rotation=np.degrees(track.pose[:, :3]),
        mouth=mouth_opening(track.mesh).astype(np.float32),
        eyes=eye_opening(track.mesh).astype(np.float32),
    )


def listen_to(speech: Speech, clipped: float) -> Sound:
    """What a recording is like; ``clipped`` is counted in the file itself (``thcli.clips.audio.clipped_share``)."""
    activity = speech_activity(speech)
    padded = np.pad(speech.samples, (0, speech.n_frames * SAMPLES_PER_FRAME - len(speech.samples)))
    power = np.square(padded.reshape(-1, SAMPLES_PER_FRAME)).mean(axis=1)
    spoken, rest = activity >= MIN_SPEECH, activity == 0
    return Sound(
        seconds=speech.seconds,
        clipped=clipped,
        loudness=_decibels(power).astype(np.float32),
        activity=activity,
        level=float(_decibels(power[spoken].mean())) if spoken.any() else None,
        noise=float(_decibels(power[rest].mean())) if rest.mean() >= MIN_REST else None,
        pause=_longest(~spoken),
    )


def _decibels(power: Float) -> Float:
    return 10 * np.log10(np.maximum(power, 10 ** (SILENT / 10)))


def _longest(quiet: np.ndarray) -> tuple[float, float]:
    """Begin and end, seconds, of the longest run of frames for which ``quiet`` [T] holds."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], quiet, [False]]).astype(np.int8)))
    if not len(edges):
        return 0.0, 0.0
    begins, ends = edges[::2], edges[1::2]
    longest = int((ends - begins).argmax())
    return float(begins[longest] / FPS), float(ends[longest] / FPS)
