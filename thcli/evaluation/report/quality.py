"""The figures of a report, each beside what is normal, and the warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import gaussian_filter1d

from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.report.job import Job
from thcli.evaluation.report.normal import HEAD_RATIO, NORMAL, OWN_RANGE, Normal
from thcli.evaluation.report.seen import Seen
from thcli.inspection.advice import AXES, Advice, on_reference, on_sound
from thcli.motion.head import ALWAYS_SUPPORTED, TRACKER_NOISE, manner, support, windowed_deviation
from thcli.records import Float
from thcli.rotations import placement

FEW_REFERENCES = 4
BEYOND = NORMAL["outside_range"].high or 0.0
"""Share of frames turned beyond what the references support from which that is a warning."""
LEAST_OPENING = 0.005
"""Standard deviation of a mouth's opening below which it does not move and correlates with nothing."""


@dataclass(frozen=True)
class Kind:
    """What a figure of a report is.

    name: for programs; title, unit, digits: as shown; a ``share`` (0..1) is shown in per cent
    meaning: what is measured; remedy: what to do where it is not as it should be
    """

    name: str
    title: str
    unit: str
    digits: int
    meaning: str
    remedy: str


_HEAD_REMEDY = "Change --motion-scale or --seed; the clip's own motion counts as normal."
KINDS = (
    Kind("face_found", "Face found again", "share", 1, "Frames in which the tracker finds the face.",
         "Distortion hides it: lower --motion-scale, or choose a more frontal reference."),
    Kind("opening_followed", "Mouth does what was asked", "", 2,
         "Correlation of the mouth opening seen in the video with the one that was asked for.",
         "It cannot where the reference hardly opens it: choose a reference in which the person speaks."),
    Kind("loudness_correlation", "Mouth follows the sound", "", 2,
         "Correlation of the mouth opening seen with how open it sounds, at the best lag.",
         "Clean or louder speech helps; music and other voices mislead the mouth."),
    Kind("loudness_lag", "Mouth behind the sound", "frames", 1,
         "Frames of 40 ms by which the mouth trails the sound; below 0 it leads.",
         "Little to trust where the correlation above is low."),
    *(Kind(f"head_{axis}", f"Head motion: {axis}", "°", 1,
           f"Spread of the {axis} within three seconds.", _HEAD_REMEDY) for axis in AXES),
    Kind("outside_range", "Turned beyond the references", "share", 1,
         "Frames whose head is turned further than the references support.",
         "Lower --motion-scale, or give a reference that moves more."),
    Kind("jitter", "Jitter", "°/frame³", 2, "Trembling of the head: mean third difference of its rotation.",
         "A larger and sharper face in the reference trembles less."),
    Kind("blink_rate", "Blinks", "a minute", 0, "How often the eyes close.", "Set --blink SECONDS."),
    Kind("mouth_sharpness", "Sharpness of the mouth", "", 2,
         "Detail in the mouth region over that in the nearest reference frames.",
         "More or sharper frames of the mouth help: raise --references."),
    Kind("csim", "Likeness", "", 2, "Cosine of an identity network's features with the nearest reference frames'.",
         "A more frontal or sharper reference keeps the person's features better."),
)  # fmt: skip


@dataclass(frozen=True)
class Quality:
    """A figure, what is normal for it, and what to think of it.

    kind: what it is; figure: the value, and why there is none; normal: the range
    reference: the same of the reference clip, where that can be known
    """

    kind: Kind
    figure: Figure
    normal: Normal
    reference: float | None = None

    @property
    def verdict(self) -> Literal["ok", "note", "none"]:
        """``note`` outside the range, ``none`` without a value."""
        value = self.figure.value
        if value is None:
            return "none"
        low, high = self.normal.low, self.normal.high
        inside = (low is None or value >= low) and (high is None or value <= high)
        return "ok" if inside else "note"


def qualities(job: Job, seen: Seen) -> list[Quality]:
    """All figures, in the order of ``KINDS``."""
    figures = {
        "face_found": Figure(float(seen.found.mean()), len(seen.found)),
        "opening_followed": correlation(seen.mouth, job.asked),
        "outside_range": outside_range(job.track.pose, seen.pose),
        **{f"head_{axis}": figure for axis, figure in zip(AXES, head_motion(seen.pose), strict=True)},
        **seen.figures,
    }
    own = head_motion(job.track.pose) if job.look.seconds else [not_computed("the reference is a photo")] * len(AXES)
    beside = {f"head_{axis}": figure.value for axis, figure in zip(AXES, own, strict=True)}
    return [
        Quality(kind, figures[kind.name], normal_of(kind.name, beside.get(kind.name)), beside.get(kind.name))
        for kind in KINDS
    ]


def normal_of(name: str, own: float | None) -> Normal:
    """The range for a figure; where the reference shows the person's ``own``, it lies around that."""
    usual = NORMAL[name]
    if own is None or usual.low is None or usual.high is None:
        return usual
    return Normal(own * HEAD_RATIO[0], own * HEAD_RATIO[1], OWN_RANGE)


def correlation(seen: Float, asked: Float) -> Figure:
    """Pearson's, over the frames [T] that were seen."""
    known = np.isfinite(seen)
    if not known.any():
        return not_computed("no face found")
    if min(seen[known].std(), asked[known].std()) < LEAST_OPENING:
        return not_computed("the mouth hardly moves")
    return Figure(float(np.corrcoef(seen[known], asked[known])[0, 1]), int(known.sum()))


def head_motion(pose: Float) -> list[Figure]:
    """Standard deviation of nod, turn and tilt within three seconds, degrees; poses [T, 6]."""
    known = pose[np.isfinite(pose[:, 0])]
    if len(known) < 2:
        return [not_computed("no face found")] * len(AXES)
    smooth = gaussian_filter1d(np.asarray(known, np.float64), TRACKER_NOISE, axis=0, mode="nearest")
    return [Figure(float(value), len(known)) for value in np.degrees(windowed_deviation(smooth)[: len(AXES)])]


def outside_range(past_pose: Float, pose: Float) -> Figure:
    """Share of poses [T, 6] whose turn lies beyond what a reference of poses [τ, 6] supports (``head.support``)."""
    known = pose[np.isfinite(pose[:, 0])]
    if not len(known):
        return not_computed("no face found")
    person = manner(placement(np.asarray(past_pose, np.float64)))
    smooth = gaussian_filter1d(placement(np.asarray(known, np.float64)), TRACKER_NOISE, axis=0, mode="nearest")
    limit = np.maximum(support(person) * person.range, ALWAYS_SUPPORTED)
    beyond = (np.abs(smooth - person.mean) > limit)[:, : len(AXES)].any(axis=1)
    return Figure(float(beyond.mean()), len(known))


def warnings(job: Job, figures: list[Quality]) -> list[Advice]:
    """What is wrong with reference, sound and motion, and what to do."""
    references, moving = len(job.references), bool(job.look.seconds)
    beyond = next(q.figure.value for q in figures if q.kind.name == "outside_range")
    found = [
        (not moving, "reference_photo",
         "the reference is a photo: the head moves in a usual way, not this person's; a clip of three seconds shows "
         "it, and the inside of the mouth"),
        (moving and references < FEW_REFERENCES, "few_references",
         f"the picture is made of {references} frame{'s' if references > 1 else ''} of the clip: --references 8 gives "
         "it more to choose from"),
        (beyond is not None and beyond > BEYOND, "pose_out_of_range",
         f"the head turns beyond what the references show in {beyond or 0:.0%} of the frames, which distorts it: lower "
         "--motion-scale, or give a reference that moves more"),
    ]  # fmt: skip
    own = [Advice(key, text) for applies, key, text in found if applies]
    return [*own, *on_reference(job.look), *on_sound(job.sound)]
