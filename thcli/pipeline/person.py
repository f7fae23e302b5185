"""The person in the reference: tracked, cropped, and with what is to be known of face, motion and sound."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from thcli.checkpoints import find_weights
from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.features import N_MELS, STEPS_PER_FRAME, framed, log_mel
from thcli.clips.probe import MediaInfo, probe
from thcli.errors import MediaError
from thcli.face_model import FaceModel, eye_opening
from thcli.faces.backends import cached_tracker, load_face_model
from thcli.faces.crop import CropBox, crop_frame, head_crop, surroundings
from thcli.faces.pose import deposed
from thcli.faces.track import track_clip, track_in_crop
from thcli.motion.blink import eye_closure
from thcli.motion.expression import Sound
from thcli.motion.silence import rest_expression
from thcli.pipeline.options import FaceChoice, GenerateOptions
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.records import CROP_SIZE, FPS, SAMPLES_PER_FRAME, Clip, FaceTrack, Float, Image, Speech
from thcli.render.mouth_texture import MouthInterior
from thcli.render.references import choose_references

REFERENCE_SECONDS = 4.0
"""How much of a clip is used."""
MAX_BYTES = 640 << 20
"""Of decoded frames; of a very large clip less time is used."""
REDUCED = 1920
"""Side in pixels to which larger frames are reduced where a crop of 256² or 512² is all that is made of them."""
MAX_SIDE = 2048
"""Of a crop in the clip's own resolution; memory and time grow with its square."""
OPEN = 0.3
"""Frames whose eyes are closed further do not shape the face at rest."""


@dataclass(frozen=True)
class Person:
    """What a reference says of a person.

    interior: what is painted into a mouth that no reference shows as open
    track: in pixels of the crop; faces: [T, V, 3], the same meshes de-posed, canonical units
    usual: [20], the median expression; rest: [20], lips closed
    neutral: [V, 3], the face at the usual expression with open eyes, canonical units
    sound: the clip's own, τ frames, τ = 0 where it has none
    chosen: [K] the references' frames; frames: [K, H, W, 3] whole frames, box: where the crop lies in them
    scene: the square of them that is drawn: the crop, or more, where it is put back; crops: [K, S, S, 3], the scene
    """

    model: FaceModel
    interior: MouthInterior
    track: FaceTrack
    faces: Float
    usual: Float
    rest: Float
    neutral: Float
    sound: Sound
    chosen: np.ndarray
    crops: Image
    frames: Image
    box: CropBox
    scene: CropBox

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) of the whole frames."""
        return self.frames.shape[2], self.frames.shape[1]

    def in_scene(self, points: Float) -> Float:
        """Points (..., 2 or 3), px of the crop, in px of the scene resized to ``CROP_SIZE``."""
        if self.scene == self.box:
            return points
        return np.asarray(self.scene.to_crop(self.box.to_frame(points)), np.float32)


def read_person(path: Path, options: GenerateOptions, tracks: TrackCache | None = None) -> Person:
    """Track the person of a clip or photo; MediaError, NoFaceError, WeightsError, UsageError.

    tracks: where a track may be known already, and is kept
    """
    clip, track, box = read_face(path, options, options.start, options.face_choice(), REFERENCE_SECONDS, tracks)
    return person_of(clip, track, box, _own_sound(path, options.start, len(clip)), options)


def person_of(clip: Clip, track: FaceTrack, box: CropBox, speech: Speech | None, options: GenerateOptions) -> Person:
    """The person of a clip, from its track in pixels of the crop at ``box`` and the clip's own sound, if any."""
    model = load_face_model(options.weights)
    faces = deposed(track)
    expression = model.expression(faces)
    usual = np.median(expression, axis=0).astype(np.float32)
    neutral = _neutral(faces, expression - usual, model)
    chosen = choose_references(track.pose, faces, track.confidence, options.references)
    size = (clip.frames.shape[2], clip.frames.shape[1])
    scene = box if options.frame == "crop" else surroundings(box, size)
    side = crop_side(box, options) if options.frame == "crop" else scene.side
    return Person(
        model=model,
        interior=MouthInterior.load(find_weights("mouth_interior.safetensors", options.weights)),
        track=track,
        faces=faces,
        usual=usual,
        rest=rest_expression(faces, model, neutral),
        neutral=neutral,
        sound=hear(speech, len(clip)),
        chosen=chosen,
        crops=np.stack([crop_frame(clip.frames[i], scene, side) for i in chosen]),
        frames=clip.frames[chosen],
        box=box,
        scene=scene,
    )


def crop_side(box: CropBox, options: GenerateOptions) -> int:
    """Side of the crop as it is drawn, pixels; even, as H.264 needs it."""
    if options.size == "source":
        return min(box.side, MAX_SIDE) // 2 * 2
    return int(options.size or CROP_SIZE)


def notes_on_size(person: Person, options: GenerateOptions) -> tuple[str, ...]:
    """Where ``--size`` is not the size of what the clip has there."""
    own, asked = person.box.side, options.size
    if options.frame == "full":
        return ()
    if asked == "512" and own < crop_side(person.box, options):
        return (f"--size 512: head and shoulders are {own} pixels wide in the clip; enlarging them adds no detail",)
    if asked == "source" and own > MAX_SIDE + 1:
        return (f"--size source: head and shoulders are {own} pixels wide in the clip, and drawn with {MAX_SIDE}",)
    return ()


def read_face(
    path: Path,
    options: GenerateOptions,
    start: float,
    face: FaceChoice,
    seconds: float | None,
    tracks: TrackCache | None = None,
) -> tuple[Clip, FaceTrack, CropBox]:
    """A clip, the face in it in pixels of its crop, and the crop."""
    info = probe(path)
    if not (info.video or info.image):
        raise MediaError(f"{path}: no picture in it; give a video or a photo")
    model, tracker = load_face_model(options.weights), cached_tracker(options.tracker, options.weights)
    for longest in _sides(info, options, face):
        share = 1.0 if longest is None else longest / max(info.width, info.height)
        if seconds is not None and not info.image:
            seconds = min(seconds, MAX_BYTES / (info.width * info.height * share**2 * 3 * FPS))
        clip = read_clip(path, 0.0 if info.image else start, seconds, longest)
        follow = partial(track_clip, clip, tracker, model, face)
        if tracks is None:
            track = follow()
        else:
            key = track_key(path, tracker.name, options.weights, clip.start, seconds, face, longest)
            track = tracks.get(key, follow)
        box = head_crop(track.box, track.size)
        if box.side >= crop_side(box, options):
            break
    return clip, track_in_crop(track, box, model), box


def _sides(info: MediaInfo, options: GenerateOptions, face: FaceChoice) -> tuple[int | None, ...]:
    """The longest sides to read frames with, one after the other until the face is large enough; None is their own.

    Frames are not reduced that are shown whole, in their own size or trained on, or in which a face is given in pixels.
    """
    small = options.frame == "crop" and options.size != "source" and not options.adapt and not isinstance(face, tuple)
    return (REDUCED, None) if small and not info.image and max(info.width, info.height) > REDUCED else (None,)


def _neutral(faces: Float, change: Float, model: FaceModel) -> Float:
    """The mean face once every frame's own expression is taken off; eyes as open as usual."""
    awake = eye_closure(eye_opening(faces)) < OPEN
    if not awake.any():
        awake[:] = True
    return np.asarray((faces[awake] - model.displacement(change[awake])).mean(axis=0), np.float32)


def hear(speech: Speech | None, frames: int | None = None) -> Sound:
    """A recording as the networks hear it, its first ``frames`` if so many are given; of nothing, no frames."""
    if speech is None:
        return Sound(np.zeros((0, STEPS_PER_FRAME, N_MELS), np.float32), np.zeros((0, SAMPLES_PER_FRAME), np.float32))
    return Sound(log_mel(speech)[:frames], framed(speech)[:frames])


def _own_sound(path: Path, start: float, frames: int) -> Speech | None:
    """The clip's own sound; none where it has none that can be used."""
    if frames < 2 or not probe(path).audio:
        return None
    try:
        return read_speech(path, start, frames / FPS)
    except MediaError:  # silent or broken sound does not spoil a picture
        return None
