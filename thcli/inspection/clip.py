"""``thgen inspect``: figures of a clip, advice on its use as a reference, and a contact sheet."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.decode import frame_count, stream_frames
from thcli.clips.features import speech_activity
from thcli.clips.probe import MediaInfo, check_length, probe
from thcli.cropping import crop_frame
from thcli.errors import MediaError, UsageError
from thcli.face_model import FaceModel
from thcli.faces.crop import crop_note, head_crop
from thcli.faces.protocol import Tracker
from thcli.faces.track import track_frames
from thcli.inspection.advice import AXES, ClipStats, on_reference
from thcli.inspection.contact_sheet import draw_points, write_sheet
from thcli.inspection.measure import measure_clip
from thcli.motion.blink import find_blinks
from thcli.pipeline.parts import EVERY, ClipPart, choose_part
from thcli.pipeline.person import LIGHT_CHANGES, REFERENCE_SECONDS
from thcli.records import FPS, WHOLE_CROP, CropBox, FaceTrack, Float, Image
from thcli.render.light import Light, measure_light

LONGEST = 60.0
"""Most seconds of a clip that are measured; ``pipeline.person.REFERENCE_SECONDS`` are used as a reference."""
SAMPLED = 320
"""Longer side in px of the frames in which the light is measured."""
BETTER = 1.05
"""Ratio of the good frames that follow a later beginning, where it is proposed, to those that follow the first one."""


@dataclass(frozen=True)
class Findings(ClipStats):
    """Measurements of a clip by ``inspect_clip``.

    path: file of the clip
    size: (width, height) of the frames, px
    more: whether the clip goes on after the part that was measured, which then has ``LONGEST`` seconds
    whole: length of the whole file, s; None where the file does not say
    speech_seconds: length of the audio; None without audio
    speaking: share of the audio that is speech; None without audio
    tracker: name of the tracker
    start: second of the clip at which the part that was measured begins
    best_start: second of the clip at which a reference best begins
    notes: lines on cuts, on a face that appears later, on the light and on the crop
    """

    path: Path
    size: tuple[int, int]
    more: bool
    whole: float | None
    speech_seconds: float | None
    speaking: float | None
    tracker: str
    start: float
    best_start: float
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the figures and the advice as lines to print."""
        seconds = f"{self.seconds:.1f} s"
        if self.more:
            seconds = f"the first {seconds}{f' of {self.whole:.1f}' if self.whole else ''}"
        length = f"{seconds}, {len(self.mouth)} frames at {FPS} a second" if self.seconds else "a photo"
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
        said = [*self.notes, *(advice.text for advice in on_reference(self))]
        best = f"a reference best begins with --start {self.best_start:.2f}"
        return [*said, best] if self.best_start > 0 else said

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
    """Measure a photo or at most ``LONGEST`` seconds of a clip's shot, and draw a contact sheet with curves as a PNG.

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
    part = choose_part(models.tracker, info, 0.0, LONGEST)
    samples: list[Image] = []
    with closing(stream_frames(info, part.start, part.seconds)) as frames:
        track = track_frames(_sampled(frames, samples), models.tracker, models.face_model, path, start=part.start)
    light, crop = _light(samples, track), crop_note(track.box, track.size)
    notes = (*part.notes("measured is"), *([LIGHT_CHANGES] if light else []), *([crop] if crop else []))
    findings = Findings(
        path=path,
        size=track.size,
        more=len(track) == frame_count(LONGEST) and (not info.duration or frame_count(info.duration) > len(track)),
        whole=info.duration,
        speech_seconds=speech_seconds,
        speaking=None if activity is None else float(activity.mean()),
        tracker=track.tracker,
        start=part.start,
        best_start=part.start + _best_beginning(track, light),
        notes=notes,
        **vars(measure_clip(track, WHOLE_CROP, track.size)),
    )
    write_sheet(sheet, _pictures(info, part, track), _curves(findings, activity), title=findings.lines()[:3])
    return findings


def _speech(info: MediaInfo) -> tuple[float | None, Float | None]:
    """Measure the length in seconds and the speech activity [T] of the audio; None and None without audio."""
    if not info.audio:
        return None, None
    speech = read_speech(info)
    return speech.seconds, speech_activity(speech)


def _sampled(frames: Iterable[Image], samples: list[Image]) -> Iterator[Image]:
    """Yield frames, and keep every ``EVERY``-th in ``samples``, with only the pixels in which light is measured."""
    for t, frame in enumerate(frames):
        if t % EVERY == 0:
            step = max(1, max(frame.shape[:2]) // SAMPLED)
            samples.append(frame[::step, ::step].copy())
        yield frame


def _light(samples: list[Image], track: FaceTrack) -> Light | None:
    """Return the light of every ``EVERY``-th frame of a clip, or None where it is steady."""
    box, step = head_crop(track.box, track.size), max(1, max(track.size) // SAMPLED)
    small = CropBox(box.x0 // step, box.y0 // step, max(1, box.side // step))
    return measure_light(np.stack(samples), small, box.to_crop(track.mesh[::EVERY]), 1)


def _best_beginning(track: FaceTrack, light: Light | None) -> float:
    """Return the second of a track from which a reference shows the face in the usual light for longest."""
    good = track.confidence[::EVERY] > 0
    if light is not None:
        good = good & light.usual
    length = max(1, round(REFERENCE_SECONDS * FPS) // EVERY)
    seen = np.convolve(good, np.ones(length))[length - 1 :]
    first = int(seen.argmax()) if seen.max() > BETTER * seen[0] else 0
    return float((first + good[first:].argmax()) * EVERY / FPS)


def _pictures(info: MediaInfo, part: ClipPart, track: FaceTrack, count: int = 8) -> list[tuple[str, Image]]:
    """Return evenly spaced frames with captions, cropped around the face, with the landmarks drawn; read them again."""
    box = head_crop(track.box, track.size)
    chosen = set(np.linspace(0, len(track) - 1, count).round().astype(int).tolist())
    return [
        (f"{part.start + t / FPS:.2f} s", draw_points(crop_frame(frame, box), box.to_crop(track.landmarks[t])))
        for t, frame in enumerate(stream_frames(info, part.start, part.seconds))
        if t in chosen
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
