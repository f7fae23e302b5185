"""Advice on a reference and on a recording: what is wrong and what to do; for ``thgen inspect`` and the report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.records import Float

AXES = ("nod", "turn", "tilt")
"""Names of the head's rotations about x, y and z."""
SHORTEST = 2.0
"""Length in seconds below which a clip is short."""
SMALLEST_FACE = 64
"""Height in px below which a face is small."""
FAR_TURN = 35.0
"""Median turn of the head in degrees above which it is turned far to the side."""
STILL_TURN = 1.0
"""Standard deviation in degrees of the head's rotation below which the head hardly moves."""
EYES_SHUT = 0.12
"""Eye opening below which the eyes are shut, as a share of eye width."""
MOUTH_OPEN = 0.05
"""Mouth opening above which the mouth is open, as a share of the distance of the outer eye corners."""
CUT = 0.02
"""Share of the face beyond the border of the image above which the face is cut; smaller ones are tracking errors."""
SEEN_ENOUGH = 0.95
"""Share of frames with a face below which the face is often lost."""
CLIPPED = 0.001
"""Share of samples at full scale above which audio is clipped; in loud recordings it is below a hundredth of this."""
QUIET = -45.0
"""Level of the speech in dBFS below which audio is quiet."""
NOISY = 12.0
"""Level in dB of the speech above the rest of the audio, below which the audio is noisy."""
LONG_PAUSE = 5.0
"""Length in seconds from which a pause is long."""


@dataclass(frozen=True)
class Advice:
    """One piece of advice.

    key: fixed name, for programs
    text: line that says what is wrong and what to do
    """

    key: str
    text: str


@dataclass(frozen=True)
class ClipStats:
    """Measurements of a reference.

    seconds: length of the clip, 0 for a photo
    tracked: share of frames in which the face was found
    face_height: median height of the face, px
    outside: median share of the face beyond the border of the image
    rotation: [T, 3] rotation of the head, degrees
    mouth: [T] opening of the mouth as a share of the distance of the outer eye corners
    eyes: [T] gap of the lids as a share of eye width
    """

    seconds: float
    tracked: float
    face_height: float
    outside: float
    rotation: Float
    mouth: Float
    eyes: Float


@dataclass(frozen=True)
class SpeechStats:
    """Measurements of a recording.

    seconds: length of the recording
    clipped: share of the file's samples that are at full scale
    loudness: [T] level of each frame, dBFS
    activity: [T] share of each frame that is speech
    level: level of the speech, dBFS; None without speech
    noise: level of the rest, dBFS; None where there is hardly any rest
    pause: (begin, end) of the longest stretch without speech, seconds
    """

    seconds: float
    clipped: float
    loudness: Float
    activity: Float
    level: float | None
    noise: float | None
    pause: tuple[float, float]


def on_reference(stats: ClipStats) -> list[Advice]:
    """Return advice for a better reference; empty where nothing is wrong."""
    moving, closed = bool(stats.seconds), float(stats.mouth.max()) < MOUTH_OPEN
    turn = np.abs(stats.rotation[:, 1])
    found = [
        (0 < stats.seconds < SHORTEST, "reference_short",
         f"{stats.seconds:.1f} s is short: three seconds show how the head moves"),
        (stats.face_height < SMALLEST_FACE, "face_small",
         f"the face is small: the picture is soft below {SMALLEST_FACE} pixels"),
        (stats.outside > CUT, "face_cut",
         f"the picture's border cuts off {stats.outside:.0%} of the face: choose a picture or a part that shows all of "
         "it, with room around it"),
        (stats.tracked < SEEN_ENOUGH, "face_lost",
         "the face is often lost: choose a part with --start where it is in full view"),
        (float(np.median(turn)) > FAR_TURN, "face_turned",
         "the head is turned far to the side: choose a more frontal part"),
        (moving and float(stats.rotation.std(axis=0).max()) < STILL_TURN, "reference_still",
         "the head hardly moves: the video's will move as little; --motion VIDEO can lend it another's"),
        (float(stats.eyes.max()) < EYES_SHUT, "eyes_closed",
         "the eyes are never open: choose a part where they are"),
        (closed and moving, "mouth_closed",
         "the mouth is never open: its inside will be made up; choose a part where the person speaks"),
        (closed and not moving, "mouth_closed",
         "the mouth is closed: its inside will be made up; a clip of the person speaking shows it"),
    ]  # fmt: skip
    return [Advice(key, text) for applies, key, text in found if applies]


def on_speech(stats: SpeechStats) -> list[Advice]:
    """Return advice for a better recording; empty where nothing is wrong."""
    if stats.level is None:
        return [Advice("no_speech", "no speech is heard in the sound: the mouth stays closed; give another recording")]
    begin, end = stats.pause
    found = [
        (stats.clipped > CLIPPED, "clipped",
         f"the sound is clipped: {stats.clipped:.1%} of its samples are at full scale, which blurs what the lips "
         "follow; record it again with less gain"),
        (stats.level < QUIET, "quiet",
         f"the sound is very quiet: its speech is at {stats.level:.0f} dBFS; record it closer or with more gain"),
        (stats.noise is not None and stats.level - stats.noise < NOISY, "noisy",
         f"the sound is noisy: its speech is only {stats.level - (stats.noise or 0):.0f} dB above the rest; take music "
         "and noise out first"),
        (end - begin >= LONG_PAUSE, "long_pause",
         f"no speech from {begin:.1f} to {end:.1f} s: the mouth rests there; cut the pause if that is not meant"),
    ]  # fmt: skip
    return [Advice(key, text) for applies, key, text in found if applies]
