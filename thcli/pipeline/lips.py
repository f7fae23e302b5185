"""Lips of a dubbed video: what Ψ hears in the new speech, as the person articulates in the video."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.probe import MediaInfo
from thcli.errors import MediaError
from thcli.face_model import FaceModel
from thcli.motion.articulation import Articulation, fit_articulation
from thcli.motion.closure import part_lips
from thcli.motion.silence import close_in_silence
from thcli.motion.spoken import spoken_expression
from thcli.pipeline.filmed import FilmedFace
from thcli.pipeline.footage import Footage
from thcli.pipeline.listening import Heard, listen
from thcli.pipeline.models import Models
from thcli.records import FPS, Float, Speech


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


def _at_25_fps(footage: Footage, values: Float, good: np.ndarray, frames: np.ndarray) -> Float:
    """Return values [T, N] of the video's frames at frames of 25 fps: [n, N], NaN beside frames that are not good."""
    place = np.interp(frames / FPS, footage.seconds, np.arange(len(footage)))
    low = np.floor(place).astype(int)
    high = np.minimum(low + 1, len(footage) - 1)
    share = (place - low)[:, None]
    both = (1 - share) * np.nan_to_num(values[low]) + share * np.nan_to_num(values[high])
    both[~(good[low] & good[high])] = np.nan
    return both.astype(np.float32)
