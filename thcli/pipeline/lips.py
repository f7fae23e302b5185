"""Lips of a dubbed video: what Ψ hears in the new speech, as the person articulates in the video."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.features import audio_features, speech_activity
from thcli.clips.probe import MediaInfo
from thcli.errors import MediaError
from thcli.face_model import FaceModel
from thcli.motion.articulation import Articulation, fit_articulation
from thcli.motion.closure import part_lips
from thcli.motion.expression import predict_expression
from thcli.motion.silence import close_in_silence
from thcli.motion.spoken import spoken_expression
from thcli.pipeline.filmed import FilmedFace
from thcli.pipeline.footage import Footage
from thcli.pipeline.models import Models
from thcli.records import FPS, SAMPLE_RATE, Float, Speech

PIECE = 600 * FPS
"""Most frames of a sound that are listened to at a time."""
AROUND = 15 * FPS
"""Frames of sound before and after a piece that are listened to with it."""


@dataclass(frozen=True)
class Heard:
    """What is heard in a sound of T frames at 25 fps.

    moved: [T, N] float32, how Ψ moves a face from its usual expression
    closure: [T] float32, probability that the lips are closed
    activity: [T] float32, share of speech in each frame
    """

    moved: Float
    closure: Float
    activity: Float


@dataclass(frozen=True)
class Sounds:
    """What is heard before the person of a video is known.

    speech: what is heard in the new speech
    own: what is heard in the video's own sound; None where it has none, or none that can be read
    """

    speech: Heard
    own: Heard | None


def hear(models: Models, speech: Speech, info: MediaInfo) -> Sounds:
    """Listen to the new speech and to the video's own sound."""
    own = None
    if info.audio:
        with suppress(MediaError):  # broken sound does not affect the images
            own = listen(models, read_speech(info))
    return Sounds(listen(models, speech), own)


def listen(models: Models, speech: Speech) -> Heard:
    """Listen to a recording with Ψ, piece by piece, so that memory does not grow with more than its samples."""
    parts: list[Heard] = []
    for begin in range(0, speech.n_frames, PIECE):
        first, end = max(begin - AROUND, 0), min(begin + PIECE + AROUND, speech.n_frames)
        piece = replace(speech, samples=speech.samples[first * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS])
        heard = _heard(models, piece)
        inner = slice(begin - first, min(begin + PIECE, speech.n_frames) - first)
        parts.append(Heard(heard.moved[inner], heard.closure[inner], heard.activity[inner]))
    return Heard(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("moved", "closure", "activity")))


def own_articulation(model: FaceModel, heard: Heard, footage: Footage, face: FilmedFace) -> Articulation | None:
    """Fit the person's articulation to all of the video's own sound; None where that is not their speech.

    heard: what is heard in this sound
    """
    frames = np.arange(min(len(heard.moved), int(footage.end * FPS)))
    good = face.reason == 0
    shown = _at_25_fps(footage, face.expression - face.median_expression, good, frames)
    told = np.isfinite(shown).all(axis=1)
    if told.sum() < 2:
        return None
    return fit_articulation(heard.moved[frames][told], shown[told], model.lip_gap)


def spoken_lips(model: FaceModel, face: FilmedFace, heard: Heard, own: Articulation | None) -> Float:
    """Return the expressions [T, N] of the person who says what was heard, with the lips at rest in silence."""
    at_rest = (face.neutral_mesh, face.median_expression)
    spoken = spoken_expression(heard.moved, heard.closure, own, *at_rest, model)
    return part_lips(close_in_silence(spoken, heard.activity, face.rest), *at_rest, model)


def _heard(models: Models, speech: Speech) -> Heard:
    still = np.zeros(models.expression_learner.dims.coefficients, np.float32)
    features = audio_features(speech)
    said = predict_expression(models.expression_learner, features, still, models.speech_encoders)
    return Heard(said.expression, said.closure, speech_activity(speech))


def _at_25_fps(footage: Footage, values: Float, good: np.ndarray, frames: np.ndarray) -> Float:
    """Return values [T, N] of the video's frames at frames of 25 fps: [n, N], NaN beside frames that are not good."""
    place = np.interp(frames / FPS, footage.seconds, np.arange(len(footage)))
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(footage) - 1)
    share = (place - low)[:, None]
    both = (1 - share) * np.nan_to_num(values[low]) + share * np.nan_to_num(values[high])
    both[~(good[low] & good[high])] = np.nan
    return both.astype(np.float32)
