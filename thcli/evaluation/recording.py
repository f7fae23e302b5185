"""Videos as metrics see them: head crops of 256², their track and sound; and pairs of them, frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.probe import probe
from thcli.errors import MediaError, NoFaceError, UsageError
from thcli.faces.backends import cached_tracker, load_face_model
from thcli.faces.crop import CropBox, crop_frames, head_crop
from thcli.faces.track import track_clip, track_in_crop
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, Clip, FaceTrack, Image, Speech

LONGEST_SIDE = 720
"""Larger frames are reduced to it on reading."""
MAX_BYTES = 1 << 30
"""Of frames in memory; of a longer video the beginning is measured, and that is said."""


@dataclass(frozen=True)
class Recording:
    """One video as metrics see it.

    name: for messages
    frames: [T, 256, 256, 3] uint8, RGB, 25 fps, head and shoulders
    track: the face in pixels of these frames; None where none was found
    speech: the sound from the first frame on; None without any
    """

    name: str
    frames: Image
    track: FaceTrack | None
    speech: Speech | None

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, frames: NDArray[np.intp] | slice) -> Recording:
        """Some of the frames, in any order, beside the same sound."""
        track = None if self.track is None else self.track.select(frames)
        return replace(self, frames=self.frames[frames], track=track)

    def cut(self, frames: int) -> Recording:
        """The first frames, and as much of the sound."""
        sound = self.speech
        if sound is not None:
            sound = replace(sound, samples=sound.samples[: frames * SAMPLES_PER_FRAME])
        return replace(self.select(slice(frames)), speech=sound)


@dataclass(frozen=True)
class Pair:
    """A video and the one it is compared with, of equal length, frame by frame, with what was done to make them so."""

    predicted: Recording
    reference: Recording
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.predicted)


def read_pair(
    predicted: Path,
    reference: Path,
    reference_start: float = 0.0,
    seconds: float | None = None,
    tracker: str = "builtin",
) -> Pair:
    """Read two videos to compare frame by frame.

    reference_start: seconds into the reference at which the predicted video begins; seconds: how much to compare
    Both are cropped alike around the reference's face; where their frames differ in shape, each around its own.
    Raises MediaError, NoFaceError where the reference shows no face.
    """
    notes: list[str] = []
    made, true = (
        _read(path, start, seconds, notes) for path, start in ((predicted, 0.0), (reference, reference_start))
    )
    model, follower = load_face_model(), cached_tracker(tracker)
    true_track = track_clip(true, follower, model)
    try:
        made_track: FaceTrack | None = track_clip(made, follower, model)
    except NoFaceError as error:
        made_track = None
        notes.append(f"predicted: {error}")
    box = head_crop(true_track.box, true_track.size)
    made_box = _same_box(box, true, made)
    if made_box is None:
        notes.append(
            f"frames differ in shape ({_size(made)} and {_size(true)}): each is cropped around its own face, which "
            "moves SSIM, PSNR and LMD"
        )
        made_box = box if made_track is None else head_crop(made_track.box, made_track.size)
    elif _size(made) != _size(true):
        notes.append(f"sizes differ ({_size(made)} and {_size(true)}): both resized to {CROP_SIZE}²")
    return align(
        _recording(predicted, made, made_track, made_box, 0.0),
        _recording(reference, true, true_track, box, reference_start),
        notes,
    )


def align(predicted: Recording, reference: Recording, notes: list[str] | None = None) -> Pair:
    """A pair cut to its common length."""
    said, length = list(notes or []), min(len(predicted), len(reference))
    if len(predicted) != len(reference):
        said.append(f"lengths differ ({len(predicted)} and {len(reference)} frames): the first {length} are compared")
    return Pair(predicted.cut(length), reference.cut(length), tuple(said))


def _read(path: Path, start: float, seconds: float | None, notes: list[str]) -> Clip:
    info = probe(path)
    if info.image:
        raise MediaError(f"{path}: a photo, expected a video to measure")
    if start < 0 or (seconds is not None and seconds <= 0):
        raise UsageError(f"{path}: cannot compare {seconds} s from {start:g} s on; both must lie inside the video")
    scale = min(1.0, LONGEST_SIDE / max(info.width, info.height, 1))
    limit = MAX_BYTES / (max(info.width * info.height, 1) * scale**2 * 3 * FPS)
    whole = info.duration if seconds is None else seconds
    if whole is not None and whole > limit:
        notes.append(f"{path}: only its first {limit:.0f} s are measured, which is what fits into memory")
    clip = read_clip(path, start, limit if seconds is None else min(seconds, limit), LONGEST_SIDE)
    if scale < 1:
        notes.append(f"{path}: {info.width}x{info.height} reduced to {_size(clip)} on reading")
    return clip


def _size(clip: Clip) -> str:
    return f"{clip.frames.shape[2]}x{clip.frames.shape[1]}"


def _same_box(box: CropBox, of: Clip, to: Clip) -> CropBox | None:
    """The same part of frames of another size; None where their shape is another."""
    (height, width), (other_height, other_width) = of.frames.shape[1:3], to.frames.shape[1:3]
    scale = other_width / width
    if abs(height * scale - other_height) > 1.5:
        return None
    return CropBox(round(box.x0 * scale), round(box.y0 * scale), round(box.side * scale))


def _recording(path: Path, clip: Clip, track: FaceTrack | None, box: CropBox, start: float) -> Recording:
    speech = read_speech(path, start, len(clip) / FPS) if probe(path).audio else None
    placed = None if track is None else track_in_crop(track, box, load_face_model())
    return Recording(path.name, crop_frames(clip.frames, box), placed, speech)


def videos_in(folder: Path) -> Iterator[Path]:
    """The videos of a folder in order of their names."""
    yield from sorted(p for p in folder.iterdir() if p.suffix.lower() in (".mp4", ".mov", ".mkv", ".webm", ".avi"))
