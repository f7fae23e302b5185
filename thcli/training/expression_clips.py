"""Clips that Ψ is trained and measured on: the motion of the face beside the input of the network's front end.

What the speech encoder says of a moment depends on where in its window the moment stands, and on noise. So training
hears every clip in several renditions: encoded at other places of the windows, and with noise and rooms mixed in before
it is encoded (§3.2).
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.features import framed, log_mel
from thcli.configs.sections import ExpressionConfig, SpeechAugment
from thcli.data.audio_motion import AudioMotion, load_audio_motion
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.motion.expression import with_codes
from thcli.motion.speech_codes import STRIDE, Encoder, encode_speech
from thcli.records import Float, Speech
from thcli.training.augment_waveform import augment_waveform


@dataclass(frozen=True)
class Rendition:
    """One way in which the speech encoder hears a clip.

    offset: offset of the encoder's windows (``code_reader``)
    augment: probabilities and sizes of the changes by noise and rooms; None for the clip as it is
    seed: seed of these changes
    """

    offset: int = 0
    augment: SpeechAugment | None = None
    seed: int = 0


AS_RECORDED = (Rendition(),)
"""The one rendition in which speech is heard when videos are made."""


def training_renditions(config: ExpressionConfig) -> list[Rendition]:
    """Return a training's renditions, at evenly spaced offsets: clips as they are, and then spoilt ones."""
    count = config.placements + config.spoilt
    options = replace(config.augment, noise=1.0, mask=0.0)
    changes = [None] * config.placements + [options] * config.spoilt
    return [Rendition(i * STRIDE // count, augment, seed=i) for i, augment in enumerate(changes)]


def load_clips(
    store: Store,
    split: str,
    model: FaceModel,
    front_end: str = "log_mel",
    encoder: Encoder | None = None,
    renditions: Sequence[Rendition] = AS_RECORDED,
) -> list[AudioMotion]:
    """Load motion of a split and the input of a front end of Ψ, for training and measuring it.

    encoder: the speech encoder, for the front end ``encoder``
    renditions: renditions of every clip, whose features follow each other in float16 where there are several
    """
    noises = [store.speech(meta.clip) for meta in store.select(split)] if len(renditions) > 1 else []

    def features(path: Path) -> Float:
        speech = read_speech(path)
        if encoder is None or len(renditions) == 1:
            return input_features(speech, front_end, encoder)
        heard = (
            input_features(_rendered(speech, path, noises, one), front_end, encoder, one.offset) for one in renditions
        )
        return np.concatenate([one.astype(np.float16) for one in heard], axis=2)

    return load_audio_motion(store, split, model, features)


def input_features(speech: Speech, front_end: str, encoder: Encoder | None = None, offset: int = 0) -> Float:
    """Compute the input of a front end of Ψ, [T, ...]; the arguments are those of ``load_clips``."""
    if front_end == "raw":
        return framed(speech)
    heard = log_mel(speech)
    return heard if encoder is None else with_codes(heard, encode_speech(encoder, framed(speech), offset))


def _rendered(speech: Speech, path: Path, noises: Sequence[Path], rendition: Rendition) -> Speech:
    """Return the recording of a rendition; its noise depends on the clip's name and the seed alone."""
    if rendition.augment is None:
        return speech
    random = np.random.default_rng([rendition.seed, zlib.crc32(path.parent.name.encode())])
    voice = read_speech(noises[int(random.integers(len(noises)))]).samples
    voice = np.tile(voice, len(speech.samples) // len(voice) + 2)
    return replace(speech, samples=augment_waveform(speech.samples, [voice], rendition.augment, random))
