"""The usual inside of a mouth, for references that never show it: teeth and darkness by how far the mouth is open.

Averages over many people, learned by ``thcli.training.mouth_interior``: soft, but neither a smear of the lips nor a
hole. Colours are stored relative to the person's own skin.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.checkpoints import load_arrays
from thcli.face_model import INNER_LIPS
from thcli.records import Float

HEIGHT, WIDTH = 24, 48
OPENINGS = (0.08, 0.16, 0.26, 0.38)
"""Lip gap over inner mouth width at which each picture was taken."""
SKIN = (205, 425, 50, 280, 101, 330)
"""Vertices on both cheeks, whose colour stands for the skin's."""
_CORNERS = (78, 308)


@dataclass(frozen=True)
class MouthInterior:
    """The mean pictures.

    pictures: [len(OPENINGS), 3, HEIGHT, WIDTH] float32, colour over the skin's, from corner to corner, lip to lip
    """

    pictures: Float

    def save(self, path: Path) -> None:
        """Write as safetensors."""
        from safetensors.numpy import save_file

        save_file({"pictures": np.ascontiguousarray(self.pictures)}, path)

    @classmethod
    def load(cls, path: Path) -> MouthInterior:
        """Read what ``save`` wrote; WeightsError for anything else."""
        return cls(**load_arrays(path, {"pictures": (len(OPENINGS), 3, HEIGHT, WIDTH)}))


def inner_coordinates(n_vertices: int) -> Float:
    """Where each vertex of the inner lips lies in the pictures: [V, 2], (u, v) in 0..1; others are 0.

    u runs from the person's right corner to the left one, v from the upper lip to the lower.
    """
    ring = list(INNER_LIPS)
    half = len(ring) // 2  # the ring begins at one corner, goes along the lower lip, and back along the upper
    place = np.zeros((n_vertices, 2), np.float32)
    for i, vertex in enumerate(ring):
        lower = 0 < i < half
        u = i / half if i <= half else 2 - i / half
        place[vertex] = (u, 0.5 if vertex in _CORNERS else float(lower))
    return place


def unroll(images: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """The inside of mouths laid out from corner to corner and lip to lip: [n, 3, height, width].

    images: [n, 3, H, W]; points: [n, V, 2], the mesh in -1..1 as for ``grid_sample``
    """
    ring, half = list(INNER_LIPS), len(INNER_LIPS) // 2
    lower = points[:, ring[: half + 1]].mT
    upper = points[:, [ring[0], *ring[:half:-1], ring[half]]].mT
    along = [F.interpolate(lip, size=width, mode="linear", align_corners=True).mT for lip in (upper, lower)]
    down = ((torch.arange(height, device=images.device) + 0.5) / height)[None, :, None, None]
    where = along[0][:, None] * (1 - down) + along[1][:, None] * down
    return F.grid_sample(images, where, align_corners=False)


def inner_faces(faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """[F] bool: triangles between the lips."""
    return np.asarray(np.isin(faces, INNER_LIPS).all(axis=1))


def relative_opening(mesh: NDArray[np.floating]) -> NDArray[np.floating]:
    """Lip gap over the inner mouth's width: mesh (..., V, 3) to (...)."""
    gap = np.linalg.norm(mesh[..., 13, :] - mesh[..., 14, :], axis=-1)
    width = np.linalg.norm(mesh[..., _CORNERS[0], :] - mesh[..., _CORNERS[1], :], axis=-1)
    return np.asarray(gap / np.maximum(width, 1e-6))
