"""What Ψ hears in a recording of any length, whoever speaks."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from thcli.clips.features import audio_features, speech_activity
from thcli.motion.expression import predict_expression
from thcli.pipeline.models import Models
from thcli.records import FPS, SAMPLE_RATE, Float, Speech

PIECE = 60 * FPS
"""Most frames of a recording that are listened to at a time."""
AROUND = 15 * FPS
"""Frames of the recording before and after a piece that are listened to with it."""


@dataclass(frozen=True)
class Heard:
    """What is heard in a recording of T frames at 25 fps.

    moved: [T, N] float32, how Ψ moves a face from its usual expression
    closure: [T] float32, probability that the lips are closed
    activity: [T] float32 in 0..1, share of speech in each frame
    """

    moved: Float
    closure: Float
    activity: Float


def listen(models: Models, speech: Speech) -> Heard:
    """Listen to a recording with Ψ (§3.2), piece by piece, so that memory grows with its samples alone."""
    parts: list[Heard] = []
    for begin in range(0, speech.n_frames, PIECE):
        first, end = max(begin - AROUND, 0), min(begin + PIECE + AROUND, speech.n_frames)
        piece = replace(speech, samples=speech.samples[first * SAMPLE_RATE // FPS : end * SAMPLE_RATE // FPS])
        heard = _heard(models, piece)
        inner = slice(begin - first, min(begin + PIECE, speech.n_frames) - first)
        parts.append(Heard(heard.moved[inner], heard.closure[inner], heard.activity[inner]))
    return Heard(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("moved", "closure", "activity")))


def _heard(models: Models, speech: Speech) -> Heard:
    still = np.zeros(models.expression_learner.dims.coefficients, np.float32)
    said = predict_expression(models.expression_learner, audio_features(speech), still, models.speech_encoders)
    return Heard(said.expression, said.closure, speech_activity(speech))
