"""Motion matcher (§4.1): choice of the references for the whole image, the mouth and the eyes of each frame.

The paper takes the reference of the nearest pose (Eq. 2) for the whole image. Here mouth and eyes have references of
their own: eyes that are as open as wanted, and the mouth of the nearest shape, so that teeth and lips need little
warping. The choice is the cheapest path through time, on which every change of reference has a cost, and changes are
cross-faded, so that the image does not flicker between two references.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.face_model import LIPS, eye_opening, mouth_opening
from thcli.records import Float, Person, ReferenceWeights, Target
from thcli.rotations import placement, to_matrix

HEAD_RADIUS = 0.8
"""Distance of the parts of the face from its origin, canonical face units; it puts turns and shifts in one unit."""
CHUNK = 500
"""Most frames whose costs are computed at a time."""


@dataclass(frozen=True)
class Matching:
    """Parameters with which the references of one part of the image are chosen.

    turn: cost of a difference of head turn (squared canonical units per squared radian and HEAD_RADIUS²)
    change: cost of changing the reference, in the unit of the part's own cost
    fade: frames over which a change is cross-faded, odd
    closeness: extra cost at which a reference's share of a blend falls to 1 / e
    """

    turn: float
    change: float
    fade: int
    closeness: float


BASE = Matching(turn=1.0, change=0.006, fade=7, closeness=0.01)
MOUTH = Matching(turn=0.05, change=0.0006, fade=3, closeness=0.001)
EYES = Matching(turn=0.05, change=0.02, fade=3, closeness=0.02)
PARTS = (BASE, MOUTH, EYES)
"""Parameters of the parts, in the order of the fields of ``Costs``."""
OPENED, STRETCHED = 1.0, 1.1
"""Weight of the squared gap between the lips that a reference lacks, and ratio of the gaps from which it lacks any."""
BLENDED = 4
"""Most references in a blend; with eight, the error on val was no smaller, and the image softer."""


def pose_cost(pose: Float, references: Float, matching: Matching = BASE) -> Float:
    """Compute Eq. 2, c = ||h_t - h_k||², with turn and shift in one unit: [T, K], squared canonical units.

    pose: [T, 6], poses of the target
    references: [K, 6], poses of the references
    """
    wanted, given = placement(pose), placement(references)
    shift = ((wanted[:, None, 3:] - given[None, :, 3:]) ** 2).sum(-1)
    return (turn_cost(pose, references, matching) + shift).astype(np.float32)


def turn_cost(pose: Float, references: Float, matching: Matching) -> Float:
    """Compute the part of the cost that is due to the turn of the head: [T, K], squared canonical units."""
    wanted, given = to_matrix(pose[:, :3]).reshape(-1, 9), to_matrix(references[:, :3]).reshape(-1, 9)
    squared_angle = np.maximum(3 - wanted @ given.T, 0)  # ||R - R'||² / 2, the squared angle where it is small
    return (matching.turn * HEAD_RADIUS**2 * squared_angle).astype(np.float32)


def mouth_cost(faces: Float, references: Float) -> Float:
    """Compute the mean squared distance of the lips' shapes, and how far mouths would have to be opened: [T, K].

    Lips can slide over teeth, but what a mouth hides that is less open than wanted is unknown. So the square of the gap
    that it lacks counts too, ``OPENED`` times; up to ``STRETCHED`` times its height its inside is stretched unseen.

    faces, references: [T, V, 3] and [K, V, 3], unposed meshes, canonical face units
    """
    wanted, given = (_centred(meshes[:, list(LIPS)]) for meshes in (faces, references))
    parts = [((wanted[i : i + CHUNK, None] - given[None]) ** 2).sum(-1).mean(-1) for i in range(0, len(wanted), CHUNK)]
    missing = np.maximum(mouth_opening(faces)[:, None] - STRETCHED * mouth_opening(references), 0)
    return (np.concatenate(parts) + OPENED * missing**2).astype(np.float32)


def eye_cost(faces: Float, references: Float) -> Float:
    """Compute the squared difference of the eyes' openings, over the median opening of the references: [T, K].

    Opening closed eyes costs nine times as much as closing open ones: lids can cover an eye, but what closed lids
    hide is unknown.

    faces, references: [T, V, 3] and [K, V, 3], unposed meshes
    """
    wanted, given = eye_opening(faces), eye_opening(references)
    usual = max(float(np.median(given)), 1e-3)
    missing = (wanted[:, None] - given[None]) / usual
    return (np.where(missing > 0, 3 * missing, missing) ** 2).astype(np.float32)


def _centred(points: Float) -> Float:
    return points - points.mean(axis=1, keepdims=True)


def choose(cost: Float, change: float) -> NDArray[np.intp]:
    """Find the cheapest path [T] through costs [T, K], where each change of reference costs ``change`` (Viterbi)."""
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
    """Compute weights [T, K] of the references along a path [T]; rows sum to 1, and a change takes ``fade`` frames."""
    chosen = np.eye(count, dtype=np.float32)[path]
    ramp = np.hanning(fade + 2)[1:-1].astype(np.float32)
    padded = np.pad(chosen, ((fade // 2, fade // 2), (0, 0)), mode="edge")
    weights = sum(share * padded[i : i + len(chosen)] for i, share in enumerate(ramp / ramp.sum()))
    return np.asarray(weights, np.float32)


def soft_weights(cost: Float, closeness: float, count: int = BLENDED) -> Float:
    """Compute weights [T, K] of a blend of the cheapest ``count`` references; rows sum to 1, others have the weight 0.

    The weights follow costs [T, K] without jumps: a reference that leaves the blend has reached the weight 0. Where
    more than ``count`` are equally cheap, the first are taken. A reference of infinite cost is never used.
    """
    share = np.exp(-(cost - cost.min(axis=1, keepdims=True)).astype(np.float64) / closeness)
    if cost.shape[1] > count:
        order = np.argsort(cost, axis=1, kind="stable")
        share = np.maximum(share - np.take_along_axis(share, order[:, count : count + 1], axis=1), 0)
        tied = np.flatnonzero(share.sum(axis=1) == 0)
        share[tied[:, None], order[tied, :count]] = 1
    return np.asarray(share / share.sum(axis=1, keepdims=True), np.float32)


@dataclass(frozen=True)
class Costs:
    """Cost of each reference in each frame, for the whole image, the mouth and the eyes: [T, K] float32."""

    base: Float
    mouth: Float
    eyes: Float

    def match(self) -> ReferenceWeights:
        """Weight the cheapest references through time, cross-faded where they change."""
        base, mouth, eyes = (
            cross_fade(choose(cost, part.change), cost.shape[1], part.fade)
            for cost, part in zip(self._all(), PARTS, strict=True)
        )
        return ReferenceWeights(base, mouth, eyes, dissolved=True)

    def blend(self) -> ReferenceWeights:
        """Weight a blend of the ``BLENDED`` cheapest references of each frame."""
        base, mouth, eyes = (soft_weights(cost, part.closeness) for cost, part in zip(self._all(), PARTS, strict=True))
        return ReferenceWeights(base, mouth, eyes)

    def _all(self) -> tuple[Float, Float, Float]:
        return self.base, self.mouth, self.eyes


def costs(person: Person, target: Target) -> Costs:
    """Compute the costs of a person's references for all frames of a target."""
    chosen = person.reference_indices
    pose, meshes = person.track.pose[chosen], person.unposed_meshes[chosen]
    parts: tuple[list[Float], list[Float], list[Float]] = ([], [], [])
    for first in range(0, len(target.pose), CHUNK):
        chunk = slice(first, first + CHUNK)
        wanted, wanted_pose = target.unposed_meshes(chunk), target.pose[chunk]
        parts[0].append(pose_cost(wanted_pose, pose))
        parts[1].append(mouth_cost(wanted, meshes) + turn_cost(wanted_pose, pose, MOUTH))
        parts[2].append(eye_cost(wanted, meshes) + turn_cost(wanted_pose, pose, EYES))
    return Costs(*(np.concatenate(part) for part in parts))
