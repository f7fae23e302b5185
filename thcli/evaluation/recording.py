"""Recordings, the form in which videos are measured: head crops of 256², track and audio; and pairs of recordings."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.clips.audio import read_speech
from thcli.clips.decode import stream_frames
from thcli.clips.probe import MediaInfo, probe
from thcli.cropping import crop_frame
from thcli.data.sources import VIDEOS
from thcli.errors import MediaError, NoFaceError, UsageError
from thcli.faces.crop import head_crop
from thcli.faces.track import track_in_crop
from thcli.pipeline.models import load_models
from thcli.pipeline.tracking import track_video
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, CropBox, FaceTrack, Image, Speech

LONGEST_SIDE = 720
"""Longer side in px to which larger frames are reduced for tracking; measured crops come from the full-size frames."""
MAX_SECONDS = 120.0
"""Most seconds of crops kept in memory; of a longer video only the beginning is measured, with a note."""
SAME_FRAMING = 1.15
"""Largest ratio of face sizes at which two videos of one frame shape count as framed alike."""


@dataclass(frozen=True, eq=False)
class Recording:
    """A video in the form in which it is measured.

    name: file, for messages
    frames: [T, 256, 256, 3] uint8, RGB, 25 fps, head and shoulders
    track: the face, in px of these frames; None where none was found
    speech: audio from the first frame on, of the same length; None where there is none
    """

    name: str
    frames: Image
    track: FaceTrack | None
    speech: Speech | None

    def __len__(self) -> int:
        return len(self.frames)

    def select(self, frames: NDArray[np.intp] | slice) -> Recording:
        """Return a recording of some of the frames, in any order, with the audio unchanged."""
        track = None if self.track is None else self.track.select(frames)
        return replace(self, frames=self.frames[frames], track=track)

    def cut(self, frames: int) -> Recording:
        """Return the first frames and the audio of the same length."""
        speech = self.speech
        if speech is not None:
            speech = replace(speech, samples=speech.samples[: frames * SAMPLES_PER_FRAME])
        return replace(self.select(slice(frames)), speech=speech)


@dataclass(frozen=True, eq=False)
class Pair:
    """Two recordings of equal length, to be compared frame by frame.

    notes: sentences on what was done to make the two comparable
    """

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

    reference_start: time in the reference at which the predicted video begins, seconds
    seconds: length to compare; None compares everything
    tracker: name of the tracker's backend

    Both are cropped around the reference's face. Where the frames differ in shape, or in the size of the face, the
    crops are matched by the faces instead, with a note.

    Raises UsageError for impossible times, MediaError, and NoFaceError where the reference shows no face.
    """
    notes: list[str] = []
    if reference_start < 0 or (seconds is not None and seconds <= 0):
        raise UsageError(f"{reference}: cannot compare {seconds} s from {reference_start:g} s on; both must lie inside")
    parts = _excerpt(predicted, 0.0), _excerpt(reference, reference_start)
    length = _seconds_to_compare(*parts, seconds, notes)
    true = _track_face(parts[1], length, tracker)
    if true.track is None:
        raise NoFaceError(f"{true.lost}; compare another part with --reference-start and --seconds")
    made = _track_face(parts[0], length, tracker)
    if made.track is None:
        notes.append(f"{made.lost}: what needs the face is not computed")
    made_box, true_box = _boxes(made, true, notes)
    return align(_recording(made, made_box, notes), _recording(true, true_box, notes), notes)


def align(predicted: Recording, reference: Recording, notes: Sequence[str] = ()) -> Pair:
    """Return two recordings as a pair, both cut to the length of the shorter."""
    said, length = list(notes), min(len(predicted), len(reference))
    if len(predicted) != len(reference):
        said.append(f"lengths differ ({len(predicted)} and {len(reference)} frames): the first {length} are compared")
    return Pair(predicted.cut(length), reference.cut(length), tuple(said))


@dataclass(frozen=True)
class _Excerpt:
    """The part of a video from a time on.

    start: time at which the part begins, seconds
    """

    path: Path
    info: MediaInfo
    start: float

    @property
    def rest(self) -> float:
        """Length of the part in seconds; infinite where the file does not give its duration."""
        return (self.info.duration or math.inf) - self.start


def _excerpt(path: Path, start: float) -> _Excerpt:
    """Return the part of a file from a time on. Raises MediaError where there is nothing to measure."""
    info = probe(path)
    if info.image or not info.video:
        raise MediaError(f"{path}: {'a photo' if info.image else 'only sound'}, expected a video to measure")
    part = _Excerpt(path, info, start)
    if part.rest <= 0:
        raise MediaError(f"{path}: lasts {info.duration:.2f} s, but --reference-start is {start:g} s; choose less")
    return part


def _seconds_to_compare(made: _Excerpt, true: _Excerpt, seconds: float | None, notes: list[str]) -> float:
    """Return the seconds to read of both videos, with notes on frame rates and lengths."""
    for part in (made, true):
        if part.info.fps and abs(part.info.fps - FPS) > 0.01:
            notes.append(f"{part.path}: {part.info.fps:g} frames a second, read at {FPS}")
    wanted = min(made.rest, true.rest, math.inf if seconds is None else seconds)
    if abs(made.rest - true.rest) > 1 / FPS and wanted != seconds:
        told = " and ".join("unknown" if math.isinf(part.rest) else f"{part.rest:.2f} s" for part in (made, true))
        notes.append(f"lengths differ ({told}): the shorter is compared")
    if wanted > MAX_SECONDS:
        whole = "at most the first {} s" if math.isinf(wanted) else f"only the first {{}} of {wanted:.0f} s"
        notes.append(f"{whole.format(round(MAX_SECONDS))} are compared, which is what is held in memory at a time")
    return min(wanted, MAX_SECONDS)


@dataclass(frozen=True)
class _TrackedVideo:
    """A video whose face has been tracked, to be read again for its crops.

    frames: number of frames that were tracked
    track: the face, in px of the file's frames; None where none was found
    lost: the tracker's message where no face was found
    """

    part: _Excerpt
    frames: int
    track: FaceTrack | None
    lost: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the file's frames, px."""
        return self.part.info.width, self.part.info.height

    def __str__(self) -> str:
        return f"{self.size[0]}x{self.size[1]}"


def _track_face(part: _Excerpt, seconds: float, tracker: str) -> _TrackedVideo:
    """Track the face in at most ``seconds`` of a video, on reduced frames."""
    try:
        track = track_video(load_models(tracker=tracker), part.info, part.start, seconds, LONGEST_SIDE)
    except NoFaceError as error:
        # What follows the semicolon names options of `thgen generate`.
        frames = sum(1 for _ in stream_frames(part.info, part.start, seconds, LONGEST_SIDE))
        return _TrackedVideo(part, frames, None, str(error).split(";")[0])
    return _TrackedVideo(part, len(track), _enlarged(track, (part.info.width, part.info.height)))


def _enlarged(track: FaceTrack, size: tuple[int, int]) -> FaceTrack:
    """Return a track of reduced frames in px of the file's frames, which have the given (width, height)."""
    factor = size[0] / track.size[0]
    return replace(
        track,
        box=track.box * np.float32(factor),
        mesh=track.mesh * np.float32(factor),
        landmarks=track.landmarks * np.float32(factor),
        scale=track.scale / factor,
        size=size,
    )


def _boxes(made: _TrackedVideo, true: _TrackedVideo, notes: list[str]) -> tuple[CropBox, CropBox]:
    """Return the squares of the predicted and of the reference's frames that show the same part of the person."""
    assert true.track is not None
    box, factor = head_crop(true.track.box, true.size), made.size[0] / true.size[0]
    same_shape = abs(true.size[1] * factor - made.size[1]) <= 1.5
    zoom = 1.0 if made.track is None else _unit(made.track) / _unit(true.track) / factor
    if made.track is not None and (not same_shape or max(zoom, 1 / zoom) > SAME_FRAMING):
        notes.append(
            f"frames differ ({made} and {true}, the face {zoom * factor:.2f} times as large): cropped so that both "
            "faces have one size and, in the median, one place, on which all that compares pixels depends"
        )
        # The closer view is cropped first, so that the same part of the wider one lies inside its frame.
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
    """Return the square that shows the face ``to`` as ``box`` shows the face ``of``.

    Both faces then have one size and, in the median over frames, one place.
    """
    factor = _unit(to) / _unit(of)
    (x, y), (other_x, other_y) = (np.median(one.landmarks[..., :2].mean(axis=1), axis=0) for one in (of, to))
    return CropBox(
        round(float(other_x - (x - box.x0) * factor)),
        round(float(other_y - (y - box.y0) * factor)),
        round(box.side * factor),
    )


def _unit(track: FaceTrack) -> float:
    """Return the length of a canonical face unit in px."""
    return 1 / track.scale


def _recording(video: _TrackedVideo, box: CropBox, notes: list[str]) -> Recording:
    """Read a video again, frame by frame at full size, as head crops."""
    frames = np.empty((video.frames, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    for t, frame in enumerate(stream_frames(video.part.info, video.part.start, video.frames / FPS)):
        frames[t] = crop_frame(frame, box)
    track = None if video.track is None else track_in_crop(video.track, box, load_models().face_model)
    return Recording(str(video.part.path), frames, track, _speech(video.part, video.frames, notes))


def _speech(part: _Excerpt, frames: int, notes: list[str]) -> Speech | None:
    """Return the audio of a number of frames, padded with silence; None where there is none that can be read."""
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
    """Yield the videos of a folder in order of their names, hidden files left out."""
    yield from sorted(
        path for path in folder.iterdir() if path.suffix.lower() in VIDEOS and path.is_file() and path.name[0] != "."
    )
