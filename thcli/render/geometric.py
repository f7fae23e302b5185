"""The geometric path: references warped onto target meshes and composed, without any network (§4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thcli.pipeline.person import Person
from thcli.records import CROP_SIZE, Image
from thcli.render.compose import Part, compose
from thcli.render.head_weights import learn_attachment, prior_attachment
from thcli.render.matching import Costs, Shares
from thcli.render.warped import PictureRenderer


@dataclass(frozen=True)
class Drawing:
    """The steps a picture is made in; ablations (Table 3) replace some.

    match: chooses the references for the whole, the mouth and the eyes (§4.1)
    renderer: warps the references onto the target mesh
    compose: lays the parts, mouth and eyes, over the whole
    """

    match: Callable[[Costs], Shares] = Costs.match
    renderer: type[PictureRenderer] = PictureRenderer
    compose: Callable[[Tensor, Sequence[Part]], Tensor] = compose


AS_GENERATED = Drawing()


class Sketcher:
    """Draws a person's references on target meshes.

    device: where to draw; pictures are of the person's scene, meshes in pixels of the crop
    """

    def __init__(self, person: Person, device: str, drawing: Drawing = AS_GENERATED) -> None:
        self.person, self.drawing = person, drawing
        images = torch.from_numpy(person.crops).permute(0, 3, 1, 2).float().div_(255)
        meshes = torch.from_numpy(person.in_scene(person.track.mesh[person.chosen]))
        attachment = learn_attachment(images, meshes, torch.from_numpy(person.model.faces).long(), prior_attachment())
        self.renderer = drawing.renderer(
            images, meshes, person.model, attachment, device, person.interior, person.scene.shown(person.frame_size)
        )
        self.compose = drawing.compose
        self.pixels = images[0, 0].numel()

    @property
    def references(self) -> Tensor:
        """The person's, as pictures [K, 3, S, S] float32 in 0..1 on the device."""
        return self.renderer.images

    @torch.inference_mode()
    def draw(self, mesh: Tensor, shares: Shares) -> Tensor:
        """Pictures [B, 3, S, S] float32 in 0..1 for meshes [B, V, 3] px of the crop, from B rows of shares."""
        picture, windows = self.renderer.draw(self._in_scene(mesh), shares.base, shares.mouth, shares.eyes)
        return self.compose(picture, [Part(w.image, w.mask, w.top, w.left) for w in windows])

    @torch.inference_mode()
    def draw_each(self, mesh: Tensor, shares: Sequence[Shares]) -> list[Tensor]:
        """``draw`` for several shares of the same meshes; a reference that more than one uses is warped once."""
        base, mouth, eyes = (np.stack([getattr(s, part) for s in shares]) for part in ("base", "mouth", "eyes"))
        pictures, windows = self.renderer.draw(self._in_scene(mesh), base, mouth, eyes)
        return [
            self.compose(picture, [Part(w.image[i], w.mask, w.top, w.left) for w in windows])
            for i, picture in enumerate(pictures)
        ]

    @torch.inference_mode()
    def attached(self, mesh: Tensor, shares: Shares) -> Tensor:
        """How far each place moves with the head, now or in a reference that is used: [B, 1, 256, 256] in 0..1."""
        attachment, device = self.renderer.attachment, self.renderer.images.device
        there = attachment.at(self.renderer.meshes, CROP_SIZE)[None]
        used = torch.from_numpy(shares.base > 0).to(device)[..., None, None, None]
        return torch.maximum(attachment.at(self._in_scene(mesh).to(device), CROP_SIZE), (there * used).amax(1))

    def _in_scene(self, mesh: Tensor) -> Tensor:
        return torch.from_numpy(self.person.in_scene(mesh.numpy()))


def as_images(pictures: Tensor) -> Image:
    """Pictures [B, 3, S, S] in 0..1 as frames [B, S, S, 3] uint8."""
    return (pictures * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
