"""What a tracker backend must do, so that ``track_clip`` can follow one face with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from thcli.records import Float, Image


@dataclass(frozen=True)
class Detection:
    """A face found in a frame.

    box: [4] float32, x0, y0, x1, y1 in pixels of the frame, from chin to forehead and ear to ear, as of the mesh
    score: 0..1
    """

    box: Float
    score: float


class Tracker(Protocol):
    """A backend. Meshes are [478, 3] float32, pixels of the frame: x right, y down, z toward the camera, in the same
    unit as x and y, its origin free."""

    @property
    def name(self) -> str:
        """Name and version, as written into face tracks."""
        ...

    def detect(self, frame: Image) -> list[Detection]:
        """All faces of a frame [H, W, 3] uint8 RGB, in any order; none is an empty list."""
        ...

    def mesh(self, frame: Image, prior: Float) -> tuple[Float, float]:
        """The face at ``prior``, and a confidence 0..1 that there is one.

        prior: where it is expected: a box [4], or the mesh [478, 3] of the frame before.
        """
        ...
