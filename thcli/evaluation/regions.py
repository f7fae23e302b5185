"""Regions in which metrics are measured: squares around the mouth, and rings of hair and background around the face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import FACE_OVAL, OUTER_LIPS
from thcli.records import CROP_SIZE, FaceTrack, Float

SIDE = 1.4
"""Side of the square around the mouth, in multiples of the longer side of the lips' bounding box."""
RING = 0.3
"""Width of the ring around the face, over the face's height."""
Square = tuple[slice, slice]
"""Rows and columns of an image."""
Mask = NDArray[np.bool_]
"""Mask [256, 256] of pixels of an image."""


def mouth_squares(track: FaceTrack) -> list[Square]:
    """Return the square around the lips in every frame, cut at the border of the image; it may be empty."""
    lips = track.mesh[:, list(OUTER_LIPS), :2]
    low, high = lips.min(axis=1), lips.max(axis=1)
    half = SIDE / 2 * (high - low).max(axis=1, keepdims=True)
    edges = np.stack([(low + high) / 2 - half, (low + high) / 2 + half], axis=1)
    whole = edges.clip(0, CROP_SIZE).round().astype(int)
    return [(slice(top, bottom), slice(left, right)) for (left, top), (right, bottom) in whole.tolist()]


def hair_rings(track: FaceTrack) -> list[Mask]:
    """Return the ring around the face, above the chin, in every frame: mostly hair, and what is behind the head."""
    return [_ring(mesh[list(FACE_OVAL), :2]) for mesh in track.mesh]


def _ring(oval: Float) -> Mask:
    """Return the ring [256, 256] around an outline [N, 2] of a face, px."""
    from scipy.ndimage import distance_transform_edt
    from skimage.draw import polygon2mask

    face = polygon2mask((CROP_SIZE, CROP_SIZE), oval[:, ::-1])
    if not face.any():
        return face
    low, high = oval[:, 1].min(), oval[:, 1].max()
    near = distance_transform_edt(~face) <= RING * (high - low)
    above = np.arange(CROP_SIZE)[:, None] + 0.5 < high
    return np.asarray(near & ~face & above)
