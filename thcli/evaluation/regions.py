"""The mouth's surroundings in a picture."""

from __future__ import annotations

import numpy as np

from thcli.face_model import OUTER_LIPS
from thcli.records import CROP_SIZE, FaceTrack

SIDE = 1.4
"""Of the square around the mouth, over the lips' longer side."""
Square = tuple[slice, slice]
"""Rows and columns of a picture."""


def mouth_squares(track: FaceTrack) -> list[Square]:
    """The square around the lips in every frame; what lies beyond the picture is cut off, down to nothing."""
    lips = track.mesh[:, list(OUTER_LIPS), :2]
    low, high = lips.min(axis=1), lips.max(axis=1)
    half = SIDE / 2 * (high - low).max(axis=1, keepdims=True)
    edges = np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)
    whole = edges.clip(0, CROP_SIZE).round().astype(int)
    return [(slice(top, bottom), slice(left, right)) for (left, top), (right, bottom) in whole.tolist()]
