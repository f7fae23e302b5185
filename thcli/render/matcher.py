"""Motion matcher (§4.1): which reference frame each part of each frame is taken from.

The paper takes the reference of the nearest pose (Eq. 2) for all of the picture. Here the eyes and the mouth choose
for themselves as well: eyes that are as open as wanted, and the mouth whose shape is nearest, so that teeth and
lips need little warping. The choice is the cheapest path through time, where every change of reference costs
something, and changes are cross-faded, so that the picture does not flicker between two references.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import INNER_LIPS, OUTER_LIPS, eye_opening
from thcli.records import Float
from thcli.rotations import placement, to_matrix

HEAD_RADIUS = 0.8
"""Distance of the face's parts from its origin, canonical face units: what a turn is worth beside a shift."""
LIPS = [*OUTER_LIPS, *INNER_LIPS]
CHUNK = 500


@dataclass(frozen=True)
class Matching:
    """How one part of the picture chooses.

    turn: what a difference of head turn costs (squared canonical units per squared radian and HEAD_RADIUS²)
    change: what changing the reference costs, in the unit of the part's own cost
    fade: frames over which a change is cross-faded, odd
    closeness: how much dearer a reference may be for its share of a blend to fall to 1 / e
    """

    turn: float
    change: float
    fade: int
    closeness: float


BASE = Matching(turn=1.0, change=0.006, fade=5, closeness=0.01)
MOUTH = Matching(turn=0.05, change=0.0006, fade=3, closeness=0.001)
EYES = Matching(turn=0.05, change=0.02, fade=3, closeness=0.02)
BLENDED = 4
"""References in a blend, at most: with eight, val's error was no smaller, and the picture softer."""


def pose_cost(pose: Float, references: Float, matching: Matching = BASE) -> Float:
    """Eq. 2, c = ||h_t - h_k||², with turn and shift in one unit: [T, K], squared canonical units.

    pose: [T, 6] wanted; references: [K, 6]
    """
    wanted, given = placement(pose), placement(references)
    shift = ((wanted[:, None, 3:] - given[None, :, 3:]) ** 2).sum(-1)
    return (turn_cost(pose, references, matching) + shift).astype(np.float32)


def turn_cost(pose: Float, references: Float, matching: Matching) -> Float:
    """The part of the cost that is due to the head's turn: [T, K]."""
    wanted, given = to_matrix(pose[:, :3]).reshape(-1, 9), to_matrix(references[:, :3]).reshape(-1, 9)
    squared_angle = np.maximum(3 - wanted @ given.T, 0)  # ||R - R'||² / 2, the squared angle where that is small
    return (matching.turn * HEAD_RADIUS**2 * squared_angle).astype(np.float32)


def mouth_cost(faces: Float, references: Float) -> Float:
    """Mean squared distance of the lips' shapes: [T, K]; faces [T, V, 3] and references [K, V, 3], de-posed."""
    wanted, given = (_centred(meshes[:, LIPS]) for meshes in (faces, references))
    parts = [((wanted[i : i + CHUNK, None] - given[None]) ** 2).sum(-1).mean(-1) for i in range(0, len(wanted), CHUNK)]
    return np.concatenate(parts).astype(np.float32)


def eye_cost(faces: Float, references: Float) -> Float:
    """Squared difference of the eyes' openings, in usual openings: [T, K].

    To open eyes that are closed costs nine times what closing open ones does: lids can cover an eye, but what
    is under closed lids nobody knows.
    """
    wanted, given = eye_opening(faces), eye_opening(references)
    usual = max(float(np.median(given)), 1e-3)
    missing = (wanted[:, None] - given[None]) / usual
    return (np.where(missing > 0, 3 * missing, missing) ** 2).astype(np.float32)


def _centred(points: Float) -> Float:
    return points - points.mean(axis=1, keepdims=True)


def choose(cost: Float, change: float) -> NDArray[np.intp]:
    """The cheapest path [T] through costs [T, K], where each change of reference costs ``change`` (Viterbi)."""
    frames, count = cost.shape
    came_from = np.zeros((frames, count), np.int16)
    total = cost[0].astype(np.float64)
    for t in range(1, frames):
        best = int(np.argmin(total))
        stay = total <= total[best] + change
        came_from[t] = np.where(stay, np.arange(count), best)
        total = np.where(stay, total, total[best] + change) + cost[t]
    path = np.zeros(frames, np.intp)
    path[-1] = int(np.argmin(total))
    for t in range(frames - 1, 0, -1):
        path[t - 1] = came_from[t, path[t]]
    return path


def cross_fade(path: NDArray[np.intp], count: int, fade: int) -> Float:
    """Weights [T, K] of the references along a path [T]: each row sums to 1, a change takes ``fade`` frames."""
    chosen = np.eye(count, dtype=np.float32)[path]
    ramp = np.hanning(fade + 2)[1:-1].astype(np.float32)
    padded = np.pad(chosen, ((fade // 2, fade // 2), (0, 0)), mode="edge")
    weights = sum(share * padded[i : i + len(chosen)] for i, share in enumerate(ramp / ramp.sum()))
    return np.asarray(weights, np.float32)


def soften(cost: Float, closeness: float, count: int = BLENDED) -> Float:
    """Weights [T, K] of a blend of the cheapest ``count`` references: each row sums to 1, others have none.

    They follow costs [T, K] without jumps: a reference that is about to leave has nothing left to take with it. Of
    more than ``count`` that are equally cheap the first are taken. A reference of infinite cost is not there.
    """
    share = np.exp(-(cost - cost.min(axis=1, keepdims=True)).astype(np.float64) / closeness)
    if cost.shape[1] > count:
        order = np.argsort(cost, axis=1, kind="stable")
        share = np.maximum(share - np.take_along_axis(share, order[:, count : count + 1], axis=1), 0)
        tied = np.flatnonzero(share.sum(axis=1) == 0)
        share[tied[:, None], order[tied, :count]] = 1
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)
