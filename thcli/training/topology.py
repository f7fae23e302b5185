"""Triangles of the face mesh, derived from the canonical face.

The face is unwrapped onto a vertical cylinder, with mouth and eyes open, and its points are triangulated by Delaunay's
method. Edges are then flipped until the contours at which the skin opens, the inner lips and the lids, are edges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import Delaunay

from thcli.face_model import FACE_OVAL, INNER_LIPS, LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS

Array = NDArray[np.floating]
Edge = tuple[int, int]

AXIS_DEPTH = 0.6
"""Distance of the cylinder's axis behind the centroid of the rigid points, canonical units; it lies near the ears."""
SLIVER = 0.12
"""Height over longest side below which a triangle on the border is removed."""
MAX_FLIPS = 200
"""Most edges that are flipped to insert one edge."""


def triangulate(open_face: Array) -> NDArray[np.int32]:
    """Triangulate a canonical face [V, 3] with open mouth and eyes: [F, 3], counter-clockwise in the image.

    With y down, counter-clockwise in the image means that (b - a) x (c - a) in (x, y) is negative.
    """
    flat = unwrap(open_face)
    for iris, lids in ((RIGHT_IRIS, RIGHT_EYE), (LEFT_IRIS, LEFT_EYE)):
        centre = flat[list(lids)].mean(axis=0)  # the lids cover part of the iris, so it is shrunk to fit between them
        spread = flat[list(iris)] - flat[iris[0]]
        flat[list(iris)] = centre + 0.5 * spread
    triangles = Delaunay(flat).simplices
    rings: tuple[tuple[int, ...], ...] = (INNER_LIPS, RIGHT_EYE, LEFT_EYE)
    for ring in rings:
        for edge in ring_edges(ring):
            triangles = insert_edge(triangles, flat, edge)
    return _orient(_without_slivers(triangles, flat), flat).astype(np.int32)


def unwrap(face: Array) -> Array:
    """Unwrap a face [V, 3] onto a cylinder: [V, 2], angle around the vertical axis and height."""
    angle = np.arctan2(face[:, 0], face[:, 2] + AXIS_DEPTH)
    return np.stack([angle * AXIS_DEPTH * 1.5, face[:, 1]], axis=1)


def ring_edges(ring: tuple[int, ...]) -> list[Edge]:
    """Return the edges of a closed contour."""
    return list(zip(ring, ring[1:] + ring[:1], strict=True))


def insert_edge(triangles: NDArray[np.integer], points: Array, edge: Edge) -> NDArray[np.integer]:
    """Insert an edge into a triangulation by flipping edges that cross it until none does (Sloan, 1993).

    Raises RuntimeError where ``MAX_FLIPS`` do not suffice.
    """
    triangles = triangles.copy()
    for _ in range(MAX_FLIPS):
        crossing = [pair for pair in _edges(triangles) if _crosses(points, pair, edge)]
        if not crossing:
            return triangles
        # An edge can be flipped only where its two triangles form a convex quadrilateral.
        flippable = [pair for pair in crossing if _crosses(points, pair, _opposite(triangles, pair))]
        pair = min(flippable, key=lambda pair: _crosses(points, _opposite(triangles, pair), edge))
        _flip(triangles, pair)
    raise RuntimeError(f"edge {edge} cannot be made part of the triangulation")


def _edges(triangles: NDArray[np.integer]) -> list[Edge]:
    """Edges of triangles, each once."""
    pairs = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return [(int(a), int(b)) for a, b in np.unique(pairs, axis=0)]


def _crosses(points: Array, first: Edge, second: Edge) -> bool:
    """Whether two segments cross at a point inside both."""
    if len({*first, *second}) < 4:
        return False
    a, b, c, d = points[[*first, *second]]
    return _side(a, b, c) * _side(a, b, d) < 0 and _side(c, d, a) * _side(c, d, b) < 0


def _side(a: Array, b: Array, c: Array) -> float:
    """Twice the signed area of a triangle; its sign tells on which side of the line a, b the point c lies."""
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _sharing(triangles: NDArray[np.integer], pair: Edge) -> NDArray[np.intp]:
    """Indices of the triangles that share an edge."""
    return np.flatnonzero(np.isin(triangles, pair).sum(axis=1) == 2)


def _opposite(triangles: NDArray[np.integer], pair: Edge) -> Edge:
    """Corners opposite an edge in the triangles that share it; the same corner twice for an edge on the border."""
    corners = {int(v) for v in triangles[_sharing(triangles, pair)].ravel()} - set(pair)
    first, *rest = sorted(corners)
    return first, (rest[0] if rest else first)


def _flip(triangles: NDArray[np.integer], pair: Edge) -> None:
    """Replace an edge by the other diagonal of its two triangles, in place."""
    one, two = _sharing(triangles, pair)
    first, second = _opposite(triangles, pair)
    triangles[one] = first, second, pair[0]
    triangles[two] = first, second, pair[1]


def _without_slivers(triangles: NDArray[np.integer], points: Array) -> NDArray[np.integer]:
    """Remove triangles on the border that are too thin and join points of the face's oval only, until none is left."""
    while True:
        pairs = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]], axis=2)
        _, inverse, count = np.unique(pairs.reshape(-1, 2), axis=0, return_inverse=True, return_counts=True)
        on_border = (count[inverse.reshape(-1)] == 1).reshape(-1, 3).any(axis=1)
        drop = on_border & np.isin(triangles, FACE_OVAL).all(axis=1) & (_thinness(points[triangles]) < SLIVER)
        if not drop.any():
            return triangles
        triangles = triangles[~drop]


def _thinness(corners: Array) -> Array:
    """Height over longest side of triangles [F, 3, 2]."""
    sides = corners - np.roll(corners, 1, axis=1)
    area = np.abs(sides[:, 0, 0] * sides[:, 1, 1] - sides[:, 0, 1] * sides[:, 1, 0])
    return np.asarray(area / (sides**2).sum(axis=2).max(axis=1))


def _orient(triangles: NDArray[np.integer], points: Array) -> NDArray[np.integer]:
    """Order the corners of every triangle counter-clockwise, see ``triangulate``."""
    a, b, c = np.moveaxis(points[triangles], 1, 0)
    clockwise = (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0]) > 0
    return np.where(clockwise[:, None], triangles[:, ::-1], triangles)
