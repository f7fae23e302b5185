"""Rows of the suite's tables; a new row takes one function and one entry here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from thcli.checkpoints import THETA, digest_of
from thcli.evaluation.baselines import nearest
from thcli.evaluation.suite.ablation import ABLATED, Render, render_by, render_with, without_parts
from thcli.evaluation.suite.case import Case
from thcli.evaluation.suite.frontal import render_frontal
from thcli.evaluation.suite.options import SuiteOptions
from thcli.evaluation.suite.trained import trained_ablations
from thcli.records import FaceTrack, Image, Person, Target
from thcli.render.geometric import DEFAULT_STEPS
from thcli.render.rasterizers import get_rasterizer


@dataclass(frozen=True)
class Method:
    """A row of the tables: one way to make the frames after the first 64.

    name: name of the row in tables
    meaning: description of the row, for the report
    render: makes the frames [T, 256, 256, 3] of a case with K references
    uses_references: whether K makes a difference; a row without it is rendered once
    weights: SHA-256 of the weights that not every row uses, by file name
    """

    name: str
    meaning: str
    render: Callable[[Case, int], Image]
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
    """Return a target in the form of a track, with the poses and meshes by which the nearest frame is chosen."""
    return replace(person.track, pose=target.pose, mesh=target.meshes(slice(frames)))


def _rendering(render: Render, target: Callable[[Case, Person], Target] = Case.target) -> Callable[[Case, int], Image]:
    """Return a ``Method.render`` that renders a case's person for one of its targets."""

    def run(case: Case, references: int) -> Image:
        person = case.person(references)
        return np.stack(list(render(case.models, person, target(case, person))))

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
"""Rows of every table that show unchanged frames of the clip."""
GEOMETRIC = (
    Method(
        "warp",
        "the reference nearest in pose, warped onto the target mesh; mouth and eyes from the same warp",
        _rendering(render_with(replace(DEFAULT_STEPS, compose=without_parts))),
    ),
    Method(
        "geometric",
        "as `thgen generate --renderer warp` draws it: the warp, mouth and eyes from references of their own; no Θ",
        _rendering(render_with(DEFAULT_STEPS)),
    ),
)
"""Rows of every table by the geometric renderer."""
FRONTAL, SHUFFLED, THGEN = "frontal texture", "shuffled audio", "thgen"


def choose_methods(options: SuiteOptions) -> tuple[Method, ...]:
    """Return the rows that every table holds, and the ablations asked for.

    Networks that render are loaded here; the device of the options must come from ``resolve_device``.

    Raises WeightsError where a network is missing or is not the expected one.
    """
    models, network = options.load_models(), options.renderer == "network"
    render = render_by(models.theta if network else None)
    weights = {THETA: digest_of(models.find(THETA))} if network else {}
    shuffled = Method(
        SHUFFLED,
        "thgen, driven by the sound of another clip; where landmarks drive, with the true head pose and blinks",
        _rendering(render, Case.shuffled_target),
        weights=weights,
    )
    said = f"as `thgen generate --renderer {options.renderer}` draws it"
    thgen = Method(THGEN, said, _rendering(render), weights=weights)
    frontal = Method(
        FRONTAL,
        "the paper's projected image: the textured mesh of the most frontal reference under the target's head pose, "
        "laid over that reference",
        _rendering(render_frontal(get_rasterizer(options.rasterizer))),
    )
    return (*TRIVIAL, shuffled, frontal, *GEOMETRIC, thgen, *_ablations(options))


def _ablations(options: SuiteOptions) -> list[Method]:
    if options.ablation_weights is None:
        rows = [ABLATED[name] for name in options.ablations]
    else:
        rows = trained_ablations(options.ablation_weights, options.ablations, options.device)
    return [Method(row.title, row.meaning, _rendering(row.render), weights=row.weights) for row in rows]
