"""Choice of the K frames of a clip that serve as references."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import LIPS, eye_opening
from thcli.records import Float
from thcli.rotations import placement

TURN, SHIFT, MOUTH, EYES = 1.0, 2.0, 1.0, 0.05
"""Weights of differences: per radian of turn, canonical face unit of position, canonical face unit of lip shape, and
(squared, as it is added to squared distances) for eyes that are closing where the others' are open."""
CLOSED = 0.6
"""Opening of the eyes, over the clip's median, below which they count as closing; one such reference is enough."""
UNSURE = 0.5
"""Confidence below which a frame is not chosen as a reference."""


def choose_references(pose: Float, faces: Float, confidence: Float, count: int) -> NDArray[np.intp]:
    """Choose at most ``count`` frames that together show the most: k-medoids of pose, mouth shape and eye opening.

    pose: [T, 6], head poses
    faces: [T, V, 3], unposed meshes, canonical face units
    confidence: [T], 0 where a frame was interpolated
    """
    sure = np.flatnonzero(confidence >= UNSURE)
    if len(sure) == 0:
        sure = np.arange(len(pose))
    if len(sure) <= count:
        return sure
    features = _features(pose[sure], faces[sure])
    distance = ((features[:, None] - features[None]) ** 2).sum(-1)
    opening = eye_opening(faces[sure])
    closing = opening < CLOSED * np.median(opening)
    # A frame with closing eyes represents frames with open eyes badly.
    distance[:, closing] += EYES * (1 - closing[:, None])
    return sure[np.unique(medoids(distance, count))]  # where frames are alike, one may be chosen twice


def _features(pose: Float, faces: Float) -> Float:
    """Return [T, D]: rotation, position and lip shape of each frame, weighted so that they can be compared."""
    placed = placement(pose)
    lips = faces[:, list(LIPS)]
    lips = (lips - lips.mean(axis=1, keepdims=True)).reshape(len(faces), -1) / np.sqrt(len(LIPS))
    return np.concatenate([TURN * placed[:, :3], SHIFT * placed[:, 3:5], MOUTH * lips], axis=1)


def medoids(distance: Float, count: int) -> list[int]:
    """Choose columns of a distance matrix that together lie nearest to all rows: greedily, then by exchanges."""
    chosen: list[int] = []
    nearest = np.full(len(distance), np.inf)
    for _ in range(count):
        chosen.append(int(np.minimum(nearest[:, None], distance).sum(axis=0).argmin()))
        nearest = np.minimum(nearest, distance[:, chosen[-1]])
    for _ in range(3):
        before = list(chosen)
        for place in range(count):
            rest = distance[:, [c for i, c in enumerate(chosen) if i != place]]
            others = rest.min(axis=1) if count > 1 else np.full(len(distance), np.inf)
            chosen[place] = int(np.minimum(others[:, None], distance).sum(axis=0).argmin())
        if chosen == before:
            break
    return chosen
