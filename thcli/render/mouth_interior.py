"""Inside of a mouth that opens further than any reference shows it, where §4.1 leaves a smear.

``MouthInterior`` is the mean of many people, fitted by ``thcli.training.mouth_interior``: teeth and darkness for
several openings of the mouth, soft, but neither a smear of the lips nor a hole. Its colours are stored over the
person's skin colour. ``InteriorPainter`` paints it, and the person's own teeth, into the image.
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
from thcli.images import blur
from thcli.records import CROP_SIZE, Float
from thcli.render.rasterize import Fragments, interpolate

HEIGHT, WIDTH = 24, 48
"""Size of the mean images, px."""
OPENINGS = (0.08, 0.16, 0.26, 0.38)
"""Relative opening of each mean image: lip gap over the inner mouth's width."""
SKIN = (205, 425, 50, 280, 101, 330)
"""Vertices on both cheeks, whose mean colour is taken as the colour of the skin."""
_CORNERS = (78, 308)
"""Vertices at the inner corners of the mouth, the person's right corner first."""
STRETCH = (1.1, 1.4)
"""Ratios of the target's opening to the references': up to the first the references' inside is stretched, and from the
second on their teeth keep their size."""
BELOW_TEETH = (0.75, 1.0)
"""Range between a reference's upper lip (0) and lower lip (1) in which its own inside fades into the mean image."""
SHOWS_NOTHING, SHOWS_TEETH = 0.04, 0.09
"""Relative openings up to which a reference shows nothing of the mouth's inside, and from which it shows the teeth."""
UNROLLED = (48, 96)
"""(height, width) of the unrolled insides of the references' mouths, px."""
DARK, DARKER = (0.8, 0.65, 0.62), (0.52, 0.31, 0.28)
"""Factors of the mean image's red, green and blue without and with visible teeth above it.

The blurred teeth of the mean image make the hollow of the mouth too light and too grey. Below visible teeth, the
darkest third of real open mouths has the colour that ``DARKER`` gives.
"""
EDGE_BLUR = 1.0
"""Standard deviation of the blur of the inner mouth's edge, px of the crop."""


@dataclass(frozen=True)
class MouthInterior:
    """Mean inside of the mouth of many people at several openings.

    pictures: [len(OPENINGS), 3, HEIGHT, WIDTH] float32, mean images from corner to corner and from lip to lip, as
        colour over the skin's colour
    """

    pictures: Float

    def save(self, path: Path) -> None:
        """Write the mean images as safetensors."""
        from safetensors.numpy import save_file

        save_file({"pictures": np.ascontiguousarray(self.pictures)}, path)

    @classmethod
    def load(cls, path: Path) -> MouthInterior:
        """Read a file that ``save`` wrote; WeightsError for any other file."""
        return cls(**load_arrays(path, {"pictures": (len(OPENINGS), 3, HEIGHT, WIDTH)}))


def inner_coordinates(n_vertices: int) -> Float:
    """Return the place (u, v) of each inner lip vertex in the mean images: [V, 2] in 0..1; other vertices have 0.

    u runs from the person's right corner of the mouth to the left one, v from the upper lip to the lower.
    """
    ring = list(INNER_LIPS)
    half = len(ring) // 2  # the ring runs from one corner along the lower lip, and back along the upper one
    place = np.zeros((n_vertices, 2), np.float32)
    for i, vertex in enumerate(ring):
        lower = 0 < i < half
        u = i / half if i <= half else 2 - i / half
        place[vertex] = (u, 0.5 if vertex in _CORNERS else float(lower))
    return place


def unroll(images: Tensor, points: Tensor, height: int, width: int) -> Tensor:
    """Resample the inside of mouths from corner to corner and from lip to lip: [n, 3, height, width].

    images: [n, 3, H, W]
    points: [n, V, 2], vertices of the mesh in -1..1 as for ``grid_sample``
    """
    ring, half = list(INNER_LIPS), len(INNER_LIPS) // 2
    lower = points[:, ring[: half + 1]].mT
    upper = points[:, [ring[0], *ring[:half:-1], ring[half]]].mT
    along = [F.interpolate(lip, size=width, mode="linear", align_corners=True).mT for lip in (upper, lower)]
    down = ((torch.arange(height, device=images.device) + 0.5) / height)[None, :, None, None]
    where = along[0][:, None] * (1 - down) + along[1][:, None] * down
    return F.grid_sample(images, where, align_corners=False)


def inner_faces(faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Return [F] bool: whether a triangle lies between the lips."""
    return np.asarray(np.isin(faces, INNER_LIPS).all(axis=1))


def relative_opening(mesh: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the lip gap over the inner mouth's width, (...), of meshes (..., V, 3)."""
    gap = np.linalg.norm(mesh[..., 13, :] - mesh[..., 14, :], axis=-1)
    width = np.linalg.norm(mesh[..., _CORNERS[0], :] - mesh[..., _CORNERS[1], :], axis=-1)
    return np.asarray(gap / np.maximum(width, 1e-6))


class InteriorPainter:
    """Paints the inside of the mouth into mouth patches.

    images: [K, 3, S, S], references, from which the colour of the skin and the person's teeth are taken
    meshes: [K, V, 3] px of the crop, their meshes, which show how far their mouths are open
    faces: [F, 3], vertices of the triangles
    """

    def __init__(self, interior: MouthInterior, images: Tensor, meshes: Tensor, faces: Tensor):
        self.faces = faces
        self.pictures = torch.from_numpy(interior.pictures).to(images.device)
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
        place = interpolate(fragments, self.faces, self.place.expand(len(target), -1, -1))
        inside = (self.inner[fragments.face.clamp(min=0)] & fragments.mask)[:, None].float()
        inside = (1.7 * blur(inside, EDGE_BLUR)).clamp(max=1)  # a little over the lips' edge, where teeth are stretched
        place, inside = (F.interpolate(x, size=image.shape[-2:], mode="bilinear") for x in (place, inside))
        known = np.clip((shown - SHOWS_NOTHING) / (SHOWS_TEETH - SHOWS_NOTHING), 0, 1)
        painted = self._painted(place, wanted, weights, self._column(stretch), self._column(known))
        return image + inside * self._column(share) * (painted - image)

    def _painted(self, place: Tensor, wanted: Float, weights: Float, stretch: Tensor, known: Tensor) -> Tensor:
        """Return the painted inside: the references' teeth in their own size at the upper lip, the mean image below."""
        of_references = torch.from_numpy(weights).to(place.device)
        down = place[:, 1:] * stretch
        own_place = torch.cat([place[:, :1], down.clamp(max=1)], 1).permute(0, 2, 3, 1) * 2 - 1
        own_inside = torch.einsum("bk,kchw->bchw", of_references, self.unrolled)
        own = F.grid_sample(own_inside, own_place, padding_mode="border", align_corners=False)
        mean = F.grid_sample(
            self._mean_images(wanted), place.permute(0, 2, 3, 1) * 2 - 1, padding_mode="border", align_corners=False
        )
        mean = (mean * (of_references @ self.skin)[:, :, None, None]).clamp(0, 1)
        dark, darker = (torch.tensor(colour, device=place.device)[None, :, None, None] for colour in (DARK, DARKER))
        mean = mean * (dark + known * (darker - dark))
        fade = ((BELOW_TEETH[1] - down) / (BELOW_TEETH[1] - BELOW_TEETH[0])).clamp(0, 1)
        return mean + known * fade * (own - mean)

    def _column(self, values: NDArray[np.floating]) -> Tensor:
        """Return values [B] as a tensor [B, 1, 1, 1] on the device."""
        return torch.from_numpy(values.astype(np.float32)).to(self.skin.device)[:, None, None, None]

    def _mean_images(self, opening: Float) -> Tensor:
        """Interpolate the mean images of relative openings [B]: [B, 3, HEIGHT, WIDTH]."""
        place = torch.from_numpy(np.interp(opening, OPENINGS, np.arange(len(OPENINGS)))).float()
        low = place.floor().long().clamp(max=len(OPENINGS) - 2)
        part = (place - low).to(self.pictures.device)[:, None, None, None]
        return self.pictures[low] * (1 - part) + self.pictures[low + 1] * part
