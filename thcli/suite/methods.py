"""The rows of the suite's tables. A new row is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from thcli.evaluation.baselines import nearest
from thcli.pipeline.person import Person
from thcli.pipeline.sketch import AS_GENERATED
from thcli.pipeline.target import Target
from thcli.records import FaceTrack, Image
from thcli.suite.ablation import ABLATED, Draw, draw_with, without_parts
from thcli.suite.case import Case
from thcli.suite.options import SuiteOptions


@dataclass(frozen=True)
class Method:
    """A row: how the frames after the first 64 are made.

    draw: frames [T, 256, 256, 3] of a case with K references
    uses_references: False where K makes no difference; such a row is drawn once
    """

    name: str
    meaning: str
    draw: Callable[[Case, int], Image]
    uses_references: bool = True


def _real(case: Case, references: int) -> Image:
    return case.real.frames


def _first_frame(case: Case, references: int) -> Image:
    return np.repeat(case.past.frames[:1], len(case), axis=0)


def _nearest_frame(case: Case, references: int) -> Image:
    person = case.person(1)
    wanted = _as_track(person, case.target(person), len(case))
    return case.past.frames[nearest(case.past_track, wanted)]


def _as_track(person: Person, target: Target, frames: int) -> FaceTrack:
    """The target as if it had been tracked: poses and meshes, which is what the nearest frame is chosen by."""
    return replace(person.track, pose=target.pose, mesh=target.meshes(slice(frames)))


def _shuffled_audio(case: Case, references: int) -> Image:
    person = case.person(references)
    return _drawn(case, person, case.shuffled_target(person), draw_with(AS_GENERATED))


def _drawing(draw: Draw) -> Callable[[Case, int], Image]:
    def run(case: Case, references: int) -> Image:
        person = case.person(references)
        return _drawn(case, person, case.target(person), draw)

    return run


def _drawn(case: Case, person: Person, target: Target, draw: Draw) -> Image:
    return np.stack(list(draw(person, target, case.options.device)))


REAL = Method("real", "the real video itself: what each metric says of a perfect copy", _real, False)
METHODS = (
    REAL,
    Method("first frame", "the clip's first frame, held", _first_frame, False),
    Method(
        "nearest frame",
        "of the first 64 frames the nearest in head pose and lips to what the drive asks for, as it is",
        _nearest_frame,
        False,
    ),
    Method(
        "shuffled audio",
        "thgen, driven by the sound of another clip; where landmarks drive, with the true head pose and blinks",
        _shuffled_audio,
    ),
    Method(
        "warp",
        "the reference nearest in pose, warped onto the target mesh; mouth and eyes from the same warp",
        _drawing(draw_with(replace(AS_GENERATED, compose=without_parts))),
    ),
    Method("thgen", "as `thgen generate` draws it", _drawing(draw_with(AS_GENERATED))),
)
"""Those that every table holds."""


def choose_methods(options: SuiteOptions) -> tuple[Method, ...]:
    """The rows that every table holds, and the ablations asked for."""
    ablated = [ABLATED[name] for name in options.ablations]
    return METHODS + tuple(Method(one.title, one.meaning, _drawing(one.draw)) for one in ablated)
