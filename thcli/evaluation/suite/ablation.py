"""Ablations of the geometric renderer: frames rendered without each of the four parts of Table 3.

Rows of networks that were trained without these parts are in ``thcli.evaluation.suite.trained``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thcli.evaluation.suite.options import ABLATIONS
from thcli.records import Float, Image, Person, ReferenceWeights, Target
from thcli.render.compose import Patch
from thcli.render.frames import TargetRenderer
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import DEFAULT_STEPS, RenderModels, RenderSteps
from thcli.render.layers import References
from thcli.render.matcher import Costs, costs
from thcli.render.warp import SKIN
from thcli.render.warped import ReferenceWarper
from thcli.rotations import apply_pose, to_pixels

Render = Callable[[RenderModels, Person, Target], Iterator[Image]]
"""Function that renders the frames [256, 256, 3] of a person for a target."""


@dataclass(frozen=True)
class Ablation:
    """One row of Table 3.

    title: name of the row in the paper
    meaning: what is left out of the image
    render: renders the row's frames
    weights: SHA-256 of the weights that only this row uses, by file name
    """

    title: str
    meaning: str
    render: Render
    weights: Mapping[str, str] = field(default_factory=dict)


def render_with(steps: RenderSteps) -> Render:
    """Return what renders frames by the geometric renderer with the given steps."""
    return lambda models, person, target: TargetRenderer(models, person, target, steps=steps).frames()


def render_by(theta: FrameGenerator | None) -> Render:
    """Return what renders frames as ``thgen generate`` does: by Θ, or by the geometric renderer where Θ is None."""
    return lambda models, person, target: TargetRenderer(models, person, target, theta=theta).frames()


def without_parts(base: Tensor, patches: Sequence[Patch]) -> Tensor:
    """Return the whole image without the patches of mouth and eyes."""
    return base


def one_reference(known: Costs) -> ReferenceWeights:
    """Return the weights of the references nearest in pose, for mouth and eyes as well."""
    base = known.match().base
    return ReferenceWeights(base, base, base, dissolved=True)


def one_reference_hard(known: Costs) -> ReferenceWeights:
    """Return the weights of the single reference nearest in pose; a cross-fade without a warp would show two heads."""
    base = known.match().base
    base = np.eye(base.shape[1], dtype=np.float32)[base.argmax(axis=1)]
    return ReferenceWeights(base, base, base)


def laid_on(base: Tensor, patches: Sequence[Patch]) -> Tensor:
    """Lay patches over images [B, 3, S, S] with hard edges and their own light."""
    image = base.clone()
    for patch in patches:
        height, width = patch.image.shape[-2:]
        window = image[..., patch.top : patch.top + height, patch.left : patch.left + width]
        window[:] = torch.where(patch.mask > 0.5, patch.image, window)
    return image


class FlatWarper(ReferenceWarper):
    """Warper without depth: references and patches are shifted, rotated in the image plane and scaled as a whole.

    Nothing is painted into the mouth, whose shape is known from the mesh only.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.painter = None

    def sources(self, target: Tensor, references: Tensor) -> Tensor:
        """Return target meshes [B, V, 3] moved by the similarities that take them nearest to references [B, n]."""
        moved = _similar(target[:, None, :, :2], self.meshes[references][..., :2])
        return torch.cat([moved, target[:, None, :, 2:].expand(*moved.shape[:3], 1)], -1)


class StillWarper(ReferenceWarper):
    """Warper that leaves the references as they are; the patches of mouth and eyes are warped as usual."""

    def warp_each(
        self, target: Tensor, several: Sequence[tuple[References, ReferenceWeights]]
    ) -> list[tuple[Tensor, list[Patch]]]:
        """Return the unwarped references, blended by their weights, and the patches of mouth and eyes."""
        warped = super().warp_each(target, several)
        return [
            (torch.einsum("bk,kchw->bchw", torch.from_numpy(weights.base).to(self.images), references.images), patches)
            for (references, weights), (_, patches) in zip(several, warped, strict=True)
        ]


@dataclass(frozen=True)
class InPlace:
    """Target with the faces of another target, and the head poses of the matched references.

    target: the other target
    matched: [T], reference of every frame, an index into the person's references
    """

    person: Person
    target: Target
    matched: np.ndarray

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.person.track.pose[self.person.reference_indices[self.matched]]

    def unposed_meshes(self, frames: slice) -> Float:
        """Return the unposed meshes [B, V, 3] of the other target."""
        return self.target.unposed_meshes(frames)

    def meshes(self, frames: slice) -> Float:
        """Return the meshes [B, V, 3] px, posed as the matched references are."""
        track = self.person.track
        posed = apply_pose(self.unposed_meshes(frames), self.pose[frames])
        return to_pixels(posed, track.scale, track.size).astype(np.float32)


def render_unwarped(models: RenderModels, person: Person, target: Target) -> Iterator[Image]:
    """Render the matched reference unchanged, with mouth and eyes where its head is."""
    base = one_reference_hard(costs(person, target)).base
    in_place = InPlace(person, target, base.argmax(axis=1))

    def matched_before(known: Costs) -> ReferenceWeights:
        return replace(known.match(), base=base)

    return TargetRenderer(models, person, in_place, steps=RenderSteps(matched_before, StillWarper)).frames()


def _similar(points: Tensor, goal: Tensor) -> Tensor:
    """Return points [B, 1, V, 2] moved by the similarities that fit the skin's points to goals [B, n, V, 2] best."""
    # In the complex plane a similarity is a product and a sum. MPS has no float64, so the CPU computes them.
    here, there = (torch.view_as_complex(p.cpu().double().contiguous()) for p in (points, goal))
    middle, goal_middle = here[..., SKIN].mean(-1, keepdim=True), there[..., SKIN].mean(-1, keepdim=True)
    here, there = here - middle, there - goal_middle
    product = (here[..., SKIN].conj() * there[..., SKIN]).sum(-1, keepdim=True)
    turn = product / here[..., SKIN].abs().square().sum(-1, keepdim=True)
    return torch.view_as_real(turn * here + goal_middle).to(points)


_RENDERED = (
    Ablation(
        "w/o 3D-Aware",
        "the references, those of mouth and eyes too, are aligned by a 2D similarity instead of the mesh's flow",
        render_with(replace(DEFAULT_STEPS, warper=FlatWarper)),
    ),
    Ablation(
        "w/o Hybrid-Attention",
        "one reference for all of the picture, mouth and eyes have none of their own; as geometric where K is 1",
        render_with(replace(DEFAULT_STEPS, match=one_reference)),
    ),
    Ablation(
        "w/o Non-Linear Comp.",
        "mouth and eyes are laid in with a hard edge, their light is not fitted to the picture's",
        render_with(replace(DEFAULT_STEPS, compose=laid_on)),
    ),
    Ablation(
        "w/o warping",
        "the matched reference stays as it is; mouth and eyes are drawn where its head is",
        render_unwarped,
    ),
    Ablation(
        "Baseline",
        "none of the four: the matched reference as it is",
        render_with(RenderSteps(one_reference_hard, StillWarper, without_parts)),
    ),
)
ABLATED: Mapping[str, Ablation] = dict(zip(ABLATIONS, _RENDERED, strict=True))
"""Ablations by their names in ``--ablate``."""
