"""Training data of Ψ and Φ: a speaker's audio features beside the motion of the face, aligned in time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from thcli.clips.features import STEPS_PER_FRAME
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError
from thcli.face_model import FaceModel, mouth_opening
from thcli.records import FPS, Float

_QUICK, _SLOW = 1.0, FPS / 2
"""Standard deviations, frames, of the two Gaussians whose difference keeps changes as slow as syllables, in which audio
and mouth are compared."""


@dataclass(frozen=True)
class AudioMotion:
    """Audio features and motion of one clip, with mouth and audio in step.

    clip, subject: name of the clip, and of who speaks
    features: [T, 4, 80] float32, log-mel; or [T, 640] float32, samples at 16 kHz
    expression: [T, 20] float32, coefficients of the face model
    pose: [T, 6] float32, rotation vector (rad) and translation (canonical face units)
    opening: [T] float32, gap between the lips over the distance of the outer eye corners, as tracked
    tracked: [T] bool, False where the track was interpolated
    """

    clip: str
    subject: str
    features: Float
    expression: Float
    pose: Float
    opening: Float
    tracked: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.expression)


def load_audio_motion(
    store: Store,
    split: str,
    model: FaceModel,
    features: Callable[[Path], Float],
    shortest: int = 50,
) -> list[AudioMotion]:
    """Load the clips of a split whose audio is known to fit the mouth (``av_lag``) and that have enough frames.

    features: returns log-mel features [T, 4, 80], or samples [T, 640], of an audio file
    shortest: least frames of a clip

    Raises MediaError where there is no such clip.
    """
    clips = [_load(store, meta, model, features) for meta in store.select(split) if meta.av_lag is not None]
    clips = [clip for clip in clips if len(clip) >= shortest]
    if not clips:
        raise MediaError(
            f"{store.root}: no clip of split '{split}' with a known av_lag and {shortest} frames; add some"
        )
    return clips


def _load(
    store: Store,
    meta: ClipMeta,
    model: FaceModel,
    features: Callable[[Path], Float],
) -> AudioMotion:
    track = store.track(meta.clip)
    mesh = track.unposed()
    audio, motion = in_step(len(mesh), features(store.speech(meta.clip)), meta.lag)
    return AudioMotion(
        clip=meta.clip,
        subject=meta.subject,
        features=audio,
        expression=model.expression(mesh)[motion].astype(np.float32),
        pose=track.pose[motion],
        opening=mouth_opening(mesh)[motion].astype(np.float32),
        tracked=track.confidence[motion] > 0,
    )


def in_step(n_frames: int, features: Float, lag: int) -> tuple[Float, slice]:
    """Return features and the frames that belong to them, where the mouth trails the audio by ``lag`` frames.

    Frame t + lag shows the mouth that spoke features t. Features and frames without a partner are cut off.
    """
    first = max(0, -lag)
    length = min(len(features) - first, n_frames - (first + lag))
    return features[first : first + max(length, 0)], slice(first + lag, first + lag + max(length, 0))


def mouth_lag(openness: Float, opening: Float, reach: int) -> tuple[int, float]:
    """Return the frames by which the mouth trails the audio (negative: leads), at most ``reach``, and the fit there.

    openness: [T], how open the mouth sounds (``clips.features.openness``)
    opening: [T], how open the mouth is

    The fit is the correlation of the two over time, both without their slow changes; 0 where either is constant.
    """
    from scipy.ndimage import gaussian_filter1d

    length = min(len(openness), len(opening))
    both = np.stack([openness[:length], opening[:length]]).astype(np.float64)
    audio, mouth = gaussian_filter1d(both, _QUICK, axis=1) - gaussian_filter1d(both, _SLOW, axis=1)
    fits = {}
    for lag in range(-reach, reach + 1):
        fits[lag] = correlation(audio[max(0, -lag) :], mouth[max(0, lag) :])
    best = max(fits, key=lambda lag: fits[lag])
    return best, fits[best]


def correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    """Return Pearson's correlation of two curves over their common length; 0 where either is constant."""
    length = min(len(first), len(second))
    if not length:
        return 0.0
    first, second = first[:length] - first[:length].mean(), second[:length] - second[:length].mean()
    scale = float(np.linalg.norm(first) * np.linalg.norm(second))
    return float(first @ second) / scale if scale > 0 else 0.0


def shifted(clip: AudioMotion, steps: int) -> AudioMotion:
    """Return a clip whose mouth trails the audio by ``steps`` of 10 ms, with the two moved into step.

    Whole frames without a partner are cut off at the ends; for a part of a frame the features' edge is repeated.
    """
    lag = round(steps / STEPS_PER_FRAME)
    part = steps - STEPS_PER_FRAME * lag
    flat = clip.features.reshape(len(clip.features) * STEPS_PER_FRAME, -1)
    flat = np.pad(flat, ((max(part, 0), max(-part, 0)), (0, 0)), mode="edge")
    flat = flat[: len(flat) - part] if part > 0 else flat[-part:]
    audio, motion = in_step(len(clip), flat.reshape(clip.features.shape), lag)
    return replace(
        clip,
        features=audio,
        expression=clip.expression[motion],
        pose=clip.pose[motion],
        opening=clip.opening[motion],
        tracked=clip.tracked[motion],
    )


class OfSubject(Protocol):
    """Anything that belongs to a subject."""

    @property
    def subject(self) -> str:
        """Who speaks."""


Clip = TypeVar("Clip", bound=OfSubject)


def split_subjects(clips: Sequence[Clip], held_out: int, seed: int) -> tuple[list[Clip], list[Clip]]:
    """Split clips by subject: those to train on, and those of ``held_out`` random subjects for validation."""
    subjects = sorted({clip.subject for clip in clips})
    if held_out >= len(subjects):
        raise MediaError(
            f"{len(subjects)} subjects to train on, expected more than the {held_out} to hold out; add clips"
        )
    chosen = set(np.random.default_rng(seed).permutation(subjects)[:held_out].tolist())
    kept = [clip for clip in clips if clip.subject not in chosen]
    return kept, [clip for clip in clips if clip.subject in chosen]
