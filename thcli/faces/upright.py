"""Whether a face stands upright, or its picture lies on its side or on its head.

Photos lose the note that tells how the camera was held, and videos are filmed sideways. A tracker finds nine in ten
faces that stand on their heads, and every second one on its side, but the meshes that it fits to them are of no use.
Such meshes are unstable: from boxes that differ a little the tracker makes meshes that differ much.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from thcli.errors import NoFaceError
from thcli.face_model import OUTER_EYE_CORNERS
from thcli.faces.protocol import Tracker
from thcli.records import Float, Image

SHIFT = 0.08
"""Distance by which boxes are moved, and by which one is widened on all sides, over the longer side of the face."""
UNSTABLE = 0.03
"""Mean difference of meshes, over the distance of the outer eye corners, above which a face may not be upright.

With it none of 866 upright faces of the corpus is refused, of which few are above it, but a head that is tilted by 50°
is; 165 of 175 that were turned are refused.
"""
TURNS = {1: "90° counterclockwise", 2: "180°", 3: "90° clockwise"}
"""What to do with a picture by the quarter turns, counterclockwise, that set its face upright."""


def check_upright(frame: Image, mesh: Float | None, tracker: Tracker, path: Path) -> None:
    """Raise NoFaceError, naming the file and by how much to turn it, where the face of a frame does not stand upright.

    The arguments are those of ``turns_to_upright``.
    """
    if turns := turns_to_upright(frame, mesh, tracker):
        raise NoFaceError(f"{path}: the face does not stand upright; turn the picture by {TURNS[turns]}")


def turns_to_upright(frame: Image, mesh: Float | None, tracker: Tracker) -> int:
    """Return by how many quarter turns counterclockwise the face of a frame [H, W, 3] uint8 would stand upright.

    mesh: [V, 3] px, mesh of the face; None where the tracker found none

    The answer is 0 where the face stands upright already, and where it is stable in no position.
    """
    own = math.inf if mesh is None else instability(frame, mesh, tracker)
    if own <= UNSTABLE:
        return 0
    others = {}
    for turns in TURNS:
        turned = np.ascontiguousarray(np.rot90(frame, turns))
        found = max(tracker.detect(turned), key=lambda d: float(np.prod(d.box[2:] - d.box[:2])), default=None)
        if found is not None:
            others[turns] = instability(turned, tracker.mesh(turned, found.box)[0], tracker)
    best = min(others, key=lambda turns: others[turns], default=0)
    return best if best and others[best] < min(UNSTABLE, own / 2) else 0


def instability(frame: Image, mesh: Float, tracker: Tracker) -> float:
    """Return the mean difference of meshes from boxes around a mesh [V, 3] px, over the distance of the eye corners."""
    mesh = tracker.mesh(frame, mesh)[0]
    low, high = mesh[:, :2].min(axis=0), mesh[:, :2].max(axis=0)
    step = SHIFT * float((high - low).max())
    moves = [(step, 0, step, 0), (-step, 0, -step, 0), (0, step, 0, step), (0, -step, 0, -step)]
    boxes = np.concatenate([low, high]) + np.array([*moves, (-step, -step, step, step)], np.float32)
    others = np.stack([tracker.mesh(frame, box.astype(np.float32))[0] for box in boxes])
    first, last = mesh[list(OUTER_EYE_CORNERS), :2]
    apart = np.linalg.norm((others - mesh)[..., :2], axis=-1).mean()
    return float(apart / max(np.linalg.norm(last - first), 1e-6))
