"""The two kinds of ``Target``: a person's face moved by motion curves, and a face as it was tracked."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from thcli.face_model import CLOSED_EYES, FaceModel, eye_opening
from thcli.records import FaceTrack, Float, MotionCurves, Person
from thcli.rotations import apply_pose, to_pixels

WIDEST_EYES = 1.3
"""Largest ratio of a person's eye opening, measured from closed lids, to that of the canonical face."""


@dataclass(frozen=True)
class DrivenTarget:
    """A person's face moved by motion curves: Eq. 1 with the expression of every frame."""

    person: Person
    model: FaceModel
    curves: MotionCurves

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.curves.pose

    def unposed_meshes(self, frames: slice) -> Float:
        """The neutral mesh with the expression and blink of some frames: [B, V, 3], canonical face units."""
        return self.person.neutral_mesh + self.model.displacement(*self.coefficients(frames))

    def coefficients(self, frames: slice) -> tuple[Float, Float]:
        """Return the factors that move the neutral mesh in some frames: of the basis [B, N] and of the blink [B]."""
        person, model = self.person, self.model
        # The lids of narrow eyes have a shorter distance to close over.
        own_way, usual_way = (float(eye_opening(mesh)) - CLOSED_EYES for mesh in (person.neutral_mesh, model.canonical))
        width = max(own_way, 0) / max(usual_way, 1e-3)
        change = self.curves.expression[frames] - person.median_expression
        return change, self.curves.blink[frames] * np.float32(min(width, WIDEST_EYES))

    def meshes(self, frames: slice) -> Float:
        """The meshes of some frames under their head poses: [B, V, 3], px of the crop."""
        posed = apply_pose(self.unposed_meshes(frames), self.curves.pose[frames])
        return to_pixels(posed, self.person.track.scale, self.person.track.size).astype(np.float32)


@dataclass(frozen=True)
class TrackedTarget:
    """A face as it was tracked in the same crop, with the same scale: the landmark-driven mode of Table 2."""

    track: FaceTrack

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.track.pose

    def unposed_meshes(self, frames: slice) -> Float:
        """The tracked meshes of some frames with the head pose removed: [B, V, 3], canonical face units."""
        return self.track.select(frames).unposed()

    def meshes(self, frames: slice) -> Float:
        """The tracked meshes of some frames: [B, V, 3], px of the crop."""
        return self.track.mesh[frames]
