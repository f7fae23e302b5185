"""Last step of the pipeline: frames of a person who moves as motion curves say."""

from __future__ import annotations

from collections.abc import Iterator

from thcli.pipeline.models import Models
from thcli.pipeline.target import DrivenTarget
from thcli.records import Image, MotionCurves, Person
from thcli.render.frames import render_target


def render_frames(models: Models, person: Person, curves: MotionCurves, renderer: str = "network") -> Iterator[Image]:
    """Yield the frames [H, W, 3] uint8 of a person who moves as the curves say, at 25 fps.

    renderer: ``network``, Θ over the images of the geometric renderer, or ``warp``, those images as they are

    A person that was read with ``ReferenceOptions(frame="full")`` is shown in whole frames, any other in a square crop.
    """
    theta = models.theta if renderer == "network" else None
    target = DrivenTarget(person, models.face_model, curves)
    return render_target(models, person, target, theta=theta)
