"""Motion curves of a video: head motion, expression and blinks, each predicted from audio or taken from elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np

from thcli.clips.decode import frame_count
from thcli.clips.features import log_mel
from thcli.clips.probe import media_info
from thcli.face_model import eye_opening
from thcli.motion import blink, curves, head, silence
from thcli.motion.articulation import Articulation, fit_articulation
from thcli.motion.assembly import assemble
from thcli.motion.closure import part_lips
from thcli.motion.expression import predict_expression
from thcli.motion.spoken import spoken_expression
from thcli.pipeline.listening import Heard, listen
from thcli.pipeline.models import LruCache, Models
from thcli.pipeline.option_checks import SOURCE_WORDS, is_curve_file, is_video
from thcli.pipeline.options import MotionOptions
from thcli.pipeline.track_cache import TrackCache
from thcli.pipeline.tracking import track_driver
from thcli.records import (
    FPS,
    N_EXPRESSION,
    FaceTrack,
    Float,
    LearnedMotion,
    MotionCurves,
    Person,
    Speech,
)
from thcli.rotations import placement

ENDS_EARLY = FPS // 2
"""Most frames by which a source of motion may be shorter than the speech without a note."""
_ARTICULATIONS: LruCache[Articulation | None] = LruCache(4)
"""Articulations of the persons seen last, by Ψ, its speech encoder and what is known of the person."""
TrackOf = Callable[[str], FaceTrack]
"""Returns the face track of a video, given its path."""


def predict_curves(
    models: Models,
    person: Person,
    speech: Speech,
    options: MotionOptions | None = None,
    tracks: TrackCache | None = None,
) -> MotionCurves:
    """Predict how head and face move in every frame of a speech (Ψ §3.2, Φ §3.3), or take this from another source.

    tracks: cache in which tracks of driving videos may be found, and in which they are kept
    """
    options, frames = options or MotionOptions(), speech.n_frames
    heard = listen(models, speech) if options.expression == "audio" else None
    # Motion and expression may come from the same video, which is tracked only once.
    framed_as = person if options.retarget == "exact" else None
    track = cache(lambda source: track_driver(models, source, frames / FPS, tracks, framed_as))
    coefficients, given_blinks = _expression(models, person, frames, heard, options, track)
    past = placement(np.asarray(person.track.pose, np.float64))
    motion = assemble(
        _head_motion(models, person, past, speech, options, track),
        coefficients,
        given_blinks if given_blinks is not None else _blinks(person, frames, options),
        past=past,
        rest=person.rest,
        frames=frames,
        motion_scale=options.motion_scale,
        expression_scale=options.expression_scale,
    )
    if is_curve_file(options.expression):
        return motion
    apart = part_lips(motion.expression, person.neutral_mesh, person.median_expression, models.face_model)
    return replace(motion, expression=apart)


def reach_notes(person: Person, motion: MotionCurves, options: MotionOptions) -> tuple[str, ...]:
    """Return a note where ``--retarget exact`` moves the head further than the reference supports."""
    if options.retarget == "person" or not is_video(options.motion):
        return ()
    beyond = head.beyond_support(
        *(placement(np.asarray(pose, np.float64)) for pose in (person.track.pose, motion.pose))
    )
    if not beyond.any():
        return ()
    return (
        f"--retarget exact: in {beyond.sum()} of {len(beyond)} frames the head is further from its usual pose than the "
        "reference shows it, and the picture may suffer; --retarget person keeps it within",
    )


def source_notes(options: MotionOptions, frames: int) -> tuple[str, ...]:
    """Return notes on videos and files of curves that end, and let head or face rest, well before the speech does."""
    notes = []
    for option, source, what in (("--motion", options.motion, "head"), ("--expression", options.expression, "face")):
        length = _length(source)
        if length is not None and frames - length > ENDS_EARLY:
            until = f"ends after {length / FPS:.1f} of {frames / FPS:.1f} s"
            notes.append(f"{option} {source}: {until}; the {what} comes to rest there")
    return tuple(notes)


def _length(source: str) -> int | None:
    """Return the number of frames of a source of motion; None where it has no end, or none that it tells."""
    if source in SOURCE_WORDS:
        return None
    if is_curve_file(source):
        return len(curves.read_curves(Path(source)))
    info = media_info(source)
    return 1 if info.image else None if info.duration is None else frame_count(info.duration)


def _expression(
    models: Models, person: Person, frames: int, heard: Heard | None, options: MotionOptions, track: TrackOf
) -> tuple[Float, Float | None]:
    """Return expression coefficients [T, N], and the blinks [T] of their source, None where it has none."""
    source = options.expression
    if heard is not None:
        spoken = _spoken(models, person, heard)
        if options.silence == "close":
            spoken = silence.close_in_silence(spoken, heard.activity, person.rest)
        return spoken, None
    if is_curve_file(source):
        read = curves.read_curves(Path(source))
        return read.expression, _unless_chosen(read.blink, options)
    meshes = track(source).unposed()
    other = models.face_model.expression(meshes)
    if options.retarget == "person":
        other = (person.median_expression + (other - np.median(other, axis=0))).astype(np.float32)
    shown = blink.blinks_of_video(eye_opening(meshes), frames)
    return other, _unless_chosen(shown, options)


def _spoken(models: Models, person: Person, heard: Heard) -> Float:
    """Return coefficients [T, N] of what Ψ predicts, fitted to the person's articulation where the clip has audio."""
    own = _own_articulation(models, person.learned)
    at_rest = (person.neutral_mesh, person.median_expression)
    return spoken_expression(heard.moved, heard.closure, own, *at_rest, models.face_model)


def _own_articulation(models: Models, learned: LearnedMotion) -> Articulation | None:
    """Return the person's articulation, which is fitted once for all videos of a person; None without their speech."""
    if not len(learned.audio):
        return None

    def fit() -> Articulation | None:
        network, still = models.expression_learner, np.zeros(N_EXPRESSION, np.float32)
        predicted = predict_expression(network, learned.audio, still, models.speech_encoders).expression
        return fit_articulation(predicted, learned.expression, models.face_model.lip_gap, learned.every)

    return _ARTICULATIONS.get((models.expression_learner, models.speech_encoders, learned), fit)


def _unless_chosen(blinks: Float, options: MotionOptions) -> Float | None:
    """Return the blinks of the expression's source, or None where ``--blink`` asks for others."""
    return blinks if options.blink == "reference" else None


def _head_motion(
    models: Models,
    person: Person,
    past: head.Placements,
    speech: Speech,
    options: MotionOptions,
    track: TrackOf,
) -> head.Placements:
    """Return placements of the head, [T, 6] with any T from 1, before they are fitted to the length of the speech."""
    source, frames = options.motion, speech.n_frames
    if source == "still":
        return head.still_head_motion(past, frames)
    if source == "audio":
        network = models.head_motion_learner
        longer = len(person.learned) > len(past)
        learned = placement(np.asarray(person.learned.pose, np.float64)) if longer else None
        return head.predict_head_motion(network, past, person.audio.log_mel, log_mel(speech), options.seed, learned)
    if is_curve_file(source):
        return placement(np.asarray(curves.read_curves(Path(source)).pose, np.float64))
    other = track(source)
    placements = placement(np.asarray(other.pose, np.float64))
    if options.retarget == "person":
        return head.rebase_head_motion(past, placements, frames)
    placements[:, 3:] *= person.track.scale / other.scale  # both are fitted to px of the same crop
    return placements[:frames]


def _blinks(person: Person, frames: int, options: MotionOptions) -> Float:
    """Return blinks [T] at the person's own rate, at the rate of ``--blink SECONDS``, or none."""
    style = blink.blink_style(person.learned.eye_opening)
    seconds = options.blink_seconds()
    if seconds is not None:
        return blink.regular_blinks(style, seconds, frames, options.seed)
    if options.blink == "none":
        return np.zeros(frames, np.float32)
    return blink.make_blinks(style, frames, options.seed)
