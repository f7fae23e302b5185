"""The drive of a video from its sources: head motion, expression and blinks, each from audio, a video or a file."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np

from thcli.clips.features import speech_activity
from thcli.face_model import eye_opening
from thcli.faces.backends import load_face_model
from thcli.faces.pose import deposed
from thcli.motion import articulation, blink, curves, drive, expression, head, silence
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import Person, hear, read_face
from thcli.pipeline.track_cache import TrackCache
from thcli.records import FPS, Drive, FaceTrack, Float, Speech

Tracked = Callable[[str], FaceTrack]
"""The face of a video by its path."""


def make_drive(
    person: Person, speech: Speech, options: GenerateOptions, device: str, tracks: TrackCache | None = None
) -> Drive:
    """How the face moves in every frame of the speech.

    tracks: where the track of another video may be known already, and is kept
    """
    sound = hear(speech)
    # motion and expression may come from the same video, which is tracked once
    track = cache(lambda source: _track(source, options, len(sound), tracks))
    expressions, given_blinks = _expression(person, speech, sound, options, device, track)
    return drive.assemble(
        _pose(person, sound.features, options, device, track),
        expressions,
        given_blinks if given_blinks is not None else _blink(person, len(sound), options),
        past_pose=person.track.pose,
        rest=person.rest,
        frames=len(sound),
        motion_scale=options.motion_scale,
        expression_scale=options.expression_scale,
    )


def _expression(
    person: Person, speech: Speech, sound: expression.Sound, options: GenerateOptions, device: str, track: Tracked
) -> tuple[Float, Float | None]:
    """Coefficients, and the blinks that come with them where their source has any."""
    source = options.expression
    if source == "audio":
        said = _say(person, sound, options, device)
        if options.silence == "close":
            said = silence.close_in_silence(said, speech_activity(speech), person.rest)
        return said, None
    if source.lower().endswith(".csv"):
        read = curves.read_curves(Path(source))
        return read.expression, _unless_chosen(read.blink, options)
    faces = deposed(track(source))
    other = load_face_model(options.weights).expression(faces)
    moved = person.usual + (other - np.median(other, axis=0))
    shown = blink.blinks_of_video(eye_opening(faces), len(sound))
    return moved.astype(np.float32), _unless_chosen(shown, options)


def _say(person: Person, sound: expression.Sound, options: GenerateOptions, device: str) -> Float:
    """What Psi hears, [T, 20], moved as this person moves when the clip's own sound shows how that is."""
    still = np.zeros_like(person.usual)
    network = expression.load_expression_learner(options.weights, device)
    moved = expression.predict_expression(network, sound, still)
    if len(person.sound):
        heard = expression.predict_expression(network, person.sound, still)
        shown = person.model.expression(person.faces) - person.usual
        own = articulation.learn_articulation(heard, shown, person.model.lip_gap)
        moved = moved if own is None else own.apply(moved)
    return person.usual + moved


def _unless_chosen(blinks: Float, options: GenerateOptions) -> Float | None:
    """Blinks of the expression's source are taken unless ``--blink`` says otherwise."""
    return blinks if options.blink == "reference" else None


def _pose(person: Person, features: Float, options: GenerateOptions, device: str, track: Tracked) -> Float:
    past, frames = person.track.pose, len(features)
    if options.motion == "still":
        return head.still_head_motion(past, frames)
    if options.motion == "audio":
        learner = head.load_head_motion_learner(options.weights, device)
        return head.predict_head_motion(learner, past, person.sound.features, features, options.seed)
    if options.motion.lower().endswith(".csv"):
        return curves.read_curves(Path(options.motion)).pose
    return head.rebase_head_motion(past, track(options.motion).pose, frames)


def _blink(person: Person, frames: int, options: GenerateOptions) -> Float:
    manner = blink.blink_manner(eye_opening(person.faces))
    seconds = options.blink_seconds()
    if seconds is not None:
        return blink.regular_blinks(manner, seconds, frames, options.seed)
    if options.blink == "none":
        return np.zeros(frames, np.float32)
    return blink.make_blinks(manner, frames, options.seed)


def _track(source: str, options: GenerateOptions, frames: int, tracks: TrackCache | None) -> FaceTrack:
    """The face of another video, no longer than it is needed."""
    return read_face(Path(source), options, 0.0, "largest", frames / FPS, tracks)[1]
