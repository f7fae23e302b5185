"""Measurement of a reference and of a recording, for advice, reports and ``thgen inspect``."""

from __future__ import annotations

import numpy as np

from thcli.clips.features import speech_activity
from thcli.face_model import eye_opening, mouth_opening
from thcli.faces.track import outside_share
from thcli.inspection.advice import ClipStats, SpeechStats
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, CropBox, FaceTrack, Float, Speech
from thcli.runs import runs_of

SILENT = -90.0
"""Lowest loudness, dBFS; lower ones are raised to it."""
MIN_SPEECH = 0.5
"""Share of a frame that must be speech for the frame to count as speech."""
MIN_REST = 0.05
"""Share of frames without speech that is needed to measure their level."""


def measure_clip(track: FaceTrack, box: CropBox, size: tuple[int, int]) -> ClipStats:
    """Measure a reference.

    track: track in px of the crop at ``box``
    size: (width, height) of the frames, px
    """
    return ClipStats(
        seconds=len(track) / FPS if len(track) > 1 else 0.0,
        tracked=float((track.confidence > 0).mean()),
        face_height=float(np.median(track.box[:, 3] - track.box[:, 1])) * box.side / CROP_SIZE,
        outside=float(np.median(outside_share(box.to_frame(track.mesh), size))),
        rotation=np.degrees(track.pose[:, :3]),
        mouth=mouth_opening(track.mesh).astype(np.float32),
        eyes=eye_opening(track.mesh).astype(np.float32),
    )


def measure_speech(speech: Speech, clipped: float) -> SpeechStats:
    """Measure a recording.

    clipped: share of clipped samples of the file, from ``thcli.clips.audio.measure_levels``
    """
    activity = speech_activity(speech)
    power = _frame_power(speech.samples)
    spoken, rest = activity >= MIN_SPEECH, activity == 0
    return SpeechStats(
        seconds=speech.seconds,
        clipped=clipped,
        loudness=_decibels(power).astype(np.float32),
        activity=activity,
        level=float(_decibels(power[spoken].mean())) if spoken.any() else None,
        noise=float(_decibels(power[rest].mean())) if rest.mean() >= MIN_REST else None,
        pause=_longest(~spoken),
    )


def _frame_power(samples: Float) -> Float:
    """Return the mean square of the samples of each frame, the last of which silence fills up."""
    whole = len(samples) // SAMPLES_PER_FRAME * SAMPLES_PER_FRAME
    frames, rest = samples[:whole].reshape(-1, SAMPLES_PER_FRAME), samples[whole:]
    sums = np.append(np.einsum("ts,ts->t", frames, frames), np.square(rest).sum() if len(rest) else [])
    return np.asarray(sums / SAMPLES_PER_FRAME, np.float32)


def _decibels(power: Float) -> Float:
    return 10 * np.log10(np.maximum(power, 10 ** (SILENT / 10)))


def _longest(quiet: np.ndarray) -> tuple[float, float]:
    """Return begin and end in seconds of the longest run of frames for which ``quiet`` [T] holds."""
    begin, end = max(runs_of(quiet), key=lambda run: run[1] - run[0], default=(0, 0))
    return begin / FPS, end / FPS
