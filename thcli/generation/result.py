"""Records that ``generate`` returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from thcli.pipeline.options import Stream


@dataclass(frozen=True)
class FineTuneReport:
    """Outcome of fine-tuning (``--adapt``), measured on frames of the clip that were not trained on.

    steps: training steps
    kept: ``adapted``, or ``original`` where training made Θ no better on those frames
    before, after: figures before and after training: ``ssim``; ``mouth``, mean absolute difference around the mouth,
        of 255; ``sharpness``, that of the mouth over the real one's; ``score``, lower is better
    """

    steps: int
    kept: str
    before: Mapping[str, float]
    after: Mapping[str, float]


@dataclass(frozen=True)
class LearnedPart:
    """Part of the clip that articulation, blinks and range of motion were learned from (``--learn-from``).

    start: second of the clip at which it begins
    seconds: its length
    speech_seconds: length of its audio that articulation was learned from
    """

    start: float
    seconds: float
    speech_seconds: float


@dataclass(frozen=True)
class Result:
    """A finished video.

    output: the file, or ``-`` for standard output
    frames: number of frames, at 25 fps
    size: (width, height) of each frame, px
    seconds: time that each stage took
    device: device on which the networks ran
    notes: lines on options and inputs that may make the video worse than expected
    warnings: lines of the report on faults of the video and their remedies; empty without a report
    fine_tuned: outcome of fine-tuning; None where Θ was not fine-tuned
    learned: part of the clip that the person's motion was learned from; None for a photo
    dubbed: seconds of a dubbed video whose lips are new; None for a video that was generated
    """

    output: Path | Stream
    frames: int
    size: tuple[int, int]
    seconds: Mapping[str, float]
    device: str
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    fine_tuned: FineTuneReport | None = None
    learned: LearnedPart | None = None
    dubbed: float | None = None
