"""One clip of the suite: its first 64 frames are what is known of the person, the rest is to be drawn anew."""

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
from thcli.faces import backends
from thcli.faces.crop import WHOLE_CROP
from thcli.faces.pose import deposed
from thcli.faces.track import track_clip
from thcli.motion.blink import blinks_of_video
from thcli.pipeline.curves import make_drive
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Driven, Target, Tracked
from thcli.records import FPS, SAMPLES_PER_FRAME, Clip, FaceTrack, Image, Speech


@dataclass(frozen=True)
class Case:
    """A clip cut in two at frame 64, and what is to drive the second part.

    past: the first 64 frames, with their track and sound; references come from them
    real: the rest, tracked anew by the tracker that tracks what is drawn
    track: the rest as the store has it, what landmarks ask for
    other: as much sound of another clip
    The sound is in step with the picture; it is None where the store does not know whether it fits (``av_lag``).
    """

    clip: str
    past: Clip
    past_track: FaceTrack
    past_sound: Speech | None
    real: Recording
    track: FaceTrack
    other: Speech
    options: SuiteOptions

    def __len__(self) -> int:
        return len(self.real)

    def person(self, references: int) -> Person:
        """The person with K references; face, voice and manner of moving are those of all 64 frames."""
        return person_of(self.past, self.past_track, WHOLE_CROP, self.past_sound, self.options.generating(references))

    def target(self, person: Person) -> Target:
        """What the drive asks for: the tracked face, or what the clip's own sound makes of the person."""
        if self.options.drive == "landmarks":
            return Tracked(self.track)
        assert self.real.speech is not None, "clips without a fitting sound are not chosen"
        drive = make_drive(person, self.real.speech, self.options.generating(), self.options.device)
        return Driven(person, drive)

    def shuffled_target(self, person: Person) -> Target:
        """The same for another clip's sound; where landmarks drive, head and blinks stay as tracked."""
        if self.options.drive == "audio":
            return Driven(person, make_drive(person, self.other, self.options.generating(), self.options.device))
        drive = make_drive(person, self.other, replace(self.options.generating(), motion="still"), self.options.device)
        blinks = blinks_of_video(eye_opening(deposed(self.track)), len(self))
        return Driven(person, replace(drive, pose=self.track.pose, blink=blinks))

    def recording(self, method: str, frames: Image) -> Recording:
        """Frames drawn for this case as metrics see them, beside the clip's own sound."""
        return record(f"{self.clip}, {method}", frames, self.real.speech, self.options)


def load_case(store: Store, meta: ClipMeta, other: ClipMeta, options: SuiteOptions) -> Case:
    """Read a clip of the store, and the sound of another; MediaError where one of them cannot be read."""
    limit = None if options.seconds is None else PAST / FPS + options.seconds
    clip, track = read_clip(store.crop(meta.clip), seconds=limit), store.track(meta.clip)
    length = min(len(clip), len(track))
    sound = None
    if meta.av_lag is not None:
        sound = in_step(read_speech(store.speech(meta.clip)), meta.av_lag)
        length = min(length, len(sound.samples) // SAMPLES_PER_FRAME)
    past, rest = slice(PAST), slice(PAST, length)
    speech = None if sound is None else _part(sound, rest)
    return Case(
        clip=meta.clip,
        past=Clip(clip.frames[past], clip.path),
        past_track=track.select(past),
        past_sound=None if sound is None else _part(sound, past),
        real=record(f"{meta.clip}, real", clip.frames[rest], speech, options),
        track=track.select(rest),
        other=_other_sound(store, meta, other, length - PAST),
        options=options,
    )


def record(name: str, frames: Image, speech: Speech | None, options: SuiteOptions) -> Recording:
    """Frames with their track; without one where no face is found in them."""
    tracker = backends.cached_tracker(options.tracker, options.weights)
    try:
        track = track_clip(Clip(frames, Path(name)), tracker, backends.load_face_model(options.weights))
    except NoFaceError:
        return Recording(name, frames, None, speech)
    return Recording(name, frames, track, speech)


def in_step(speech: Speech, lag: int) -> Speech:
    """The sound of a clip whose mouth trails it by ``lag`` frames (negative: leads), moved into step with it.

    The same convention as ``thcli.data.audio_motion.in_step``, where the mouth is moved: frame t + lag shows the mouth
    that spoke at t. Here the picture stays, so that the 64 frames are the same for every drive.
    """
    shift = lag * SAMPLES_PER_FRAME
    samples = np.pad(speech.samples, (shift, 0)) if shift > 0 else speech.samples[-shift:]
    return replace(speech, samples=samples)


def _other_sound(store: Store, meta: ClipMeta, other: ClipMeta, frames: int) -> Speech:
    """The sound of the other clip after its 64 frames, repeated where it is too short.

    Where there is no other clip it is the clip's own, out of step by half its length.
    """
    speech = _part(read_speech(store.speech(other.clip)), slice(PAST, other.frames))
    samples = np.resize(speech.samples, frames * SAMPLES_PER_FRAME)
    return replace(speech, samples=np.roll(samples, len(samples) // 2) if other == meta else samples)


def _part(speech: Speech, frames: slice) -> Speech:
    first, last = frames.start or 0, frames.stop
    return replace(speech, samples=speech.samples[first * SAMPLES_PER_FRAME : last * SAMPLES_PER_FRAME])
