"""What the frames of a video are to show: the face that a drive asks for, or one that was tracked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from thcli.face_model import CLOSED_EYES, eye_opening
from thcli.faces.pose import deposed, to_pixels
from thcli.pipeline.person import Person
from thcli.records import Drive, FaceTrack, Float
from thcli.rotations import apply_pose


class Target(Protocol):
    """A face for every frame, in the person's crop."""

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""

    def faces(self, frames: slice) -> Float:
        """De-posed meshes [B, V, 3] of a part of the frames, canonical units."""

    def meshes(self, frames: slice) -> Float:
        """The same in place: [B, V, 3] in pixels of the crop."""


@dataclass(frozen=True)
class Driven:
    """The person's face moved by a drive: Eq. 1 with the expression of every frame."""

    person: Person
    drive: Drive

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.drive.pose

    def faces(self, frames: slice) -> Float:
        """The neutral face, and on it expression and blink."""
        person = self.person
        # lids of narrow eyes have a shorter way to go
        own_way, usual_way = (
            float(eye_opening(face)) - CLOSED_EYES for face in (person.neutral, person.model.canonical)
        )
        width = max(own_way, 0) / max(usual_way, 1e-3)
        change = self.drive.expression[frames] - person.usual
        return person.neutral + person.model.displacement(
            change, self.drive.blink[frames] * np.float32(min(width, 1.3))
        )

    def meshes(self, frames: slice) -> Float:
        """The faces, posed."""
        posed = apply_pose(self.faces(frames), self.drive.pose[frames])
        return to_pixels(posed, self.person.track.scale, self.person.track.size).astype(np.float32)


@dataclass(frozen=True)
class Tracked:
    """A face as it was tracked in the same crop, with the same scale: the landmark-driven mode of Table 2."""

    track: FaceTrack

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.track.pose

    def faces(self, frames: slice) -> Float:
        """The tracked meshes without their pose."""
        return deposed(self.track.select(frames))

    def meshes(self, frames: slice) -> Float:
        """The tracked meshes."""
        return self.track.mesh[frames]
