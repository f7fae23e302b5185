"""The face model: canonical face, mesh topology and expression basis, fitted to thgen's own training tracks.

Vertices are numbered as in the 478-point face mesh that the tracker predicts (468 on the skin, 2 x 5 on the
irises). The lists below are facts about that numbering; all measures come from ``face_model.safetensors``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from thcli.checkpoints import load_arrays
from thcli.records import N_EXPRESSION, N_VERTICES, Float

# fmt: off
LANDMARKS_68 = (
    162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389,
    71, 63, 105, 66, 107, 336, 296, 334, 293, 301, 168, 197, 5, 4, 75, 97, 2, 326, 305,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
)
"""Mesh vertices at the 68 landmarks, in the iBUG numbering."""
RIGID_27 = (1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 17, 21, 22, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 39, 42, 45)
"""Indices of the 27 of the 68 landmarks that move least with the expression (Fig. 3a)."""
FACE_OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)
LIPS = (*OUTER_LIPS, *INNER_LIPS)
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_IRIS = (468, 469, 470, 471, 472)
LEFT_IRIS = (473, 474, 475, 476, 477)
# fmt: on
OUTER_EYE_CORNERS = (33, 263)
MOUTH_CORNERS = (61, 291)
LIP_GAP = (13, 14)
EYE_GAPS = ((159, 145), (386, 374))
EYE_WIDTHS = ((33, 133), (362, 263))
CLOSED_EYES = 0.07
"""``eye_opening`` at the face model's full blink; it is above 0 because lashes hide the closed lids in tracks."""


def rims(ring: tuple[int, ...]) -> tuple[list[int], list[int]]:
    """Return the lower and the upper vertices of a ring of lips or lids, without its corners, across from each other.

    ring: from a corner along the lower lip or lid to the other corner, and back along the upper one, as ``INNER_LIPS``
    """
    half = len(ring) // 2
    return [*ring[1:half]], [*ring[:half:-1]]


def mouth_opening(mesh: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the gap between the inner lips over the distance of the outer eye corners: mesh (..., V, 3) → (...)."""
    return _distance(mesh, LIP_GAP) / _distance(mesh, OUTER_EYE_CORNERS)


def eye_opening(mesh: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean over both eyes of lid gap over eye width: mesh (..., V, 3) → (...)."""
    ratios = [_distance(mesh, gap) / _distance(mesh, width) for gap, width in zip(EYE_GAPS, EYE_WIDTHS, strict=True)]
    return (ratios[0] + ratios[1]) / 2


def _distance(mesh: NDArray[np.floating], pair: tuple[int, int]) -> NDArray[np.floating]:
    return np.asarray(np.linalg.norm(mesh[..., pair[0], :] - mesh[..., pair[1], :], axis=-1))


@dataclass(frozen=True)
class FaceModel:
    """Geometry that all faces share.

    canonical: [V, 3] float32, the mean face, frontal; unit: the distance of its outer eye corners; origin: the
        centroid of its 27 rigid landmarks; axes as in images (x right, y down, z toward the camera)
    faces: [F, 3] int32, triangles of the mesh, including those over the openings of eyes and mouth
    basis: [20, V, 3] float32, displacement of every vertex for one standard deviation of each coefficient
    projection: [V * 3, 20] float32, matrix from displacements of an unposed mesh to coefficients
    blink: [V, 3] float32, displacement from the usual opening of the eyes to closed eyes
    """

    canonical: Float
    faces: NDArray[np.int32]
    basis: Float
    projection: Float
    blink: Float

    @property
    def lip_gap(self) -> Float:
        """Widening of the gap between the inner lips by one unit of each coefficient: [20], canonical face units."""
        upper, lower = LIP_GAP
        return self.basis[:, lower, 1] - self.basis[:, upper, 1]

    def expression(self, unposed: Float) -> Float:
        """Return the expression coefficients (..., 20) of unposed meshes (..., V, 3) in canonical face units."""
        delta = unposed - self.canonical
        return (delta.reshape(*delta.shape[:-2], -1) @ self.projection).astype(np.float32)

    def displacement(self, expression: Float, blink: Float | None = None) -> Float:
        """Return the displacement (..., V, 3), canonical units, by coefficients (..., 20) and blink (...) in 0..1."""
        moved = np.tensordot(expression, self.basis, axes=1)
        if blink is not None:
            moved = moved + np.asarray(blink)[..., None, None] * self.blink
        return moved.astype(np.float32)

    def save(self, path: Path) -> None:
        """Write the face model as safetensors."""
        from safetensors.numpy import save_file

        save_file({name: np.ascontiguousarray(value) for name, value in vars(self).items()}, path)

    @classmethod
    def load(cls, path: Path) -> FaceModel:
        """Read a file that ``save`` wrote. Raises WeightsError for any other file."""
        mesh = (N_VERTICES, 3)
        shapes = {"canonical": mesh, "faces": (None, 3), "basis": (N_EXPRESSION, *mesh), "blink": mesh}
        return cls(**load_arrays(path, {**shapes, "projection": (N_VERTICES * 3, N_EXPRESSION)}))
