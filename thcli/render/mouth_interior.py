"""Painting the inside of a mouth that opens further than any reference shows it (§4.1 leaves a smear there)."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.images import blur
from thcli.records import CROP_SIZE, Float
from thcli.render.mouth_texture import (
    OPENINGS,
    SKIN,
    MouthInterior,
    inner_coordinates,
    inner_faces,
    relative_opening,
    unroll,
)
from thcli.render.rasterize import Fragments, interpolate

STRETCH = (1.1, 1.4)
"""Opening over the reference's up to which its inside is stretched, and from which its teeth keep their size."""
BELOW_TEETH = (0.75, 1.0)
"""Where, between the reference's lips, its own inside fades into what is painted below it."""
SHOWS_NOTHING, SHOWS_TEETH = 0.04, 0.09
"""Openings over the mouth's width below which a reference shows nothing of the inside, and above which it does."""
UNROLLED = (48, 96)
DARK, DARKER = (0.8, 0.65, 0.62), (0.52, 0.31, 0.28)
"""Of the mean picture's red, green and blue, what is left: its blurred teeth make the hollow of the mouth too light and
too grey; and below teeth that are to be seen, where the darkest third of real open mouths has this colour."""
EDGE_BLUR = 1.0


class InteriorPainter:
    """Paints into the window of the mouth.

    images: [K, 3, S, S], meshes: [K, V, 3] px of the crop: the references, for the colour of their skin and how far
    their mouths are open; faces: [F, 3]
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
        """The window [B, 3, h, w] with its mouth painted where the references' are too closed.

        fragments: of the window at the resolution of the crop; target: [B, V, 3]; weights: [B, K], the references'
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
        """Teeth hang from the upper lip in their own size, and below them is what is usual there."""
        of_references = torch.from_numpy(weights).to(place.device)
        down = place[:, 1:] * stretch
        own_place = torch.cat([place[:, :1], down.clamp(max=1)], 1).permute(0, 2, 3, 1) * 2 - 1
        own_inside = torch.einsum("bk,kchw->bchw", of_references, self.unrolled)
        own = F.grid_sample(own_inside, own_place, padding_mode="border", align_corners=False)
        usual = F.grid_sample(
            self._pictures(wanted), place.permute(0, 2, 3, 1) * 2 - 1, padding_mode="border", align_corners=False
        )
        usual = (usual * (of_references @ self.skin)[:, :, None, None]).clamp(0, 1)
        dark, darker = (torch.tensor(colour, device=place.device)[None, :, None, None] for colour in (DARK, DARKER))
        usual = usual * (dark + known * (darker - dark))
        fade = ((BELOW_TEETH[1] - down) / (BELOW_TEETH[1] - BELOW_TEETH[0])).clamp(0, 1)
        return usual + known * fade * (own - usual)

    def _column(self, values: NDArray[np.floating]) -> Tensor:
        """[B] as [B, 1, 1, 1]."""
        return torch.from_numpy(values.astype(np.float32)).to(self.skin.device)[:, None, None, None]

    def _pictures(self, opening: Float) -> Tensor:
        """[B, 3, HEIGHT, WIDTH], between the two learned openings nearest to each of [B]."""
        place = torch.from_numpy(np.interp(opening, OPENINGS, np.arange(len(OPENINGS)))).float()
        low = place.floor().long().clamp(max=len(OPENINGS) - 2)
        part = (place - low).to(self.pictures.device)[:, None, None, None]
        return self.pictures[low] * (1 - part) + self.pictures[low + 1] * part
