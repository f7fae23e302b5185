"""Pictures made with less than thgen has: the four parts of Table 3, as the geometric picture has them.

Networks that lack them draw the table in ``thcli.evaluation.suite.trained``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from thcli.evaluation.suite.options import ABLATIONS
from thcli.faces.pose import to_pixels
from thcli.pipeline.person import Person
from thcli.pipeline.target import Target
from thcli.records import Float, Image
from thcli.render.compose import Part
from thcli.render.frames import draw_frames
from thcli.render.generator import FrameGenerator
from thcli.render.geometric import AS_GENERATED, Drawing
from thcli.render.matching import Costs, Shares, costs
from thcli.render.warp import SKIN
from thcli.render.warped import PictureRenderer, Window
from thcli.rotations import apply_pose

Draw = Callable[[Person, Target, str], Iterator[Image]]
"""Frames [256, 256, 3] of a person for a target, on a device."""


@dataclass(frozen=True)
class Ablation:
    """One row of Table 3.

    title: as the paper prints it; meaning: what is left out of the picture
    weights: SHA-256 by name of those that only this row uses
    """

    title: str
    meaning: str
    draw: Draw
    weights: Mapping[str, str] = field(default_factory=dict)


def draw_with(drawing: Drawing) -> Draw:
    """Frames of the geometric path, drawn in the steps of ``drawing``."""
    return lambda person, target, device: draw_frames(person, target, device, False, drawing)


def draw_by(theta: FrameGenerator | None) -> Draw:
    """Frames as ``generate`` draws them: by Θ, or as the geometric path leaves them where there is none."""
    return lambda person, target, device: draw_frames(person, target, device, False, theta=theta)


def without_parts(base: Tensor, parts: Sequence[Part]) -> Tensor:
    """The whole alone: no parts for mouth and eyes."""
    return base


def one_reference(known: Costs) -> Shares:
    """The reference whose pose is nearest, for mouth and eyes as well."""
    base = known.match().base
    return Shares(base, base, base)


def one_reference_hard(known: Costs) -> Shares:
    """The same without cross-fades, which would show two heads where nothing is warped."""
    base = known.match().base
    base = np.eye(base.shape[1], dtype=np.float32)[base.argmax(axis=1)]
    return Shares(base, base, base)


def laid_on(base: Tensor, parts: Sequence[Part]) -> Tensor:
    """Parts put over pictures [B, 3, S, S] with a hard edge, in their own light."""
    picture = base.clone()
    for part in parts:
        height, width = part.image.shape[-2:]
        window = picture[..., part.top : part.top + height, part.left : part.left + width]
        window[:] = torch.where(part.mask > 0.5, part.image, window)
    return picture


class FlatRenderer(PictureRenderer):
    """Knows no third dimension: a reference is moved, turned in the picture and scaled as a whole, parts likewise.

    Nothing is painted into the mouth, whose shape only the mesh knows.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.painter = None

    def source(self, target: Tensor, reference: int) -> Tensor:
        """Target meshes [B, V, 3] moved by the similarity that takes them nearest to the reference's mesh."""
        moved = _similar(target[..., :2], self.meshes[reference : reference + 1, :, :2])
        return torch.cat([moved, target[..., 2:]], -1)


class StillRenderer(PictureRenderer):
    """Shows references as they are; the parts are drawn as ever."""

    def draw(self, target: Tensor, base: Float, mouth: Float, eyes: Float) -> tuple[Tensor, list[Window]]:
        """The references by their weights, not warped, and the windows of mouth and eyes."""
        windows = super().draw(target, base, mouth, eyes)[1]
        return torch.einsum("...k,kchw->...chw", torch.from_numpy(base).to(self.images.device), self.images), windows


@dataclass(frozen=True)
class InPlace:
    """The target's faces with the head as the matched reference has it.

    matched: [T], the reference of every frame, an index into the person's
    """

    person: Person
    target: Target
    matched: np.ndarray

    @property
    def pose(self) -> Float:
        """Head poses [T, 6]."""
        return self.person.track.pose[self.person.chosen[self.matched]]

    def faces(self, frames: slice) -> Float:
        """The target's."""
        return self.target.faces(frames)

    def meshes(self, frames: slice) -> Float:
        """They, where the reference's head is."""
        track = self.person.track
        posed = apply_pose(self.faces(frames), self.pose[frames])
        return to_pixels(posed, track.scale, track.size).astype(np.float32)


def draw_unwarped(person: Person, target: Target, device: str) -> Iterator[Image]:
    """The matched reference as it is, mouth and eyes drawn where its head is."""
    base = one_reference_hard(costs(person, target)).base
    in_place = InPlace(person, target, base.argmax(axis=1))

    def matched_before(known: Costs) -> Shares:
        return replace(known.match(), base=base)

    return draw_frames(person, in_place, device, False, Drawing(matched_before, StillRenderer))


def _similar(points: Tensor, goal: Tensor) -> Tensor:
    """Points [B, V, 2] moved by the least-squares similarity of the skin's points to a goal [1, V, 2]."""
    # in the complex plane a similarity is a product and a sum
    here, there = (torch.view_as_complex(p.double().contiguous()) for p in (points, goal))
    middle, goal_middle = here[:, SKIN].mean(1, keepdim=True), there[:, SKIN].mean(1, keepdim=True)
    here, there = here - middle, there - goal_middle
    product = (here[:, SKIN].conj() * there[:, SKIN]).sum(1, keepdim=True)
    turn = product / here[:, SKIN].abs().square().sum(1, keepdim=True)
    return torch.view_as_real(turn * here + goal_middle).to(points.dtype)


_DRAWN = (
    Ablation(
        "w/o 3D-Aware",
        "the references, those of mouth and eyes too, are aligned by a 2D similarity instead of the mesh's flow",
        draw_with(replace(AS_GENERATED, renderer=FlatRenderer)),
    ),
    Ablation(
        "w/o Hybrid-Attention",
        "one reference for all of the picture, mouth and eyes have none of their own; as geometric where K is 1",
        draw_with(replace(AS_GENERATED, match=one_reference)),
    ),
    Ablation(
        "w/o Non-Linear Comp.",
        "mouth and eyes are laid in with a hard edge, their light is not fitted to the picture's",
        draw_with(replace(AS_GENERATED, compose=laid_on)),
    ),
    Ablation(
        "w/o warping",
        "the matched reference stays as it is; mouth and eyes are drawn where its head is",
        draw_unwarped,
    ),
    Ablation(
        "Baseline",
        "none of the four: the matched reference as it is",
        draw_with(Drawing(one_reference_hard, StillRenderer, without_parts)),
    ),
)
ABLATED: Mapping[str, Ablation] = dict(zip(ABLATIONS, _DRAWN, strict=True))
"""By the names of ``--ablate``."""
