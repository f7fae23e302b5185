"""Which frames of the clip become the K references that the picture is made of."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import INNER_LIPS, OUTER_LIPS, eye_opening
from thcli.records import Float
from thcli.rotations import placement

LIPS = [*OUTER_LIPS, *INNER_LIPS]
TURN, SHIFT, MOUTH, EYES = 1.0, 2.0, 1.0, 0.05
"""What differences count for, per radian, canonical unit of position, canonical unit of lip shape, usual opening."""
CLOSED = 0.6
"""Eyes less open than this part of what is usual are closing; one such reference is enough."""
UNSURE = 0.5
"""Confidence below which a frame is no reference."""


def choose_references(pose: Float, faces: Float, confidence: Float, count: int) -> NDArray[np.intp]:
    """Frames, ``count`` at most, that together show the most: k-medoids of pose, mouth shape and eye opening.

    pose: [T, 6]; faces: [T, V, 3], de-posed, canonical units; confidence: [T], 0 where a frame was interpolated
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
    # a frame with closing eyes serves others badly, whose eyes are open
    distance[:, closing] += EYES * (1 - closing[:, None])
    return sure[np.unique(_medoids(distance, count))]  # where frames are alike, one may be chosen twice


def _features(pose: Float, faces: Float) -> Float:
    placed = placement(pose)
    lips = faces[:, LIPS]
    lips = (lips - lips.mean(axis=1, keepdims=True)).reshape(len(faces), -1) / np.sqrt(len(LIPS))
    return np.concatenate([TURN * placed[:, :3], SHIFT * placed[:, 3:5], MOUTH * lips], axis=1)


def _medoids(distance: Float, count: int) -> list[int]:
    """Greedy choice of columns that together lie nearest to all rows, then exchanges while they help."""
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
