"""Mouths and eyes that close: lips and lids slide over teeth and eyeballs, which the mesh alone would squeeze.

The triangles between the lips, and between the lids, shrink with them, so a reference's teeth or iris would end up as
a thin bright line between lips or lids that meet. Where a target is less open than a reference, two layers are shown
instead: the reference with its openings sealed, warped by the mesh, and over it what lies inside, in its own size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import EllipsisType

import torch
from torch import Tensor

from thcli.face_model import INNER_LIPS, LEFT_EYE, LEFT_IRIS, RIGHT_EYE, RIGHT_IRIS, rims
from thcli.images import blur, extent, fill, ramp, resized_to
from thcli.records import N_VERTICES
from thcli.render.rasterize import Fragments, interpolate


@dataclass(frozen=True)
class Opening:
    """The opening between two lips, or two lids.

    ring: vertices around it: from a corner along the lower lip or lid to the other corner, and back along the upper
    iris: further vertices inside
    """

    ring: tuple[int, ...]
    iris: tuple[int, ...] = ()

    @property
    def inside(self) -> list[int]:
        """Vertices of the triangles inside."""
        return [*self.ring, *self.iris]

    @property
    def lower(self) -> list[int]:
        """Vertices of the lower lip or lid, without the corners."""
        return rims(self.ring)[0]

    @property
    def upper(self) -> list[int]:
        """Vertices across from ``lower``."""
        return rims(self.ring)[1]

    def anchors(self, resting: list[int], across: list[int]) -> list[int]:
        """For each vertex ``inside``, the one of the ``resting`` lip or lid from which it keeps its distance."""
        of = dict(zip(across, resting, strict=True)) | dict.fromkeys(self.iris, resting[len(resting) // 2])
        return [of.get(vertex, vertex) for vertex in self.inside]


@dataclass(frozen=True)
class FacePart:
    """Openings that are alike, and close together.

    slides: ratios of the target's gap to the reference's up to which the layers are all that is shown, and from which
        they are not shown
    shut: ratios up to which the inside is hidden, and from which it is seen
    upper: share of the height, from above, in which the inside keeps its place below the upper lip, as the upper teeth
        do; further down it keeps its place above the lower lip, or lid, as the lower teeth do, and eyes
    seam: standard deviation, px of the crop, of the blur that widens the openings that are sealed; trackers place the
        edge between skin and inside with some error, and lashes are in the way
    dark: brightness of the seam where lips or lids meet, over that of the skin around it
    """

    openings: tuple[Opening, ...]
    slides: tuple[float, float]
    shut: tuple[float, float]
    upper: float
    seam: float
    dark: float


MOUTH = FacePart((Opening(INNER_LIPS),), slides=(0.6, 0.9), shut=(0.15, 0.4), upper=0.6, seam=1.0, dark=0.65)
EYES = FacePart(
    (Opening(RIGHT_EYE, RIGHT_IRIS), Opening(LEFT_EYE, LEFT_IRIS)),
    slides=(0.4, 0.75),
    shut=(0.3, 0.5),
    upper=0.0,
    seam=1.0,
    dark=0.85,
)
MIXED = 0.15
"""Share of the height in which what keeps its place above gives way to what keeps its place below."""
SPREAD = 2.5
"""Gain of the blur that widens what is sealed."""
EDGE, SOFT = 0.7, 1.4
"""Standard deviation, px of the crop, and gain of the blur that softens the edge of the inside as it is shown."""

AROUND = 5.0
"""Distance from an opening, px of the crop, within which what is sealed differs from the reference."""

BESIDE = 3
"""Pixels around what is sealed from whose colours it is filled."""


class Openings:
    """The openings of a part in K references, and in target meshes that are less open.

    references: fragments of the references' meshes, at the resolution of the crop
    faces: [F, 3], vertices of the triangles
    """

    def __init__(self, part: FacePart, references: Fragments, faces: Tensor) -> None:
        self.part = part
        own = torch.full((N_VERTICES,), -1, device=faces.device)
        vertices = [vertex for opening in part.openings for vertex in opening.inside]
        own[vertices] = torch.arange(len(vertices), device=faces.device)
        self.inner, self.faces = (own[faces] >= 0).all(1), own[faces].clamp(min=0)
        covered = self._within(references).mask[:, None].float()
        self.seals = torch.maximum(covered, _softened(covered, part.seam, SPREAD))

    def slides(
        self, fragments: Fragments, pairs: Sequence[tuple[int, int]], target: Tensor, sources: Tensor
    ) -> Slides | None:
        """Return the layers of the pairs (frame, reference) whose target is less open; None where there are none.

        fragments: of the B target meshes, in a part of the crop
        pairs: P pairs
        target, sources: [P, V, 3], the pairs' target and reference meshes
        """
        goal, place = (torch.view_as_complex(meshes[..., :2].contiguous()) for meshes in (target, sources))
        ratio = _gap(self.part, goal) / _gap(self.part, place).clamp(min=1e-3)
        shown = ramp(ratio, *self.part.slides[::-1])
        rows = torch.nonzero(shown)[:, 0].tolist()
        if not rows:
            return None
        chosen = self._within(fragments[[pairs[row][0] for row in rows]])
        covered = chosen.mask[:, None].float()
        values = torch.cat([_values(opening, goal[rows], place[rows]) for opening in self.part.openings], 1)
        values = fill(interpolate(chosen, self.faces, values).contiguous(), covered)
        values = torch.cat([values, _softened(covered, EDGE, SOFT)], 1)
        box = _box(target[rows][:, [vertex for opening in self.part.openings for vertex in opening.ring], :2])
        shown, seen = (share[rows, None, None, None] for share in (shown, ramp(ratio, *self.part.shut)))
        return Slides(self.part, [pairs[row] for row in rows], values, shown, seen, self.seals, box)

    def _within(self, fragments: Fragments) -> Fragments:
        """Return the fragments inside the openings alone."""
        inner = fragments.mask & self.inner[fragments.face.clamp(min=0)]
        return Fragments(fragments.face.where(inner, -1), fragments.barycentric, fragments.depth)


@dataclass(frozen=True)
class Slides:
    """Layers that show the inside of openings in its own size, for some pairs (frame, reference).

    pairs: the P pairs
    values: [P, 6, h, w], flows (x, y) of the inside that keeps its place above and below, px of the crop; height, from
        0 above to 1 below; and where the inside is, 0..1
    shown, seen: [P, 1, 1, 1] in 0..1, how much of the layers is shown, and of the inside in them
    seals: [K, 1, 256, 256] in 0..1, the references' openings
    box: left, top, right and bottom edge, px of the crop, of all that differs from the references as warped by the mesh
    """

    part: FacePart
    pairs: list[tuple[int, int]]
    values: Tensor
    shown: Tensor
    seen: Tensor
    seals: Tensor
    box: tuple[float, float, float, float]

    def window(self, grid: Tensor) -> tuple[EllipsisType, slice, slice]:
        """Return the index of those pixel centres [2, h, w], px of the crop, that lie in the box."""
        left, top, right, bottom = self.box
        across, down = grid[0, 0], grid[1, :, 0]
        return ..., slice(*extent((down > top) & (down < bottom))), slice(*extent((across > left) & (across < right)))

    def sealed(self, images: Tensor, references: list[int]) -> Tensor:
        """Return some of images [K, 3, S, S] of the references, their openings filled with the skin around, darker."""
        image, seal = images[references], resized_to(self.seals[references], (images.shape[-2], images.shape[-1]))
        used = seal.amax((0, 1)) > 0
        if bool(used.any()):
            high, wide = (_around(used.any(axis)) for axis in (1, 0))
            seal, skin = seal[..., high, wide], image[..., high, wide]
            image[..., high, wide] = torch.lerp(skin, self.part.dark * fill(skin, 1 - seal), seal)
        return image


def _around(used: Tensor) -> slice:
    """Return the places from the first to the last of [N] bool that are used, and as many around as filling needs."""
    first, end = extent(used)
    return slice(max(first - BESIDE, 0), end + BESIDE)


def _box(edges: Tensor) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom edge of what lies around points [P, n, 2]."""
    (left, top), (right, bottom) = (edges.amin((0, 1)) - AROUND).tolist(), (edges.amax((0, 1)) + AROUND).tolist()
    return left, top, right, bottom


def _softened(covered: Tensor, sigma: float, gain: float) -> Tensor:
    return (gain * blur(covered, sigma)).clamp(max=1)


def _gap(part: FacePart, mesh: Tensor) -> Tensor:
    """Return the mean distance [P] of the lips or lids of meshes [P, V] complex."""
    gaps = [(mesh[:, opening.upper] - mesh[:, opening.lower]).abs().mean(1) for opening in part.openings]
    return torch.stack(gaps).mean(0)


def _values(opening: Opening, goal: Tensor, place: Tensor) -> Tensor:
    """Return the flows and heights of ``Slides.values`` at the vertices inside an opening: [P, D, 5].

    goal, place: [P, V] complex, meshes of targets and references
    """
    first, last = opening.ring[0], opening.ring[len(opening.ring) // 2]
    turn = (place[:, last] - place[:, first]) / (goal[:, last] - goal[:, first])
    turn = (turn / turn.abs().clamp(min=1e-6))[:, None]
    here, upper, lower = goal[:, opening.inside], opening.upper, opening.lower
    anchors = opening.anchors(upper, lower), opening.anchors(lower, upper)
    flows = [torch.view_as_real(place[:, at] + turn * (here - goal[:, at]) - here) for at in anchors]
    heights = [0.0 if vertex in upper else 1.0 if vertex in lower else 0.5 for vertex in opening.inside]
    return torch.cat([*flows, flows[0].new_tensor(heights)[:, None].expand(len(goal), -1, -1)], -1)
