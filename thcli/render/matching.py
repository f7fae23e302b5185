"""Which references each frame is made from: the best one for each part (§4.1), or several, blended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.pipeline.person import Person
from thcli.pipeline.target import Target
from thcli.records import Float
from thcli.render.matcher import (
    BASE,
    EYES,
    MOUTH,
    choose,
    cross_fade,
    eye_cost,
    mouth_cost,
    pose_cost,
    soften,
    turn_cost,
)

COST_CHUNK = 500
PARTS = (BASE, MOUTH, EYES)


@dataclass(frozen=True)
class Shares:
    """How much of each reference there is in the picture as a whole, the mouth and the eyes: [T, K], rows sum to 1."""

    base: Float
    mouth: Float
    eyes: Float

    def part(self, frames: slice) -> Shares:
        """Those of some frames."""
        return Shares(self.base[frames], self.mouth[frames], self.eyes[frames])


@dataclass(frozen=True)
class Costs:
    """What each reference costs for each frame and part: [T, K]; see ``render.matcher``."""

    base: Float
    mouth: Float
    eyes: Float

    def match(self) -> Shares:
        """The cheapest references through time, cross-faded where they change."""
        return Shares(*(
            cross_fade(choose(cost, part.change), cost.shape[1], part.fade)
            for cost, part in zip(self._all(), PARTS, strict=True)
        ))  # fmt: skip

    def blend(self) -> Shares:
        """The cheaper references by closeness, a few of them."""
        return Shares(*(soften(cost, part.closeness) for cost, part in zip(self._all(), PARTS, strict=True)))

    def _all(self) -> tuple[Float, Float, Float]:
        return self.base, self.mouth, self.eyes


def costs(person: Person, target: Target) -> Costs:
    """Of the person's references for the frames of a target."""
    pose, faces = person.track.pose[person.chosen], person.faces[person.chosen]
    parts: tuple[list[Float], list[Float], list[Float]] = ([], [], [])
    for first in range(0, len(target.pose), COST_CHUNK):
        chunk = slice(first, first + COST_CHUNK)
        wanted, wanted_pose = target.faces(chunk), target.pose[chunk]
        parts[0].append(pose_cost(wanted_pose, pose))
        parts[1].append(mouth_cost(wanted, faces) + turn_cost(wanted_pose, pose, MOUTH))
        parts[2].append(eye_cost(wanted, faces) + turn_cost(wanted_pose, pose, EYES))
    return Costs(*(np.concatenate(part) for part in parts))
