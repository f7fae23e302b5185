"""``thgen inspect``: figures of a clip, advice on its use as a reference, and a contact sheet."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.decode import MAX_BYTES, read_clip
from thcli.clips.features import speech_activity
from thcli.clips.probe import MediaInfo, check_length, probe
from thcli.errors import MediaError, UsageError
from thcli.face_model import FaceModel
from thcli.faces.crop import head_crop
from thcli.faces.protocol import Tracker
from thcli.faces.track import track_clip
from thcli.images import crop_frame
from thcli.inspection.advice import AXES, ClipStats, on_reference
from thcli.inspection.contact_sheet import draw_points, write_sheet
from thcli.inspection.measure import measure_clip
from thcli.motion.blink import find_blinks
from thcli.records import FPS, WHOLE_CROP, Clip, FaceTrack, Float, Image

LONGEST = 60.0
"""Most seconds of a clip that are measured; ``pipeline.person.REFERENCE_SECONDS`` are used as a reference."""


@dataclass(frozen=True)
class Findings(ClipStats):
    """Measurements of a clip by ``inspect_clip``.

    path: file of the clip
    size: (width, height) of the frames, px
    more: whether the clip is longer than the part that was measured
    speech_seconds: length of the audio; None without audio
    speaking: share of the audio that is speech; None without audio
    tracker: name of the tracker
    """

    path: Path
    size: tuple[int, int]
    more: bool
    speech_seconds: float | None
    speaking: float | None
    tracker: str

    def lines(self) -> list[str]:
        """Return the figures and the advice as lines to print."""
        first = "the first " if self.more else ""
        length = (
            f"{first}{self.seconds:.1f} s, {len(self.mouth)} frames at {FPS} a second" if self.seconds else "a photo"
        )
        lines = [
            f"file       {self.path}",
            f"picture    {self.size[0]}x{self.size[1]}, {length}",
            f"face       {self.face_height:.0f} pixels high, seen in {self.tracked:.0%} of the frames ({self.tracker})",
        ]
        for axis, values in zip(AXES, self.rotation.T, strict=True):
            moving = f" to {values.max():+.0f}°, spread {values.std():.1f}°" if self.seconds else ""
            lines.append(f"{axis:<10} {values.min():+.0f}°{moving}")
        lines.append(f"mouth      opening {_span(self.mouth)} of the eyes' distance")
        lines.append(f"eyes       opening {_span(self.eyes)} of their width, {self.blinks} blinks")
        lines.append(f"sound      {self._sound()}")
        return lines + [f"advice     {advice}" for advice in self.advice() or ["fit to be a reference"]]

    @property
    def blinks(self) -> int:
        """Number of blinks."""
        return len(find_blinks(self.eyes))

    def advice(self) -> list[str]:
        """Return advice for a better reference; empty where nothing is wrong."""
        return [advice.text for advice in on_reference(self)]

    def _sound(self) -> str:
        if self.speech_seconds is None or self.speaking is None:
            return "none"
        return f"{self.speech_seconds:.1f} s, speech in {self.speaking:.0%} of it"


def _span(values: Float) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


class TrackModels(Protocol):
    """Part of the loaded models (``pipeline.models.Models``) that tracking a face needs."""

    @property
    def face_model(self) -> FaceModel:
        """Face model."""

    @property
    def tracker(self) -> Tracker:
        """Tracker that finds the face."""


def inspect_clip(path: Path, sheet: Path, models: TrackModels, overwrite: bool = False) -> Findings:
    """Measure a photo or the first ``LONGEST`` seconds of a clip, and draw a contact sheet with curves as a PNG.

    sheet: PNG file to write

    Raises UsageError where the sheet exists and is not to be overwritten, MediaError, NoFaceError, WeightsError.
    """
    check_length(path)
    check_length(sheet)
    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet}: exists already; add --overwrite, or name another file with -o")
    if not sheet.parent.is_dir():
        raise MediaError(f"{sheet.parent}: no such folder to write {sheet.name} to; make it first")
    info = probe(path)
    speech_seconds, activity = _speech(info)
    limit = min(round(LONGEST * FPS), MAX_BYTES // max(3 * info.width * info.height, 1))
    clip = read_clip(info, seconds=limit / FPS)
    track = track_clip(clip, models.tracker, models.face_model)
    findings = Findings(
        path=path,
        size=track.size,
        more=len(clip) == limit,
        speech_seconds=speech_seconds,
        speaking=None if activity is None else float(activity.mean()),
        tracker=track.tracker,
        **vars(measure_clip(track, WHOLE_CROP, track.size)),
    )
    write_sheet(sheet, _images(clip, track), _curves(findings, activity), title=findings.lines()[:3])
    return findings


def _speech(info: MediaInfo) -> tuple[float | None, Float | None]:
    """Measure the length in seconds and the speech activity [T] of the audio; None and None without audio."""
    if not info.audio:
        return None, None
    speech = read_speech(info)
    return speech.seconds, speech_activity(speech)


def _images(clip: Clip, track: FaceTrack, count: int = 8) -> list[tuple[str, Image]]:
    """Return evenly spaced frames with captions, cropped around the face, with the landmarks drawn."""
    box = head_crop(track.box, track.size)
    chosen = np.unique(np.linspace(0, len(clip) - 1, count).round().astype(int))
    return [
        (f"{t / FPS:.2f} s", draw_points(crop_frame(clip.frames[t], box), box.to_crop(track.landmarks[t])))
        for t in chosen
    ]


def _curves(findings: Findings, activity: Float | None) -> list[tuple[str, dict[str, Float]]]:
    """Return panels of curves over the frames; a photo has none."""
    if not findings.seconds:
        return []
    panels: list[tuple[str, dict[str, Float]]] = [
        ("head pose, degrees", {axis: findings.rotation[:, i] for i, axis in enumerate(AXES)}),
        ("opening of mouth and eyes", {"mouth": findings.mouth, "eyes": findings.eyes}),
    ]
    return panels if activity is None else [*panels, ("speech", {"speech": activity[: len(findings.mouth)]})]
