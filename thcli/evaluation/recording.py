"""Videos as metrics see them: head crops of 256², their track and sound; and pairs of them, frame by frame."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip, stream_frames
from thcli.clips.probe import MediaInfo, probe
from thcli.data.sources import VIDEOS
from thcli.errors import MediaError, NoFaceError, UsageError
from thcli.faces.crop import CropBox, crop_frame, head_crop
from thcli.faces.track import track_clip, track_in_crop
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, FaceTrack, Image, Speech

LONGEST_SIDE = 720
"""Larger frames are reduced to it to follow the face; what is measured is cut from the frames as they are."""
MAX_BYTES = 2 << 30
"""Of such frames in memory, and"""
MAX_SECONDS = 120.0
"""of crops: of a longer video the beginning is measured, and that is said."""
SAME_FRAMING = 1.15
"""Factor up to which two videos of one frame shape may differ in the face's size and still show the same part."""


@dataclass(frozen=True, eq=False)
class Recording:
    """One video as metrics see it.

    name: the file, for messages
    frames: [T, 256, 256, 3] uint8, RGB, 25 fps, head and shoulders
    track: the face in pixels of these frames; None where none was found
    speech: the sound from the first frame on, as long as the frames; None without any
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


@dataclass(frozen=True, eq=False)
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
    """Read two videos to compare frame by frame: head crops of 256² that show the same part of both.

    reference_start: seconds into the reference at which the predicted video begins; seconds: how much to compare
    Both are cropped around the reference's face. Where the frames differ in shape, or show the face at another size,
    the crops are matched by the faces instead, and that is noted.
    Raises MediaError, NoFaceError where the reference shows no face.
    """
    notes: list[str] = []
    if reference_start < 0 or (seconds is not None and seconds <= 0):
        raise UsageError(f"{reference}: cannot compare {seconds} s from {reference_start:g} s on; both must lie inside")
    parts = _look(predicted, 0.0), _look(reference, reference_start)
    length = _seconds_to_compare(*parts, seconds, notes)
    true = _follow(parts[1], length, tracker, notes)
    if true.track is None:
        raise NoFaceError(f"{true.lost}; compare another part with --reference-start and --seconds")
    made = _follow(parts[0], length, tracker, notes)
    if made.track is None:
        notes.append(f"{made.lost}: what needs the face is not computed")
    made_box, true_box = _boxes(made, true, notes)
    return align(_recording(made, made_box, notes), _recording(true, true_box, notes), notes)


def align(predicted: Recording, reference: Recording, notes: Sequence[str] = ()) -> Pair:
    """A pair cut to its common length."""
    said, length = list(notes), min(len(predicted), len(reference))
    if len(predicted) != len(reference):
        said.append(f"lengths differ ({len(predicted)} and {len(reference)} frames): the first {length} are compared")
    return Pair(predicted.cut(length), reference.cut(length), tuple(said))


@dataclass(frozen=True)
class _Part:
    """A video from some second on."""

    path: Path
    info: MediaInfo
    start: float

    @property
    def rest(self) -> float:
        """Seconds from there to the end; infinite where the file does not say."""
        return (self.info.duration or math.inf) - self.start


def _look(path: Path, start: float) -> _Part:
    """A part of a file; MediaError where there is nothing to measure."""
    info = probe(path)
    if info.image or not info.video:
        raise MediaError(f"{path}: {'a photo' if info.image else 'only sound'}, expected a video to measure")
    part = _Part(path, info, start)
    if part.rest <= 0:
        raise MediaError(f"{path}: lasts {info.duration:.2f} s, but --reference-start is {start:g} s; choose less")
    return part


def _seconds_to_compare(made: _Part, true: _Part, seconds: float | None, notes: list[str]) -> float:
    """How much of both videos is read."""
    for part in (made, true):
        if part.info.fps and abs(part.info.fps - FPS) > 0.01:
            notes.append(f"{part.path}: {part.info.fps:g} frames a second, read at {FPS}")
    wanted = min(made.rest, true.rest, math.inf if seconds is None else seconds)
    if abs(made.rest - true.rest) > 1 / FPS and wanted != seconds:
        told = " and ".join("unknown" if math.isinf(part.rest) else f"{part.rest:.2f} s" for part in (made, true))
        notes.append(f"lengths differ ({told}): the shorter is compared")
    if wanted > MAX_SECONDS:
        notes.append(f"only the first {MAX_SECONDS:.0f} s are compared, which is what is held in memory at a time")
    return min(wanted, MAX_SECONDS)


@dataclass(frozen=True)
class _Followed:
    """A video whose face has been followed, to be read again, cropped.

    frames: how many; track: in pixels of the file's frames
    lost: where no face could be followed, what the tracker said
    """

    part: _Part
    frames: int
    track: FaceTrack | None
    lost: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the file's frames."""
        return self.part.info.width, self.part.info.height

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


def _follow(part: _Part, seconds: float, tracker: str, notes: list[str]) -> _Followed:
    from thcli.faces.backends import cached_tracker, load_face_model

    size = (part.info.width, part.info.height)
    reduced = min(1.0, LONGEST_SIDE / max(size))
    limit = MAX_BYTES / (size[0] * size[1] * reduced**2 * 3 * FPS)
    if limit < seconds:
        notes.append(f"{part.path}: only {limit:.0f} s are read, which is what is held in memory at a time")
    clip = read_clip(part.path, part.start, min(seconds, limit), LONGEST_SIDE)
    try:
        track = track_clip(clip, cached_tracker(tracker, None), load_face_model(None))
    except NoFaceError as error:
        # what follows the semicolon names options of `generate`
        return _Followed(part, len(clip), None, str(error).split(";")[0])
    return _Followed(part, len(clip), _enlarged(track, size))


def _enlarged(track: FaceTrack, size: tuple[int, int]) -> FaceTrack:
    """The track in pixels of the file's frames, which were reduced to be tracked."""
    factor = size[0] / track.size[0]
    return replace(
        track,
        box=track.box * np.float32(factor),
        mesh=track.mesh * np.float32(factor),
        landmarks=track.landmarks * np.float32(factor),
        scale=track.scale / factor,
        size=size,
    )


def _boxes(made: _Followed, true: _Followed, notes: list[str]) -> tuple[CropBox, CropBox]:
    """Squares of the predicted and of the reference's frames that show the same."""
    assert true.track is not None
    box, factor = head_crop(true.track.box, true.size), made.size[0] / true.size[0]
    same_shape = abs(true.size[1] * factor - made.size[1]) <= 1.5
    zoom = 1.0 if made.track is None else _unit(made.track) / _unit(true.track) / factor
    if made.track is not None and (not same_shape or max(zoom, 1 / zoom) > SAME_FRAMING):
        notes.append(
            f"frames differ ({made} and {true}, the face {zoom * factor:.2f} times as large): cropped so that both "
            "faces have one size and, in the median, one place, on which all that compares pixels depends"
        )
        # The closer view is cropped first: the same part of the wider one is then inside its frame.
        if zoom >= 1:
            box = head_crop(made.track.box, made.size)
            return box, _by_faces(box, made.track, true.track)
        return _by_faces(box, true.track, made.track), box
    if not same_shape:
        notes.append(f"frames differ in shape ({made} and {true}) and no face says how: the middle is compared")
        side = min(made.size)
        return CropBox((made.size[0] - side) // 2, (made.size[1] - side) // 2, side), box
    if made.size != true.size:
        notes.append(f"sizes differ ({made} and {true}): both are resized to {CROP_SIZE}x{CROP_SIZE}")
    elif box != CropBox(0, 0, true.size[0]):
        notes.append(f"measured on the head: {box.side}x{box.side} pixels at {box.x0},{box.y0} of {true}")
    return CropBox(round(box.x0 * factor), round(box.y0 * factor), round(box.side * factor)), box


def _by_faces(box: CropBox, of: FaceTrack, to: FaceTrack) -> CropBox:
    """The square that shows a face ``to`` as ``box`` shows the face ``of``: as large, in the median in one place."""
    factor = _unit(to) / _unit(of)
    (x, y), (other_x, other_y) = (np.median(one.landmarks[..., :2].mean(axis=1), axis=0) for one in (of, to))
    return CropBox(
        round(float(other_x - (x - box.x0) * factor)),
        round(float(other_y - (y - box.y0) * factor)),
        round(box.side * factor),
    )


def _unit(track: FaceTrack) -> float:
    """Pixels of a canonical face unit."""
    return 1 / track.scale


def _recording(video: _Followed, box: CropBox, notes: list[str]) -> Recording:
    """The video read again, frame by frame, at its full size."""
    from thcli.faces.backends import load_face_model

    frames = np.empty((video.frames, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for t, frame in enumerate(stream_frames(video.part.path, video.part.start, video.frames / FPS)):
        frames[t] = crop_frame(frame, box)
    track = None if video.track is None else track_in_crop(video.track, box, load_face_model(None))
    return Recording(str(video.part.path), frames, track, _speech(video.part, video.frames, notes))


def _speech(part: _Part, frames: int, notes: list[str]) -> Speech | None:
    """The sound of so many frames, silent where the file's ends before them."""
    if not part.info.audio:
        return None
    try:
        speech = read_speech(part.path, part.start, frames / FPS)
    except MediaError as error:
        notes.append(f"{str(error).split(';')[0]}: measured as if it had no sound")
        return None
    lacking = frames * SAMPLES_PER_FRAME - len(speech.samples)
    return replace(speech, samples=np.pad(speech.samples, (0, max(0, lacking))))


def videos_in(folder: Path) -> Iterator[Path]:
    """The videos of a folder in order of their names."""
    yield from sorted(
        path for path in folder.iterdir() if path.suffix.lower() in VIDEOS and path.is_file() and path.name[0] != "."
    )
