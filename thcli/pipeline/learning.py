"""Learning of a person's motion from more of a clip than its references: the rest of their shot, tracked coarsely.

The shot is followed from the references' first frame, forwards and then backwards, until it is cut, the face is lost,
or enough is seen. Every ``EVERY``-th frame is tracked, reduced so that head and shoulders have the size that the
tracker needs, and searched for cuts; the movement between is interpolated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from functools import partial
from itertools import islice

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.decode import frame_count, stream_frames
from thcli.clips.features import audio_features
from thcli.clips.probe import MediaInfo
from thcli.clips.shots import find_cuts, reduced_luma
from thcli.errors import MediaError, NoFaceError
from thcli.face_model import FaceModel, eye_opening
from thcli.faces.track import track_frames, track_in_crop
from thcli.pipeline.models import Models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.records import CROP_SIZE, FPS, AudioFeatures, FaceTrack, Float, Image, LearnedMotion, Person, Speech

EVERY = 3
"""Distance in frames between those that are tracked."""
LEAST_MORE = 1.0
"""Fewest seconds beyond the references that are worth following."""
MOST = 600.0
"""Most seconds that are learned from, whole shots included."""
LONGEST = 960
"""Longer side in px to which larger frames are reduced, however small the face is in them."""
HELD = 25 * EVERY
"""Frames that are held at a time on the way back."""
BLOCK, OVERLAP = 150, 40
"""Frames that are searched for cuts at a time; those of them that are searched again, so that dissolves are whole."""


class ShotFrames:
    """Frames of a video up to the first cut, which is searched for while they are taken.

    end: number of the first frame beyond the shot; None where no cut is found yet
    """

    def __init__(self, frames: Iterable[Image]) -> None:
        self._frames, self._luma, self._first = frames, list[Float](), 0
        self.end: int | None = None

    def __iter__(self) -> Iterator[Image]:
        for frame in self._frames:
            self._luma.append(reduced_luma(frame))
            yield frame
            if len(self._luma) == BLOCK:
                self.search()
                if self.end is not None:
                    return
                del self._luma[:-OVERLAP]
                self._first += BLOCK - OVERLAP

    def search(self) -> None:
        """Search the frames that were taken last for a cut."""
        if self.end is None and self._luma:
            cuts = find_cuts(np.stack(self._luma))
            self.end = self._first + cuts[0].first if cuts else None


def own_speech(info: MediaInfo, start: float, frames: int) -> Speech | None:
    """Return the clip's own audio as speech, or None where it has none that can be used."""
    if not info.audio:
        return None
    try:
        return read_speech(info, start, frames / FPS)
    except MediaError:  # broken audio does not affect the images
        return None


def learn_warnings(person: Person, options: ReferenceOptions) -> tuple[str, ...]:
    """Return a warning where ``--learn-from`` asks for more of a clip than can be learned from."""
    found, usual = len(person.learned) / FPS, ReferenceOptions.learn_from
    if len(person.track) < 2 or options.learn_from in (usual, "whole") or options.learn_seconds() < found + LEAST_MORE:
        return ()
    why = "there is no more of one shot with this face" if len(person.audio) else "the clip has no sound"
    return (f"--learn-from {options.learn_from}: {found:.1f} s are learned from, as {why}",)


def learn_motion(
    models: Models, info: MediaInfo, person: Person, seconds: float, tracks: TrackCache | None = None
) -> LearnedMotion:
    """Return movement and sound of ``seconds`` of the person's shot, or those of the references where there is no more.

    seconds: less than the references have, of which all tell blinks and range of motion, takes less of their audio
    tracks: cache in which the tracks may be found, and in which they are kept
    """
    own, wanted = len(person.track), round(min(seconds, MOST) * FPS)
    known = replace(person.learned, start=person.start, audio=person.learned.audio.first(wanted))
    least = own + round(LEAST_MORE * FPS)
    there = math.inf if info.duration is None else frame_count(info.duration)
    if not len(person.audio) or min(wanted, there) < least:
        return known
    after = _follow(models, info, person, wanted, tracks, back=False)
    missing = wanted - EVERY * len(after) if after else 0
    before = _follow(models, info, person, missing, tracks, back=True)
    parts = [part for part in (before, after) if part]
    frames = EVERY * sum(map(len, parts))
    if frames < least:
        return known
    start = person.start - (EVERY * len(before) / FPS if before else 0)
    audio = audio_features(own_speech(info, start, frames), frames)
    return _motion(models.face_model, _joined(parts, person, models.face_model), start, audio)


def _follow(
    models: Models, info: MediaInfo, person: Person, frames: int, tracks: TrackCache | None, back: bool
) -> FaceTrack | None:
    """Track a person from the first frame of the references on, or back; None where there is nothing to track.

    frames: most frames to follow

    The track has every ``EVERY``-th frame, in order of time, in px of the frames that are read.
    """
    if back:
        frames = min(frames, math.floor(person.start * FPS + 1e-6))
    if frames < EVERY:
        return None
    # The way back begins within the references, so that a cut just before them is seen.
    lead = min(HELD, EVERY * (len(person.track) // EVERY)) if back else 0
    longer = max(person.frame_size)
    longest = min(longer, LONGEST, round(longer * CROP_SIZE / person.box.side))
    box = person.box.to_frame(person.track.box[max(lead - EVERY, 0)].reshape(2, 2)) * (longest / longer)
    x, y, width, height = (float(value) for value in (*box[0], *(box[1] - box[0])))
    follow = partial(_follow_shot, models, info, person.start, frames, longest, (x, y, width, height), back, lead)
    with suppress(NoFaceError):
        if tracks is None:
            return follow()
        which = ("learned", person.start, frames, longest, x, y, width, height, back)
        return tracks.get(track_key(info.path, models.tracker.name, models.weights, *which), follow)
    return None


def _follow_shot(
    models: Models,
    info: MediaInfo,
    start: float,
    frames: int,
    longest: int,
    face: tuple[float, float, float, float],
    back: bool,
    lead: int,
) -> FaceTrack:
    """Track a face until its shot ends or it is lost; raise NoFaceError where it is not found.

    lead: frames of the references that are read before the others, and left out of the track
    """
    read: Callable[..., Generator[Image, None, None]] = _backwards if back else stream_frames
    with closing(read(info, start + lead / FPS, (frames + lead) / FPS, longest)) as stream:
        shot = ShotFrames(islice(_undamaged(stream), EVERY - 1 if back else 0, None, EVERY))
        track = track_frames(shot, models.tracker, models.face_model, info.path, face, start, until_lost=True)
    shot.search()
    track = track.select(slice(lead // EVERY, shot.end))
    return track.select(slice(None, None, -1)) if back else track


def _undamaged(frames: Iterable[Image]) -> Iterator[Image]:
    """Yield frames up to where the file is damaged, which tells less but does no harm."""
    with suppress(MediaError):
        yield from frames


def _backwards(info: MediaInfo, start: float, seconds: float, longest: int) -> Generator[Image, None, None]:
    """Yield the frames before ``start``, the last one first."""
    left = round(seconds * FPS)
    while left > 0:
        count = min(HELD, left)
        start, left = start - count / FPS, left - count
        yield from reversed(list(stream_frames(info, max(start, 0.0), count / FPS, longest)))


def _joined(parts: Sequence[FaceTrack], person: Person, model: FaceModel) -> FaceTrack:
    """Return tracks that follow each other as one, in px of the person's crop."""
    scale = np.float32(person.frame_size[0] / parts[0].size[0])
    box, mesh, landmarks = (
        np.concatenate([getattr(part, name) for part in parts]) * scale for name in ("box", "mesh", "landmarks")
    )
    pose, confidence = (np.concatenate([getattr(part, name) for part in parts]) for name in ("pose", "confidence"))
    whole = replace(parts[0], box=box, mesh=mesh, landmarks=landmarks, pose=pose, confidence=confidence)
    return track_in_crop(whole, person.box, model)


def _motion(model: FaceModel, track: FaceTrack, start: float, audio: AudioFeatures) -> LearnedMotion:
    """Return the motion of a track of every ``EVERY``-th frame, in all frames."""
    meshes = track.unposed()
    expression = model.expression(meshes)
    change = expression - np.median(expression, axis=0).astype(np.float32)
    return LearnedMotion(start, _filled(change), _filled(eye_opening(meshes)), _filled(track.pose), audio, EVERY)


def _filled(curve: Float) -> Float:
    """Interpolate a curve [τ, ...] of every ``EVERY``-th frame to all frames; the last value is held."""
    places, known = np.arange(EVERY * len(curve)), EVERY * np.arange(len(curve))
    flat = curve.reshape(len(curve), -1)
    whole = np.stack([np.interp(places, known, values) for values in flat.T], axis=1)
    return whole.reshape(-1, *curve.shape[1:]).astype(np.float32)
