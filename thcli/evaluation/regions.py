"""Squares around the mouth, in which metrics of the mouth are measured."""

from __future__ import annotations

import numpy as np

from thcli.face_model import OUTER_LIPS
from thcli.records import CROP_SIZE, FaceTrack

SIDE = 1.4
"""Side of the square around the mouth, in multiples of the longer side of the lips' bounding box."""
Square = tuple[slice, slice]
"""Rows and columns of an image."""


def mouth_squares(track: FaceTrack) -> list[Square]:
    """Return the square around the lips in every frame, cut at the border of the image; it may be empty."""
    lips = track.mesh[:, list(OUTER_LIPS), :2]
    low, high = lips.min(axis=1), lips.max(axis=1)
    half = SIDE / 2 * (high - low).max(axis=1, keepdims=True)
    edges = np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)
    whole = edges.clip(0, CROP_SIZE).round().astype(int)
    return [(slice(top, bottom), slice(left, right)) for (left, top), (right, bottom) in whole.tolist()]
