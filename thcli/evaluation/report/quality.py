"""Figures of a report, each beside its normal range, and warnings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.report.job import FinishedVideo
from thcli.evaluation.report.measured import MeasuredVideo
from thcli.evaluation.report.normal import HEAD_RATIO, NORMAL, OWN_RANGE, Normal
from thcli.inspection.advice import AXES, Advice, on_reference, on_speech
from thcli.motion.head import ALWAYS_SUPPORTED, TRACKER_NOISE, motion_style, supported_range, windowed_deviation
from thcli.records import Float
from thcli.rotations import placement
from thcli.smoothing import smoothed

FEW_REFERENCES = 4
"""Number of references below which a warning is given."""
BEYOND = NORMAL["outside_range"].high or 0.0
"""Share of frames turned beyond what the references support above which a warning is given."""
LEAST_OPENING = 0.005
"""Least standard deviation of a mouth's opening; with a smaller one the mouth does not move and has no correlation."""


@dataclass(frozen=True)
class Kind:
    """Description of a figure of a report.

    name: key for programs
    title: heading in the page
    unit: unit in the page; a ``share`` (0..1) is shown in per cent
    digits: decimals in the page
    meaning: what is measured
    remedy: what to do where the value is not normal
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
    """A figure beside its normal range.

    kind: description of the figure
    figure: its value, or the reason why there is none
    normal: its normal range
    reference: its value for the reference clip; None where that is not known
    """

    kind: Kind
    figure: Figure
    normal: Normal
    reference: float | None = None

    @property
    def verdict(self) -> Literal["ok", "note", "none"]:
        """Verdict on the value: ``ok`` within the normal range, ``note`` outside it, ``none`` without a value."""
        value = self.figure.value
        if value is None:
            return "none"
        low, high = self.normal.low, self.normal.high
        inside = (low is None or value >= low) and (high is None or value <= high)
        return "ok" if inside else "note"


def qualities(job: FinishedVideo, measured: MeasuredVideo) -> list[Quality]:
    """Return all figures in the order of ``KINDS``."""
    figures = {
        "face_found": Figure(float(measured.found.mean()), len(measured.found)),
        "opening_followed": correlation(measured.mouth, job.asked),
        "outside_range": outside_range(job.track.pose, measured.pose),
        **{f"head_{axis}": figure for axis, figure in zip(AXES, head_motion(measured.pose), strict=True)},
        **measured.figures,
    }
    own = (
        head_motion(job.track.pose)
        if job.clip_stats.seconds
        else [not_computed("the reference is a photo")] * len(AXES)
    )
    beside = {f"head_{axis}": figure.value for axis, figure in zip(AXES, own, strict=True)}
    return [
        Quality(kind, figures[kind.name], normal_of(kind.name, beside.get(kind.name)), beside.get(kind.name))
        for kind in KINDS
    ]


def normal_of(name: str, own: float | None) -> Normal:
    """Return the normal range of a figure; it lies around the person's ``own`` value where the reference shows one."""
    usual = NORMAL[name]
    if own is None or usual.low is None or usual.high is None:
        return usual
    return Normal(own * HEAD_RATIO[0], own * HEAD_RATIO[1], OWN_RANGE)


def correlation(measured: Float, asked: Float) -> Figure:
    """Compute Pearson's correlation of measured openings [T] and those asked for, over frames with a face."""
    known = np.isfinite(measured)
    if not known.any():
        return not_computed("no face found")
    if min(measured[known].std(), asked[known].std()) < LEAST_OPENING:
        return not_computed("the mouth hardly moves")
    return Figure(float(np.corrcoef(measured[known], asked[known])[0, 1]), int(known.sum()))


def head_motion(pose: Float) -> list[Figure]:
    """Compute the spread of nod, turn and tilt in degrees from poses [T, 6].

    It is the standard deviation within windows of three seconds (``motion.head.windowed_deviation``).
    """
    known = pose[np.isfinite(pose[:, 0])]
    if len(known) < 2:
        return [not_computed("no face found")] * len(AXES)
    smooth = smoothed(np.asarray(known, np.float64), TRACKER_NOISE)
    return [Figure(float(value), len(known)) for value in np.degrees(windowed_deviation(smooth)[: len(AXES)])]


def outside_range(past_pose: Float, pose: Float) -> Figure:
    """Compute the share of poses [T, 6] that turn further than a reference with poses [τ, 6] supports.

    The limit is that of ``motion.head.supported_range``.
    """
    known = pose[np.isfinite(pose[:, 0])]
    if not len(known):
        return not_computed("no face found")
    style = motion_style(placement(np.asarray(past_pose, np.float64)))
    smooth = smoothed(placement(np.asarray(known, np.float64)), TRACKER_NOISE)
    limit = np.maximum(supported_range(style) * style.range, ALWAYS_SUPPORTED)
    beyond = (np.abs(smooth - style.mean) > limit)[:, : len(AXES)].any(axis=1)
    return Figure(float(beyond.mean()), len(known))


def warnings(job: FinishedVideo, figures: list[Quality]) -> list[Advice]:
    """Return what is wrong with reference, motion and speech, and what to do about it."""
    references, moving = len(job.references), bool(job.clip_stats.seconds)
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
    return [*own, *on_reference(job.clip_stats), *on_speech(job.sound)]
