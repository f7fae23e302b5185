"""What a clip holds, in figures, with advice on its use as a reference, and as a picture (``thcli.sheet``)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from thcli.errors import MediaError, UsageError
from thcli.face_model import eye_opening, mouth_opening
from thcli.preprocess import track_file
from thcli.records import FPS, Clip, FaceTrack, Float, Image

AXES = ("nod", "turn", "tilt")
"""Head rotation about x, y, z."""
SHORTEST, SMALLEST_FACE = 2.0, 64
FAR_TURN = 35.0
STILL_TURN = 1.0
EYES_SHUT = 0.12
"""Eye opening below which the eyes are shut."""
MOUTH_OPEN = 0.05
SEEN_ENOUGH = 0.95


@dataclass(frozen=True)
class Findings:
    """What ``inspect_clip`` found.

    size: (width, height) px; seconds: length of the picture, 0 for a photo; speech_seconds: None without sound
    tracked: share of frames in which the face was seen
    face_height: median, px
    rotation: [T, 3] degrees; mouth: [T] opening over the distance of the outer eye corners; eyes: [T] lid gap over
        eye width
    """

    path: Path
    size: tuple[int, int]
    seconds: float
    speech_seconds: float | None
    speaking: float | None
    tracker: str
    tracked: float
    face_height: float
    rotation: Float
    mouth: Float
    eyes: Float

    def lines(self) -> list[str]:
        """The figures and the advice, as lines to print."""
        length = f"{self.seconds:.1f} s, {len(self.mouth)} frames at {FPS} a second" if self.seconds else "a photo"
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
        turn = np.abs(self.rotation[:, 1])
        found = [
            (0 < self.seconds < SHORTEST, f"{self.seconds:.1f} s is short: three seconds show how the head moves"),
            (self.face_height < SMALLEST_FACE, f"the face is small: the picture is soft below {SMALLEST_FACE} pixels"),
            (self.tracked < SEEN_ENOUGH, "the face is often lost: choose a part with --start where it is in full view"),
            (float(np.median(turn)) > FAR_TURN, "the head is turned far to the side: choose a more frontal part"),
            (bool(self.seconds) and float(self.rotation.std(axis=0).max()) < STILL_TURN,
             "the head hardly moves: the video's will move as little; --motion VIDEO can lend it another's"),
            (float(self.eyes.max()) < EYES_SHUT, "the eyes are never open: choose a part where they are"),
            (bool(self.seconds) and float(self.mouth.max()) < MOUTH_OPEN,
             "the mouth is never open: its inside will be made up; choose a part where the person speaks"),
        ]  # fmt: skip
        return [advice for applies, advice in found if applies]

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
    """Look at a clip or photo, and draw its contact sheet and curves as the PNG ``sheet``.

    Raises UsageError where the sheet exists and is not to be overwritten; MediaError, NoFaceError, WeightsError.
    """
    from thcli.sheet import write_sheet

    if sheet.exists() and not overwrite:
        raise UsageError(f"{sheet}: exists already; add --overwrite, or name another file with -o")
    if not sheet.parent.is_dir():
        raise MediaError(f"{sheet.parent}: no such folder to write {sheet.name} to; make it first")
    speech_seconds, activity = _sound(path)
    clip, track = track_file(path, tracker, weights)
    findings = Findings(
        path=path,
        size=track.size,
        seconds=len(clip) / FPS if len(clip) > 1 else 0.0,
        speech_seconds=speech_seconds,
        speaking=None if activity is None else float(activity.mean()),
        tracker=track.tracker,
        tracked=float((track.confidence > 0).mean()),
        face_height=float(np.median(track.box[:, 3] - track.box[:, 1])),
        rotation=np.degrees(track.pose[:, :3]),
        mouth=mouth_opening(track.mesh).astype(np.float32),
        eyes=eye_opening(track.mesh).astype(np.float32),
    )
    write_sheet(sheet, _pictures(clip, track), _curves(findings, activity), title=findings.lines()[:3])
    return findings


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
    from thcli.sheet import draw_points

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
