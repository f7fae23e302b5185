"""The geometric renderer: references warped onto target meshes and composed, without any network (§4.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from thcli.face_model import FaceModel
from thcli.images import resized, widened
from thcli.records import CROP_SIZE, Image, Person, ReferenceWeights
from thcli.render.compose import Patch, compose
from thcli.render.head_weights import estimate_head_weights, prior_head_weights
from thcli.render.layers import References, layered
from thcli.render.matcher import Costs
from thcli.render.mouth_interior import MouthInterior
from thcli.render.secondary_motion import learn_secondary_motion
from thcli.render.small_frames import EVERY
from thcli.render.warped import ReferenceWarper

MOVED = 20
"""Distance from where references show the person up to which the person may have moved, px of the canvas at 256²."""


class RenderModels(Protocol):
    """The loaded models that the geometric renderer uses; ``pipeline.models.Models`` has them."""

    @property
    def device(self) -> str:
        """Device on which images are rendered."""

    @property
    def face_model(self) -> FaceModel:
        """Topology and canonical shape of the mesh."""

    @property
    def mouth_interior(self) -> MouthInterior:
        """Inside of a mouth, painted where no reference shows the mouth open."""


@dataclass(frozen=True)
class RenderSteps:
    """Steps in which an image is rendered; ablations (Table 3) replace some.

    match: chooses the references for the whole image, the mouth and the eyes (§4.1)
    warper: warps the references onto the target mesh
    compose: lays the patches of mouth and eyes over the whole image
    """

    match: Callable[[Costs], ReferenceWeights] = Costs.match
    warper: type[ReferenceWarper] = ReferenceWarper
    compose: Callable[[Tensor, Sequence[Patch]], Tensor] = compose


DEFAULT_STEPS = RenderSteps()
"""Steps of an ordinary video."""


class GeometricRenderer:
    """Renders a person's references on target meshes.

    Images show the person's canvas; meshes are in px of the crop.
    """

    def __init__(self, models: RenderModels, person: Person, steps: RenderSteps = DEFAULT_STEPS) -> None:
        self.person, self.steps = person, steps
        model = models.face_model
        faces = torch.from_numpy(model.faces).long()
        images = torch.from_numpy(person.reference_images).permute(0, 3, 1, 2).float().div_(255)
        meshes = torch.from_numpy(person.to_canvas(person.track.mesh[person.reference_indices]))
        references = References(images)
        if person.reference_opacity is not None:
            seen = torch.from_numpy(person.reference_opacity)[:, None].float().div_(255)
            references = layered(images, seen, meshes, faces)
        opacity = references.opacity
        prior = prior_head_weights(layered=opacity is not None)
        head_weights = estimate_head_weights(images, meshes, faces, prior, opacity)
        shown = person.canvas.shown(person.frame_size)
        self.warper = steps.warper(references, meshes, model, head_weights, models.device, models.mouth_interior, shown)
        self.pixels = images[0, 0].numel()
        if person.small_frames is not None:
            self._learn(person, person.small_frames)

    @torch.inference_mode()
    def _learn(self, person: Person, frames: Image) -> None:
        """Learn the secondary motion of the person from frames of the clip (``small_frames``)."""
        meshes = self._to_canvas(torch.from_numpy(person.track.mesh[::EVERY])).to(self.warper.meshes)
        at = person.reference_indices
        own = np.where(at % EVERY == 0, at // EVERY, -1)
        given = (frames, meshes, own, self.references, self.warper.meshes, self.warper.rigid_flows)
        self.warper.secondary = learn_secondary_motion(*given)

    @property
    def references(self) -> References:
        """References on the device."""
        return self.warper.references

    def render(self, mesh: Tensor, weights: ReferenceWeights) -> Tensor:
        """Render images [B, 3, S, S] float32 in 0..1 of meshes [B, V, 3] px of the crop, from B rows of weights."""
        return self.render_each(mesh, [(self.references, weights)])[0]

    @torch.inference_mode()
    def render_each(self, mesh: Tensor, several: Sequence[tuple[References, ReferenceWeights]]) -> list[Tensor]:
        """Render the same meshes once with each of several weights.

        several: the references, of any size, and the weights
        """
        warped = self.warper.warp_each(self._to_canvas(mesh), several)
        return [self.steps.compose(image, patches) for image, patches in warped]

    @torch.inference_mode()
    def head_weight(self, mesh: Tensor, weights: ReferenceWeights) -> Tensor:
        """Return the head weight of each place: [B, 1, 256, 256] in 0..1.

        It is the largest of the head weights at the target mesh and at the mesh of every reference in use; where these
        are layered, it is 0 far from the person.
        """
        head_weights, device = self.warper.head_weights, self.warper.images.device
        there = head_weights.at(self.warper.meshes, CROP_SIZE)[None]
        used = torch.from_numpy(weights.base > 0).to(device)[..., None, None, None]
        weight = torch.maximum(head_weights.at(self._to_canvas(mesh).to(device), CROP_SIZE), (there * used).amax(1))
        return weight if self._reach is None else weight * (self._reach[None] * used).amax(1)

    @cached_property
    def _reach(self) -> Tensor | None:
        """Where the person of each reference may be in a frame, [K, 1, 256, 256] in 0..1; None without layers."""
        opacity = self.references.opacity
        return None if opacity is None else widened(resized(opacity, CROP_SIZE), MOVED)

    def _to_canvas(self, mesh: Tensor) -> Tensor:
        return torch.from_numpy(self.person.to_canvas(mesh.numpy()))


def to_uint8(images: Tensor) -> Image:
    """Convert images [B, 3, S, S] in 0..1 to frames [B, S, S, 3] uint8."""
    return (images * 255).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
