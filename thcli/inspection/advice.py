"""Advice on a reference and on a sound: what is so, and what to do. ``inspect`` and the report say it alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.records import Float

AXES = ("nod", "turn", "tilt")
"""Head rotation about x, y, z."""
SHORTEST, SMALLEST_FACE = 2.0, 64
FAR_TURN = 35.0
STILL_TURN = 1.0
EYES_SHUT = 0.12
"""Eye opening below which the eyes are shut."""
MOUTH_OPEN = 0.05
CUT = 0.02
"""Share of the face beyond the picture's border; trackers are not more exact than that."""
SEEN_ENOUGH = 0.95
CLIPPED = 0.001
"""Share of samples at full scale: in recordings that are merely loud it is below a hundredth of this."""
QUIET = -45.0
"""Level of the speech, dBFS."""
NOISY = 12.0
"""dB by which speech stands out from what is heard beside it."""
LONG_PAUSE = 5.0


@dataclass(frozen=True)
class Advice:
    """One piece of it.

    key: a name that stays, for programs; text: what is so and what to do, in a line
    """

    key: str
    text: str


@dataclass(frozen=True)
class Look:
    """What a reference shows.

    seconds: length of the picture, 0 for a photo
    tracked: share of frames in which the face was seen
    face_height: median, px
    outside: share of the face beyond the border of the picture, median
    rotation: [T, 3] degrees; mouth: [T] opening over the distance of the outer eye corners; eyes: [T] lid gap over
        eye width
    """

    seconds: float
    tracked: float
    face_height: float
    outside: float
    rotation: Float
    mouth: Float
    eyes: Float


@dataclass(frozen=True)
class Sound:
    """What a recording is like.

    seconds: its length; clipped: share of samples at full scale, as the file has them
    loudness: [T] dBFS a frame; activity: [T] share of each frame that is speech
    level: dBFS of the speech, None without any; noise: dBFS of the rest, None where there is next to none
    pause: (begin, end) of the longest stretch without speech, seconds
    """

    seconds: float
    clipped: float
    loudness: Float
    activity: Float
    level: float | None
    noise: float | None
    pause: tuple[float, float]


def on_reference(look: Look) -> list[Advice]:
    """What a better reference would have; empty where there is nothing to say."""
    moving, closed = bool(look.seconds), float(look.mouth.max()) < MOUTH_OPEN
    turn = np.abs(look.rotation[:, 1])
    found = [
        (0 < look.seconds < SHORTEST, "reference_short",
         f"{look.seconds:.1f} s is short: three seconds show how the head moves"),
        (look.face_height < SMALLEST_FACE, "face_small",
         f"the face is small: the picture is soft below {SMALLEST_FACE} pixels"),
        (look.outside > CUT, "face_cut",
         f"the picture's border cuts off {look.outside:.0%} of the face: choose a picture or a part that shows all of "
         "it, with room around it"),
        (look.tracked < SEEN_ENOUGH, "face_lost",
         "the face is often lost: choose a part with --start where it is in full view"),
        (float(np.median(turn)) > FAR_TURN, "face_turned",
         "the head is turned far to the side: choose a more frontal part"),
        (moving and float(look.rotation.std(axis=0).max()) < STILL_TURN, "reference_still",
         "the head hardly moves: the video's will move as little; --motion VIDEO can lend it another's"),
        (float(look.eyes.max()) < EYES_SHUT, "eyes_closed",
         "the eyes are never open: choose a part where they are"),
        (closed and moving, "mouth_closed",
         "the mouth is never open: its inside will be made up; choose a part where the person speaks"),
        (closed and not moving, "mouth_closed",
         "the mouth is closed: its inside will be made up; a clip of the person speaking shows it"),
    ]  # fmt: skip
    return [Advice(key, text) for applies, key, text in found if applies]


def on_sound(sound: Sound) -> list[Advice]:
    """What a better recording would have; empty where there is nothing to say."""
    if sound.level is None:
        return [Advice("no_speech", "no speech is heard in the sound: the mouth stays closed; give another recording")]
    begin, end = sound.pause
    found = [
        (sound.clipped > CLIPPED, "clipped",
         f"the sound is clipped: {sound.clipped:.1%} of its samples are at full scale, which blurs what the lips "
         "follow; record it again with less gain"),
        (sound.level < QUIET, "quiet",
         f"the sound is very quiet: its speech is at {sound.level:.0f} dBFS; record it closer or with more gain"),
        (sound.noise is not None and sound.level - sound.noise < NOISY, "noisy",
         f"the sound is noisy: its speech is only {sound.level - (sound.noise or 0):.0f} dB above the rest; take music "
         "and noise out first"),
        (end - begin >= LONG_PAUSE, "long_pause",
         f"no speech from {begin:.1f} to {end:.1f} s: the mouth rests there; cut the pause if that is not meant"),
    ]  # fmt: skip
    return [Advice(key, text) for applies, key, text in found if applies]
