"""Reading of the person of a clip or photo: tracked and cropped, references chosen, face and motion measured."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from thcli.checkpoints import sha256
from thcli.clips.decode import frame_count, read_clip
from thcli.clips.features import audio_features
from thcli.clips.probe import MediaInfo, media_info
from thcli.cropping import crop_frame, reduce_frame
from thcli.errors import MediaError
from thcli.face_model import FaceModel, eye_opening
from thcli.faces.crop import MADE_UP, crop_note, head_crop, reference_crop, surroundings
from thcli.faces.track import track_clip, track_in_crop
from thcli.motion.blink import eye_closure
from thcli.motion.silence import rest_expression
from thcli.motion.speaking_mouth import mouth_note
from thcli.pipeline.learning import learn_motion, own_speech
from thcli.pipeline.models import Models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.parts import choose_part
from thcli.pipeline.track_cache import TrackCache, track_key
from thcli.records import (
    CROP_SIZE,
    FPS,
    Clip,
    CropBox,
    FaceChoice,
    FaceTrack,
    Float,
    LearnedMotion,
    Person,
    Speech,
)
from thcli.render.light import Light, measure_light
from thcli.render.matting import Matting, background_rests
from thcli.render.references import choose_references
from thcli.render.small_frames import small_frames
from thcli.threads import one_thread

REFERENCE_SECONDS = 4.0
"""Most seconds of a clip from which references are taken."""
MAX_BYTES = 640 << 20
"""Most bytes of decoded frames; fewer seconds of a very large clip are used."""
REDUCED = 1920
"""Longer side in px to which larger frames are reduced where no crop of their own size is made of them."""
WHOLE = 1280
"""Longer side in px to which frames are reduced that are shown whole because no crop of head and shoulders fits."""
AUTO_SIDE = 512
"""Largest side in px of a crop of ``--size auto``; the smallest is ``CROP_SIZE``."""
MAX_SIDE = 2048
"""Largest side in px of a crop in the clip's own resolution; memory and time grow with its square."""
LIGHT_CHANGES = (
    "the light of the clip changes (a fade, or automatic exposure): the video has its usual light, to which references "
    "are brought"
)
"""Note on a clip whose references differ in their light."""
BACKGROUND_MOVES = (
    "the background of the clip moves (the camera, or people behind): close to the head it follows the head"
)
"""Note on a clip whose references show different backgrounds."""
OTHER_FACES = "{} faces are in view, and the largest is used; --face 0 to --face {} choose one, counted from the left"
"""Note on a picture of several people."""
OPEN = 0.3
"""Eye closure above which a frame does not count for the neutral mesh."""


@one_thread()
def read_person(
    models: Models,
    source: Path | str | MediaInfo,
    options: ReferenceOptions | None = None,
    tracks: TrackCache | None = None,
) -> Person:
    """Track the person of a clip or photo, and measure how face and head move, in more of the clip where there is more.

    tracks: cache in which tracks may be found, and in which they are kept

    Raises MediaError, NoFaceError, WeightsError, UsageError.
    """
    info, options = media_info(source), options or ReferenceOptions()
    part = choose_part(models.tracker, info, options.start, REFERENCE_SECONDS)
    clip, track, box = read_face(models, info, replace(options, start=part.start), part.seconds, tracks)
    speech = own_speech(info, part.start, len(clip)) if len(clip) > 1 else None
    light = measure_light(clip.frames, box, track.mesh, options.references)
    person = person_from_track(models.face_model, clip, track, box, speech, options, light, models.matting)
    notes = info.notes + info.sound.note(str(info.path)) + part.notes() + person.notes
    if options.face == "largest" and (others := len(models.tracker.detect(clip.frames[0])) - 1) > 0:
        notes += (OTHER_FACES.format(others + 1, others),)
    if len(clip) == 1 and (said := mouth_note(person.unposed_meshes[0])):
        notes += (said,)
    if options.frame == "crop" and (said := crop_note(_frame_boxes(track, box), person.frame_size)):
        notes += (said,)
    person = replace(person, start=part.start, notes=notes)
    return replace(person, learned=learn_motion(models, info, person, options.learn_seconds(), tracks))


def person_from_track(
    model: FaceModel,
    clip: Clip,
    track: FaceTrack,
    box: CropBox,
    speech: Speech | None,
    options: ReferenceOptions,
    light: Light | None = None,
    matting: Matting | None = None,
) -> Person:
    """Describe the person of a clip from its track, in px of the crop at ``box``, and the clip's own speech, if any.

    light: light of the frames, to whose usual value references are brought; None to leave them as they are
    matting: network that tells the person from the background; without it all of an image moves with the head
    """
    meshes = track.unposed()
    expression = model.expression(meshes)
    median = np.median(expression, axis=0).astype(np.float32)
    neutral = neutral_mesh(meshes, expression - median, model)
    sure = track.confidence if light is None else track.confidence * light.usual
    chosen = choose_references(track.pose, meshes, sure, options.references)
    frames = clip.frames[chosen] if light is None else light.evened(clip.frames, chosen)
    size = (clip.frames.shape[2], clip.frames.shape[1])
    full = options.frame == "full" or box.beyond(size) > MADE_UP
    canvas = surroundings(box, size) if full else box
    side = canvas.side if full else crop_side(box, options.size)
    audio = audio_features(speech, len(clip))
    images = np.stack([crop_frame(frame, canvas, side) for frame in frames])
    opacity = None if matting is None else matting.opacity(images)
    notes = () if light is None else (LIGHT_CHANGES,)
    if opacity is not None and not background_rests(images, opacity):
        opacity, notes = None, (*notes, BACKGROUND_MOVES)
    return Person(
        track=track,
        unposed_meshes=meshes,
        median_expression=median,
        rest=rest_expression(meshes, model, neutral),
        neutral_mesh=neutral,
        audio=audio,
        learned=LearnedMotion(clip.start, expression - median, eye_opening(meshes), track.pose, audio),
        reference_indices=chosen,
        reference_frames=frames,
        reference_images=images,
        box=box,
        canvas=canvas,
        reference_opacity=opacity,
        small_frames=small_frames(clip.frames, canvas) if len(clip) > 1 else None,
        paste_back=full,
        notes=notes,
    )


def person_key(models: Models, path: Path, options: ReferenceOptions) -> tuple[object, ...]:
    """Return the key of all that ``read_person`` depends on; a clip counts by its content, options as a whole."""
    content = sha256(path) if path.is_file() else str(path)
    return content, options, models.tracker_name, models.weights


def crop_side(box: CropBox, size: str) -> int:
    """Side of the rendered crop in px, for a value of ``--size``; even, as H.264 needs it."""
    if size not in ("auto", "source"):
        return int(size)
    own = min(box.side, MAX_SIDE) // 2 * 2
    return own if size == "source" else min(max(own, CROP_SIZE), AUTO_SIDE)


def size_warnings(person: Person, options: ReferenceOptions) -> tuple[str, ...]:
    """Return warnings where ``--size`` is not the size that head and shoulders have in the clip."""
    own, asked = person.box.side, options.size
    if person.paste_back:
        return ()
    if asked in ("512", "1024") and own < crop_side(person.box, asked):
        return (f"--size {asked}: head and shoulders are {own} pixels wide in the clip; enlarging them adds no detail",)
    if asked == "source" and own > MAX_SIDE + 1:
        return (f"--size source: head and shoulders are {own} pixels wide in the clip, and drawn with {MAX_SIDE}",)
    return ()


def length_warnings(person: Person) -> tuple[str, ...]:
    """Return a warning where ``MAX_BYTES`` hold fewer than ``REFERENCE_SECONDS`` of the clip's frames."""
    width, height = person.frame_size
    held = _seconds_held(width, height)
    if held >= REFERENCE_SECONDS or len(person.track) + 1 < frame_count(held):
        return ()
    used = f"{len(person.track) / FPS:.1f} of {REFERENCE_SECONDS:.0f} s"
    return (f"{used} of the reference are used, which is what is held in memory at {width}x{height} pixels; reduce it",)


def _seconds_held(width: float, height: float) -> float:
    return MAX_BYTES / (width * height * 3 * FPS)


def read_face(
    models: Models,
    source: Path | str | MediaInfo,
    options: ReferenceOptions,
    seconds: float | None,
    tracks: TrackCache | None = None,
) -> tuple[Clip, FaceTrack, CropBox]:
    """Read a clip, track a face in it, and return both with the face's crop; the track is in px of that crop.

    seconds: most seconds to read
    """
    info, face = media_info(source), options.face_choice()
    if not (info.video or info.image):
        raise MediaError(f"{info.path}: no picture in it; give a video or a photo")
    cropped = options.frame == "crop"
    crop_of = reference_crop if cropped else head_crop
    longest, *larger = sides(info, options, face)
    clip, track = _read_track(models, info, options, seconds, longest, tracks)
    box = crop_of(track.box, track.size)
    if larger and box.side < crop_side(box, options.size):
        del clip, track  # before larger frames are read
        clip, track = _read_track(models, info, options, seconds, larger[0], tracks)
        box = crop_of(track.box, track.size)
    free = cropped and options.size != "source" and not isinstance(face, tuple)
    if free and box.beyond(track.size) > MADE_UP and max(track.size) > WHOLE:
        del clip, track
        clip, track = _read_track(models, info, options, seconds, WHOLE, tracks)
        box = reference_crop(track.box, track.size)
    return clip, track_in_crop(track, box, models.face_model), box


def _read_track(
    models: Models,
    info: MediaInfo,
    options: ReferenceOptions,
    seconds: float | None,
    longest: int | None,
    tracks: TrackCache | None,
) -> tuple[Clip, FaceTrack]:
    """Read a clip, its frames' longer side reduced to ``longest`` px, and track a face in it, in px of the frames."""
    scale = 1.0 if longest is None else longest / max(info.width, info.height)
    if seconds is not None and not info.image:
        seconds = min(seconds, _seconds_held(info.width * scale, info.height * scale))
    clip = read_clip(info, 0.0 if info.image else options.start, seconds, longest)
    if info.image and longest is not None:
        clip = replace(clip, frames=reduce_frame(clip.frames[0], longest)[None])
    face, tracker = options.face_choice(), models.tracker
    follow = partial(track_clip, clip, tracker, models.face_model, face)
    if tracks is None:
        return clip, follow()
    key = track_key(info.path, tracker.name, models.weights, clip.start, seconds, face, longest)
    return clip, tracks.get(key, follow)


def _frame_boxes(track: FaceTrack, box: CropBox) -> Float:
    """Return the boxes [T, 4] of a track, which are in px of the crop at ``box``, in px of the frame."""
    return np.asarray(box.to_frame(track.box.reshape(-1, 2)).reshape(-1, 4), np.float32)


def sides(info: MediaInfo, options: ReferenceOptions, face: FaceChoice) -> tuple[int | None, ...]:
    """Return longer sides to reduce frames to, tried in turn until the face is large enough; None keeps the clip's.

    Frames keep their size where the video shows them whole or in that size, and where a face is given in pixels.
    """
    small = options.frame == "crop" and options.size != "source" and not isinstance(face, tuple)
    return (REDUCED, None) if small and not info.image and max(info.width, info.height) > REDUCED else (None,)


def neutral_mesh(meshes: Float, change: Float, model: FaceModel) -> Float:
    """Return the mean of unposed meshes [T, V, 3] less each frame's change of expression [T, N], with open eyes.

    Frames whose eyes are more closed than ``OPEN`` do not count, unless all are.
    """
    awake = eye_closure(eye_opening(meshes)) < OPEN
    if not awake.any():
        awake[:] = True
    return np.asarray((meshes[awake] - model.displacement(change[awake])).mean(axis=0), np.float32)
