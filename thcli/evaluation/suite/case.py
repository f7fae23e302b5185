"""One clip of the suite: its first 64 frames (``PAST``) show the person, and the rest is to be rendered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.data.store import ClipMeta, Store
from thcli.errors import NoFaceError
from thcli.evaluation.baselines import PAST
from thcli.evaluation.recording import Recording
from thcli.evaluation.suite.options import SuiteOptions
from thcli.face_model import eye_opening
from thcli.faces.track import track_clip
from thcli.motion.blink import blinks_of_video
from thcli.pipeline.curves import predict_curves
from thcli.pipeline.models import Models
from thcli.pipeline.options import MotionOptions, ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import DrivenTarget, TrackedTarget
from thcli.records import (
    FPS,
    SAMPLES_PER_FRAME,
    WHOLE_CROP,
    Clip,
    FaceTrack,
    Image,
    MotionCurves,
    Person,
    Speech,
    Target,
)


@dataclass(frozen=True)
class Case:
    """A clip cut in two at frame 64, and what drives the second part.

    clip: name of the clip
    past: first 64 frames, from which the references come
    past_track: track of these frames, as in the store
    past_speech: audio of these frames
    real: the rest, tracked again by the tracker that tracks rendered frames
    track: track of the rest, as in the store; the target where landmarks drive
    other: audio of another clip, as long as the rest

    The clip's own audio is in step with its frames; it is None where the store does not know its lag (``av_lag``).
    """

    clip: str
    past: Clip
    past_track: FaceTrack
    past_speech: Speech | None
    real: Recording
    track: FaceTrack
    other: Speech
    options: SuiteOptions

    def __len__(self) -> int:
        return len(self.real)

    def person(self, references: int) -> Person:
        """Return the person with K references; face, voice and motion style are those of all 64 frames."""
        models, options = self.models, ReferenceOptions(references=references)
        return person_from_track(
            models.face_model, self.past, self.past_track, WHOLE_CROP, self.past_speech, options, matting=models.matting
        )

    def target(self, person: Person) -> Target:
        """Return the target of ``--drive``: the tracked face, or the person speaking with the clip's own audio."""
        if self.options.drive == "landmarks":
            return TrackedTarget(self.track)
        assert self.real.speech is not None, "clips without a fitting sound are not chosen"
        return self._driven(person, self.curves(person, self.real.speech))

    def shuffled_target(self, person: Person) -> Target:
        """Return the target for another clip's audio; with landmarks, head motion and blinks stay as tracked."""
        if self.options.drive == "audio":
            return self._driven(person, self.curves(person, self.other))
        curves = self.curves(person, self.other, motion="still")
        blinks = blinks_of_video(eye_opening(self.track.unposed()), len(self))
        return self._driven(person, replace(curves, pose=self.track.pose, blink=blinks))

    def curves(self, person: Person, speech: Speech, motion: str = "audio") -> MotionCurves:
        """Predict motion curves of the person for a speech, with the suite's seed."""
        return predict_curves(self.models, person, speech, MotionOptions(motion=motion, seed=self.options.seed))

    @property
    def models(self) -> Models:
        """The loaded networks."""
        return self.options.load_models()

    def _driven(self, person: Person, curves: MotionCurves) -> Target:
        return DrivenTarget(person, self.models.face_model, curves)

    def recording(self, method: str, frames: Image) -> Recording:
        """Return frames rendered for this case as a recording, with the clip's own audio."""
        return record(f"{self.clip}, {method}", frames, self.real.speech, self.options)


def load_case(store: Store, meta: ClipMeta, other: ClipMeta, options: SuiteOptions) -> Case:
    """Read a clip of the store, and the audio of another. Raises MediaError where one of them cannot be read."""
    limit = None if options.seconds is None else PAST / FPS + options.seconds
    clip, track = read_clip(store.crop(meta.clip), seconds=limit), store.track(meta.clip)
    length = min(len(clip), len(track))
    audio = None
    if meta.av_lag is not None:
        audio = in_step(read_speech(store.speech(meta.clip)), meta.lag)
        length = min(length, len(audio.samples) // SAMPLES_PER_FRAME)
    past, rest = slice(PAST), slice(PAST, length)
    speech = None if audio is None else _part(audio, rest)
    return Case(
        clip=meta.clip,
        past=Clip(clip.frames[past], clip.path),
        past_track=track.select(past),
        past_speech=None if audio is None else _part(audio, past),
        real=record(f"{meta.clip}, real", clip.frames[rest], speech, options),
        track=track.select(rest),
        other=_other_speech(store, meta, other, length - PAST),
        options=options,
    )


def record(name: str, frames: Image, speech: Speech | None, options: SuiteOptions) -> Recording:
    """Track frames, and return them as a recording; its track is None where no face is found."""
    models = options.load_models()
    try:
        track = track_clip(Clip(frames, Path(name)), models.tracker, models.face_model)
    except NoFaceError:
        return Recording(name, frames, None, speech)
    return Recording(name, frames, track, speech)


def in_step(speech: Speech, lag: int) -> Speech:
    """Return the audio of a clip whose mouth trails it by ``lag`` frames (negative: leads), moved into step with it.

    The convention is that of ``thcli.data.audio_motion.in_step``: frame t + lag shows the mouth that spoke at t. There
    the frames are moved; here they stay, so that the first 64 frames are the same for every ``--drive``.
    """
    shift = lag * SAMPLES_PER_FRAME
    samples = np.pad(speech.samples, (shift, 0)) if shift > 0 else speech.samples[-shift:]
    return replace(speech, samples=samples)


def _other_speech(store: Store, meta: ClipMeta, other: ClipMeta, frames: int) -> Speech:
    """Return the audio of the other clip after its first 64 frames, repeated where it is too short.

    Where there is no other clip, it is the clip's own audio, out of step by half its length.
    """
    speech = _part(read_speech(store.speech(other.clip)), slice(PAST, other.frames))
    samples = np.resize(speech.samples, frames * SAMPLES_PER_FRAME)
    return replace(speech, samples=np.roll(samples, len(samples) // 2) if other == meta else samples)


def _part(speech: Speech, frames: slice) -> Speech:
    """Return the audio of a range of frames, of which ``stop`` is given."""
    first, last = frames.start or 0, frames.stop
    return replace(speech, samples=speech.samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME])
