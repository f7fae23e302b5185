"""Interface of a tracker backend, with which ``track_clip`` follows one face."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from thcli.records import Float, Image


@dataclass(frozen=True)
class Detection:
    """A face found in a frame.

    box: [4] float32, x0, y0, x1, y1 in pixels of the frame, from chin to forehead and ear to ear, as the mesh's box
    score: confidence in 0..1 that there is a face
    """

    box: Float
    score: float


class Tracker(Protocol):
    """A tracker backend.

    Meshes are [478, 3] float32, pixels of the frame: x to the right, y down, z toward the camera with any origin.
    """

    @property
    def name(self) -> str:
        """Name and version, as stored in face tracks."""
        ...

    def detect(self, frame: Image) -> list[Detection]:
        """Find all faces of a frame [H, W, 3] uint8 RGB, in any order."""
        ...

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """Return the mesh of the face at ``prior``, and the confidence in 0..1 that there is a face.

        prior: expected place of the face: a box [4], or the mesh [478, 3] of the previous frame
        """
        ...
