"""What a clip holds, in figures, with advice on its use as a reference, and as a picture (``contact_sheet``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thcli.errors import MediaError, UsageError
from thcli.faces.crop import WHOLE_CROP
from thcli.inspection.advice import AXES, Look, on_reference
from thcli.records import FPS, Clip, FaceTrack, Float, Image

LONGEST = 60.0
"""Seconds of a clip that are looked at; ``generate`` takes its references from four of them."""


@dataclass(frozen=True)
class Findings(Look):
    """What ``inspect_clip`` found.

    size: (width, height) px; more: whether the clip goes on after what was looked at
    speech_seconds: None without sound; speaking: share of them that is speech
    """

    path: Path
    size: tuple[int, int]
    more: bool
    speech_seconds: float | None
    speaking: float | None
    tracker: str

    def lines(self) -> list[str]:
        """The figures and the advice, as lines to print."""
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
        """How often the eyes close."""
        from thcli.motion.blink import find_blinks

        return len(find_blinks(self.eyes))

    def advice(self) -> list[str]:
        """What a better reference would have; empty where there is nothing to say."""
        return [advice.text for advice in on_reference(self)]

    def _sound(self) -> str:
        if self.speech_seconds is None or self.speaking is None:
            return "none"
        return f"{self.speech_seconds:.1f} s, speech in {self.speaking:.0%} of it"


def _span(values: Float) -> str:
    low, high = f"{values.min():.2f}", f"{values.max():.2f}"
    return low if low == high else f"{low} to {high}"


def inspect_clip(
    path: Path, sheet: Path, tracker: str = "builtin", weights: Path | None = None, overwrite: bool = False
) -> Findings:
    """Look at a photo or a clip's first ``LONGEST`` seconds; draw its contact sheet and curves as the PNG ``sheet``.

    Raises UsageError where the sheet exists and is not to be overwritten; MediaError, NoFaceError, WeightsError.
    """
    from thcli.clips.probe import check_length
    from thcli.evaluation.report.job import look_at
    from thcli.inspection.contact_sheet import write_sheet

    check_length(path)
    check_length(sheet)
    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet}: exists already; add --overwrite, or name another file with -o")
    if not sheet.parent.is_dir():
        raise MediaError(f"{sheet.parent}: no such folder to write {sheet.name} to; make it first")
    speech_seconds, activity = _sound(path)
    limit = _limit(path)
    clip, track = _face(path, limit, tracker, weights)
    findings = Findings(
        path=path,
        size=track.size,
        more=len(clip) == limit,
        speech_seconds=speech_seconds,
        speaking=None if activity is None else float(activity.mean()),
        tracker=track.tracker,
        **vars(look_at(track, WHOLE_CROP, track.size)),
    )
    write_sheet(sheet, _pictures(clip, track), _curves(findings, activity), title=findings.lines()[:3])
    return findings


def _limit(path: Path) -> int:
    """Frames that are looked at, at most."""
    from thcli.clips import decode
    from thcli.clips.probe import probe

    info = probe(path)
    return min(round(LONGEST * FPS), decode.MAX_BYTES // max(3 * info.width * info.height, 1))


def _face(path: Path, frames: int, tracker: str, weights: Path | None) -> tuple[Clip, FaceTrack]:
    """The first frames of a clip, or a photo, and its largest face."""
    from thcli.clips.decode import read_clip
    from thcli.faces.backends import cached_tracker, load_face_model
    from thcli.faces.track import track_clip

    clip = read_clip(path, seconds=frames / FPS)
    return clip, track_clip(clip, cached_tracker(tracker, weights), load_face_model(weights))


def _sound(path: Path) -> tuple[float | None, Float | None]:
    """Length of the sound and its speech activity, None and None without sound."""
    from thcli.clips.audio import read_speech
    from thcli.clips.features import speech_activity
    from thcli.clips.probe import probe

    if not probe(path).audio:
        return None, None
    speech = read_speech(path)
    return speech.seconds, speech_activity(speech)


def _pictures(clip: Clip, track: FaceTrack, count: int = 8) -> list[tuple[str, Image]]:
    """Evenly spaced frames, cropped around the face, with the landmarks drawn."""
    from thcli.faces.crop import crop_frame, head_crop
    from thcli.inspection.contact_sheet import draw_points

    box = head_crop(track.box, track.size)
    chosen = np.unique(np.linspace(0, len(clip) - 1, count).round().astype(int))
    return [
        (f"{t / FPS:.2f} s", draw_points(crop_frame(clip.frames[t], box), box.to_crop(track.landmarks[t])))
        for t in chosen
    ]


def _curves(findings: Findings, activity: Float | None) -> list[tuple[str, dict[str, Float]]]:
    """Panels of curves over the frames; a photo has none."""
    if not findings.seconds:
        return []
    panels: list[tuple[str, dict[str, Float]]] = [
        ("head pose, degrees", {axis: findings.rotation[:, i] for i, axis in enumerate(AXES)}),
        ("opening of mouth and eyes", {"mouth": findings.mouth, "eyes": findings.eyes}),
    ]
    return panels if activity is None else [*panels, ("speech", {"speech": activity[: len(findings.mouth)]})]
