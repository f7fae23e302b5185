"""The rows of the suite's tables. A new row is one function and one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from thcli.evaluation.baselines import nearest
from thcli.evaluation.suite.ablation import ABLATED, Draw, draw_by, draw_with, without_parts
from thcli.evaluation.suite.case import Case
from thcli.evaluation.suite.options import SuiteOptions
from thcli.evaluation.suite.trained import trained_ablations
from thcli.generate.session import load_theta
from thcli.generate.sidecar import weights_of_theta
from thcli.pipeline.person import Person
from thcli.pipeline.target import Target
from thcli.records import FaceTrack, Image
from thcli.render.geometric import AS_GENERATED


@dataclass(frozen=True)
class Method:
    """A row: how the frames after the first 64 are made.

    draw: frames [T, 256, 256, 3] of a case with K references
    uses_references: False where K makes no difference; such a row is drawn once
    weights: SHA-256 by name of those that not every row uses
    """

    name: str
    meaning: str
    draw: Callable[[Case, int], Image]
    uses_references: bool = True
    weights: Mapping[str, str] = field(default_factory=dict)


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


def _drawing(draw: Draw, target: Callable[[Case, Person], Target] = Case.target) -> Callable[[Case, int], Image]:
    def run(case: Case, references: int) -> Image:
        person = case.person(references)
        return np.stack(list(draw(person, target(case, person), case.options.device)))

    return run


REAL = Method("real", "the real video itself: what each metric says of a perfect copy", _real, False)
TRIVIAL = (
    REAL,
    Method("first frame", "the clip's first frame, held", _first_frame, False),
    Method(
        "nearest frame",
        "of the first 64 frames the nearest in head pose and lips to what the drive asks for, as it is",
        _nearest_frame,
        False,
    ),
)
"""Rows of every table that show nothing but the clip's own frames."""
GEOMETRIC = (
    Method(
        "warp",
        "the reference nearest in pose, warped onto the target mesh; mouth and eyes from the same warp",
        _drawing(draw_with(replace(AS_GENERATED, compose=without_parts))),
    ),
    Method(
        "geometric",
        "as `thgen generate --renderer warp` draws it: the warp, mouth and eyes from references of their own; no Θ",
        _drawing(draw_with(AS_GENERATED)),
    ),
)
"""Rows of every table that no network draws."""
SHUFFLED, THGEN = "shuffled audio", "thgen"


def choose_methods(options: SuiteOptions) -> tuple[Method, ...]:
    """The rows that every table holds, and the ablations asked for, on a device that ``resolve_device`` gave.

    Networks that draw are loaded here. Raises WeightsError where they are missing or not what they should be.
    """
    generating = options.generating()
    draw = draw_by(load_theta(generating, options.device))
    weights = weights_of_theta(generating, options.device)
    shuffled = Method(
        SHUFFLED,
        "thgen, driven by the sound of another clip; where landmarks drive, with the true head pose and blinks",
        _drawing(draw, Case.shuffled_target),
        weights=weights,
    )
    said = f"as `thgen generate --renderer {options.renderer}` draws it"
    thgen = Method(THGEN, said, _drawing(draw), weights=weights)
    return (*TRIVIAL, shuffled, *GEOMETRIC, thgen, *_ablations(options))


def _ablations(options: SuiteOptions) -> list[Method]:
    if options.ablation_weights is None:
        rows = [ABLATED[name] for name in options.ablations]
    else:
        rows = trained_ablations(options.ablation_weights, options.ablations, options.device)
    return [Method(row.title, row.meaning, _drawing(row.draw), weights=row.weights) for row in rows]
