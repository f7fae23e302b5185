"""Last step of the pipeline: frames of a person who moves as motion curves say."""

from __future__ import annotations

from collections.abc import Iterator

from thcli.forks import Forks, forks_of
from thcli.pipeline.models import Models
from thcli.pipeline.target import DrivenTarget
from thcli.records import Image, MotionCurves, Person
from thcli.render.frames import TargetRenderer


def render_frames(
    models: Models, person: Person, curves: MotionCurves, renderer: str = "network", workers: int | None = None
) -> Iterator[Image]:
    """Yield the frames [H, W, 3] uint8 of a person who moves as the curves say, at 25 fps.

    renderer: ``network``, Θ over the images of the geometric renderer, or ``warp``, those images as they are
    workers: number of processes that render, see ``thcli.forks``; None for one on each usable core

    A person that was read with ``ReferenceOptions(frame="full")`` is shown in whole frames, any other in a square crop.
    """
    theta = models.theta if renderer == "network" else None
    work = TargetRenderer(models, person, DrivenTarget(person, models.face_model, curves), theta=theta)
    with Forks(work.render, forks_of(models.device, workers)) as forks:
        for frames in forks.map(work.parts):
            yield from frames
