"""Inside of a mouth that opens further than any reference shows it, where §4.1 leaves a smear.

``MouthInterior`` is learned over many people by ``thcli.training.mouth_interior``: a row of upper teeth, in its own
size, with the dark behind it, and what lies above the lower lip; no single person's mouth can be told in it. Its
colours follow the colour of the person's skin. ``InteriorPainter`` paints it, and the person's own teeth.
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
from thcli.face_model import INNER_LIPS, rims
from thcli.images import blur, fill, ramp, resized_to, sampled
from thcli.records import CROP_SIZE, Float
from thcli.render.rasterize import Fragments, interpolate

UPPER, LOWER, COLUMNS = 20, 12, 64
"""Rows below the upper lip and above the lower one, and columns, of the images of the inside, px."""
DEEP, SHALLOW = 0.225, 0.135
"""Heights of these rows, in widths of the inner mouth."""
SKIN = (205, 425, 50, 280, 101, 330)
"""Vertices on both cheeks, whose mean colour is taken as the colour of the skin."""
CORNERS = (78, 308)
"""Vertices at the inner corners of the mouth, the person's right corner first."""
STRETCH = (1.1, 1.4)
"""Ratios of the target's opening to the references': up to the first the references' inside is stretched, and from the
second on their teeth keep their size."""
BELOW_TEETH = (0.75, 1.0)
"""Range between a reference's upper lip (0) and lower lip (1) in which its own inside fades into the learned one."""
SHOWS_NOTHING, SHOWS_TEETH = 0.04, 0.09
"""Relative openings up to which a reference shows nothing of the mouth's inside, and from which it shows the teeth."""
UNROLLED = (48, 96)
"""(height, width) of the unrolled insides of the references' mouths, px."""
ABOVE_LIP = (0.0, 0.07)
"""Heights above the lower lip, in widths of the mouth, over which what lies there gives way to the upper teeth."""
EDGE_BLUR = 1.0
"""Standard deviation of the blur of the inner mouth's edge, px of the crop."""


@dataclass(frozen=True)
class MouthInterior:
    """Inside of many people's mouths, linear in the colour of their skin, 0..1.

    upper: [2, 3, UPPER, COLUMNS] float32, colour below the upper lip, from corner to corner: the part that does not
        depend on the skin, and the factor of the skin's colour
    lower: [2, 3, LOWER, COLUMNS] float32, the same above the lower lip, from the lip upward
    """

    upper: Float
    lower: Float

    def save(self, path: Path) -> None:
        """Write the images as safetensors."""
        from safetensors.numpy import save_file

        save_file({"upper": np.ascontiguousarray(self.upper), "lower": np.ascontiguousarray(self.lower)}, path)

    @classmethod
    def load(cls, path: Path) -> MouthInterior:
        """Read a file that ``save`` wrote; WeightsError for any other file."""
        shapes = {"upper": (2, 3, UPPER, COLUMNS), "lower": (2, 3, LOWER, COLUMNS)}
        return cls(**load_arrays(path, shapes))


def inner_coordinates(n_vertices: int) -> Float:
    """Return the place (u, v) of each inner lip vertex inside the mouth: [V, 2] in 0..1; other vertices have 0.

    u runs from the person's right corner of the mouth to the left one, v from the upper lip to the lower.
    """
    ring = list(INNER_LIPS)
    half = len(ring) // 2  # the ring runs from one corner along the lower lip, and back along the upper one
    place = np.zeros((n_vertices, 2), np.float32)
    for i, vertex in enumerate(ring):
        lower = 0 < i < half
        u = i / half if i <= half else 2 - i / half
        place[vertex] = (u, 0.5 if vertex in CORNERS else float(lower))
    return place


def lip_lines(points: Tensor, columns: int) -> tuple[Tensor, Tensor]:
    """Return points along the upper and the lower inner lip, from corner to corner, [n, columns, 2], of [n, V, 2]."""
    right, left = CORNERS
    lower, upper = (
        F.interpolate(points[:, [right, *rim, left]].mT, size=columns, mode="linear", align_corners=True).mT
        for rim in rims(INNER_LIPS)
    )
    return upper, lower


def unroll(images: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """Resample the inside of mouths from corner to corner and from lip to lip: [n, 3, height, width].

    images: [n, 3, H, W]
    points: [n, V, 2], vertices of the mesh in -1..1 as for ``grid_sample``
    """
    upper, lower = lip_lines(points, width)
    down = ((torch.arange(height, device=images.device) + 0.5) / height)[None, :, None, None]
    return F.grid_sample(images, upper[:, None] * (1 - down) + lower[:, None] * down, align_corners=False)


def inner_faces(faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return [F] bool: whether a triangle lies between the lips."""
    return np.asarray(np.isin(faces, INNER_LIPS).all(axis=1))


def relative_opening(mesh: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the lip gap over the inner mouth's width, (...), of meshes (..., V, 3)."""
    gap = np.linalg.norm(mesh[..., 13, :] - mesh[..., 14, :], axis=-1)
    width = np.linalg.norm(mesh[..., CORNERS[0], :] - mesh[..., CORNERS[1], :], axis=-1)
    return np.asarray(gap / np.maximum(width, 1e-6))


class InteriorPainter:
    """Paints the inside of the mouth into mouth patches.

    images: [K, 3, S, S], references, from which the colour of the skin and the person's teeth are taken
    meshes: [K, V, 3] px of the crop, their meshes, which show how far their mouths are open
    faces: [F, 3], vertices of the triangles
    """

    def __init__(self, interior: MouthInterior, images: Tensor, meshes: Tensor, faces: Tensor):
        self.faces = faces
        self.upper, self.lower = (torch.from_numpy(x).to(images.device) for x in (interior.upper, interior.lower))
        self.place = torch.from_numpy(inner_coordinates(meshes.shape[1]))[None].to(images.device)
        self.inner = torch.from_numpy(inner_faces(faces.cpu().numpy())).to(images.device)
        at = meshes[:, None, list(SKIN), :2] / (CROP_SIZE / 2) - 1
        self.skin = F.grid_sample(images, at, align_corners=False).mean((2, 3))
        self.unrolled = unroll(images, meshes[..., :2] / (CROP_SIZE / 2) - 1, *UNROLLED)
        self.opening = relative_opening(meshes.cpu().numpy())

    def paint(self, image: Tensor, fragments: Fragments, target: Tensor, weights: Float) -> Tensor:
        """Return mouth patches [B, 3, h, w], painted where the references' mouths are too closed.

        image: [B, 3, h, w], the patches as warped from the references
        fragments: fragments of the patch at the resolution of the crop
        target: [B, V, 3], target meshes, px of the crop
        weights: [B, K], weights of the references
        """
        wanted = relative_opening(target.cpu().numpy())
        shown = np.maximum(weights @ self.opening, SHOWS_NOTHING)
        stretch = wanted / shown
        share = np.clip((stretch - STRETCH[0]) / (STRETCH[1] - STRETCH[0]), 0, 1)
        if not share.any():
            return image
        inside = (self.inner[fragments.face.clamp(min=0)] & fragments.mask)[:, None].float()
        place = fill(interpolate(fragments, self.faces, self._places(target)).contiguous(), inside)
        inside = (1.7 * blur(inside, EDGE_BLUR)).clamp(max=1)  # a little over the lips' edge, where teeth are stretched
        size = (image.shape[-2], image.shape[-1])
        place, inside = (resized_to(x, size) for x in (place, inside))
        known = np.clip((shown - SHOWS_NOTHING) / (SHOWS_TEETH - SHOWS_NOTHING), 0, 1)
        painted = self._painted(place, weights, self._column(stretch), self._column(known))
        return image + inside * self._column(share) * (painted - image)

    def _places(self, target: Tensor) -> Tensor:
        """Return, for each vertex of meshes [B, V, 3], its place (u, v), and its height below and above the lips.

        Heights are in widths of the inner mouth: [B, V, 4].
        """
        gap = target.new_zeros(target.shape[:2])
        width = (target[:, CORNERS[0], :2] - target[:, CORNERS[1], :2]).norm(dim=1, keepdim=True).clamp(min=1e-3)
        lower, upper = rims(INNER_LIPS)
        gap[:, lower] = gap[:, upper] = (target[:, lower, :2] - target[:, upper, :2]).norm(dim=2) / width
        place = self.place.expand(len(target), -1, -1)
        return torch.cat([place, (gap * place[..., 1])[..., None], (gap * (1 - place[..., 1]))[..., None]], -1)

    def _painted(self, place: Tensor, weights: Float, stretch: Tensor, known: Tensor) -> Tensor:
        """Return the painted inside: the references' teeth in their own size, and below them what is learned."""
        of_references = torch.from_numpy(weights).to(place.device)
        across, down = place[:, :1], place[:, 1:2] * stretch
        own = _at(torch.einsum("bk,kchw->bchw", of_references, self.unrolled), across, down.clamp(max=1))
        skin = (of_references @ self.skin)[:, :, None, None]
        upper = _at(self.upper[0] + self.upper[1] * skin, across, place[:, 2:3] / DEEP)
        lower = _at(self.lower[0] + self.lower[1] * skin, across, place[:, 3:] / SHALLOW)
        near = ramp(place[:, 3:], *ABOVE_LIP[::-1])
        made = torch.lerp(upper, lower, near).clamp(0, 1)
        fade = ((BELOW_TEETH[1] - down) / (BELOW_TEETH[1] - BELOW_TEETH[0])).clamp(0, 1)
        return made + known * fade * (own - made)

    def _column(self, values: NDArray[np.floating]) -> Tensor:
        """Return values [B] as a tensor [B, 1, 1, 1] on the device."""
        return torch.from_numpy(values.astype(np.float32)).to(self.skin.device)[:, None, None, None]


def _at(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Sample images [B, C, h, w] at places [B, 1, H, W] in 0..1 across and down; beyond them the border is repeated."""
    size = across.new_tensor([images.shape[-1], images.shape[-2]]).view(2, 1, 1)
    return sampled(images, torch.cat([across, down], 1) * size)
