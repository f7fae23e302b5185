"""Warping of a person's references onto target meshes: the whole image, and the patches of mouth and eyes."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thcli.face_model import LEFT_EYE, LIPS, RIGHT_EYE, FaceModel
from thcli.images import blur, ramp, resized, smoothstep
from thcli.records import CROP_SIZE, Float, ReferenceWeights
from thcli.render.compose import Patch
from thcli.render.flows import Flows, add_weighted, alike, pairs_of
from thcli.render.head_weights import HeadWeightMap
from thcli.render.layers import References, over_background
from thcli.render.mouth_interior import InteriorPainter, MouthInterior
from thcli.render.openings import EYES, MOUTH, Openings
from thcli.render.patches import PatchPlace, box_of, snapped
from thcli.render.rasterize import Fragments, interpolate, rasterize
from thcli.render.secondary_motion import SecondaryMotion
from thcli.render.transition import dissolve, which_is_nearer
from thcli.render.warp import head_flow, pixel_grid, sample, side_by_side

MOUTH_REACH = (0.05, 0.26)
"""Distances from the lips at which the mouth patch begins to fade and has faded out, canonical face units."""
EYE_REACH = (0.04, 0.17)
"""Distances from the lids at which the eye patch begins to fade and has faded out, canonical face units."""
BORDER = 0.1
"""Distance from the border of what the references show, over the image's side, from which the image moves freely.

Nearer to the border it moves ever less, and the border itself rests: beyond it the references show nothing, and a
border that moved inward would leave streaks. Where the image is part of a larger frame, the frame continues there
without a seam.
"""
FLOW_SIZE = CROP_SIZE // 2
"""Side, px, of the grid on which flows of whole images are computed; they are smooth, and a finer one shows no more."""
TOGETHER = 8
"""Most references sampled at a time; a processor's cores share them evenly."""
TOGETHER_PIXELS = TOGETHER * 512 * 512
"""Most pixels of references sampled at a time, so that memory does not grow with their size times their number."""
WHOLE = (0.0, 0.0, 1.0, 1.0)
"""Left, top, right and bottom edge of what a reference without empty borders shows, over its side."""
FACE_EDGE = 3.0
"""Standard deviation, px of the crop, of the blur of the edge of the face, which has no secondary motion."""
FlowOf = Callable[[Fragments, Tensor, Tensor, Tensor], Tensor]
"""Function of the arguments of ``head_flow`` that returns flows to n sources of each of B targets, of B 2 n images."""


class ReferenceWarper:
    """Warps the references of one person onto target meshes.

    references: K references of S² px, the size of the output
    meshes: [K, V, 3] float32, their meshes, px of the references resized to ``records.CROP_SIZE``
    interior: inside painted into mouths that open further than any reference's; without it they are stretched
    shown: left, top, right and bottom edge of what the references show, over their side; they are empty beyond it

    ``secondary`` may be set to the secondary motion of what is not face.
    """

    def __init__(
        self,
        references: References,
        meshes: Tensor,
        model: FaceModel,
        head_weights: HeadWeightMap,
        device: str = "cpu",
        interior: MouthInterior | None = None,
        shown: tuple[float, float, float, float] = WHOLE,
    ):
        self.references, self.meshes = references.each(lambda part: part.to(device)), meshes.to(device)
        self.faces = torch.from_numpy(model.faces).long().to(device)
        self.head_weights = HeadWeightMap(head_weights.weight.to(device))
        self.painter = None
        if interior is not None:
            self.painter = InteriorPainter(interior, self.images, self.meshes, self.faces)
        rasterized = rasterize(self.meshes, self.faces, CROP_SIZE, CROP_SIZE)
        parts = {"mouth": MOUTH, "eyes": EYES}
        self.openings = {name: Openings(part, rasterized, self.faces) for name, part in parts.items()}
        self.held = _border(device, shown)
        self.secondary: SecondaryMotion | None = None
        self.parts = torch.stack([_closeness(model, *region) for region in _REGIONS.values()], -1).to(device)
        touched = (self.parts.amax(1) > 0)[self.faces].any(1)
        self.featured = torch.unique(self.faces[touched])

    @property
    def images(self) -> Tensor:
        """Reference images [K, 3, S, S] float32 in 0..1, on the device."""
        return self.references.images

    def warp(self, target: Tensor, weights: ReferenceWeights) -> tuple[Tensor, list[Patch]]:
        """Warp the references to meshes [B, V, 3] px of the crop: images [B, 3, S, S], and patches of mouth and eyes.

        weights: of B frames
        """
        return self.warp_each(target, [(self.references, weights)])[0]

    def warp_each(
        self, target: Tensor, several: Sequence[tuple[References, ReferenceWeights]]
    ) -> list[tuple[Tensor, list[Patch]]]:
        """Warp references to the same meshes once with each of several weights, as ``warp`` does.

        several: the references to warp, of any size, and the weights; what depends on the meshes alone
            is computed once
        """
        target = target.to(self.images.device)
        top, bottom, left, right = self._features_box(target)
        fragments = self._fragments(target, (top, left, bottom - top, right - left))
        masks = interpolate(fragments, self.faces, self.parts.expand(len(target), -1, -1)).contiguous()

        def used(part: str, fine: bool = False) -> NDArray[np.bool_]:
            return np.any([(getattr(w, part) > 0) & (r.fine or not fine) for r, w in several], axis=0)

        flows = self._head_flows(target, used("base"))
        mouth, eyes = (
            self._place(part, target, fragments, masks[:, i : i + 1], used(part), used(part, fine=True), (top, left))
            for i, part in enumerate(_REGIONS)
        )
        warped = []
        for references, weights in several:
            patches = [(mouth, weights.mouth, self.painter), (eyes, weights.eyes, None)]
            images = references.images
            shown = [
                place.show(images, shares, target, painter, fine=references.fine)
                for place, shares, painter in patches
                if place
            ]
            warped.append((self._whole(references, weights, flows), shown))
        return warped

    def mouth(
        self, target: Tensor, weights: Float, size: int, part: tuple[int, int, int, int], also: Tensor
    ) -> tuple[Patch | None, Fragments, Tensor]:
        """Warp the patch of the mouth alone to meshes [B, V, 3], for images of ``size`` px.

        weights: [B, K], weights of the references, rows sum to 1
        part: top, left, height and width of the part of the crop that holds the patch, multiples of ``SNAP``
        also: [B, V, C], further attributes of the vertices

        Also returns the fragments of that part, and the attributes at each of its pixels, [B, C, height, width].
        """
        target = target.to(self.images.device)
        fragments = self._fragments(target, part)
        attributes = torch.cat([self.parts[:, :1].expand(len(target), -1, -1), also], -1)
        mask, values = interpolate(fragments, self.faces, attributes).contiguous().tensor_split([1], dim=1)
        place = self._place("mouth", target, fragments, mask, weights > 0, weights > 0, part[:2])
        patch = None if place is None else place.show(self.images, weights, target, self.painter, size)
        return patch, fragments, values

    def sources(self, target: Tensor, references: Tensor) -> Tensor:
        """Return where vertices of target meshes [B, V, 3] lie in references [B, n]: [B, n, V, 3], px of the crop."""
        return self.meshes[references]

    def _fragments(self, target: Tensor, part: tuple[int, int, int, int]) -> Fragments:
        """Rasterize meshes [B, V, 3], px of the crop, in a part of it: its top, left, height and width."""
        top, left, height, width = part
        return rasterize(target - target.new_tensor([left, top, 0]), self.faces, height, width)

    def _features_box(self, target: Tensor) -> tuple[int, int, int, int]:
        """Return top, bottom, left and right edge, px of the crop, of mouth and eyes in all of meshes [B, V, 3]."""
        (left, top), (right, bottom) = (
            ends.tolist() for ends in torch.aminmax(target[:, self.featured, :2].flatten(0, 1), dim=0)
        )
        return *snapped(top, bottom), *snapped(left, right)

    def _head_flows(self, target: Tensor, used: NDArray[np.bool_]) -> Flows:
        """Return the flows of whole images to the references [B, K] in use, which move with the head."""
        flows, free = self.rigid_flows(target, used, FLOW_SIZE)
        if self.secondary is None:
            return flows
        frames, references = (list(part) for part in zip(*flows.pairs, strict=True))
        added = self.secondary.flow(target[frames], self.meshes[references], free[frames])
        return Flows(flows.pairs, flows.flow + added)

    def rigid_flows(self, target: Tensor, used: NDArray[np.bool_], size: int) -> tuple[Flows, Tensor]:
        """Return flows of whole images without secondary motion, and where there may be some: see ``RigidFlows``."""
        scale = size / CROP_SIZE
        fragments = rasterize(target * target.new_tensor([scale, scale, 1.0]), self.faces, size, size)
        held = resized(self.held[None, None], size)
        head_weight = self.head_weights.at(target, size) * held
        flows, _ = self._flows(head_flow, fragments, target, used)
        beside = 1 - blur(fragments.mask[:, None].float(), FACE_EDGE * scale)
        return Flows(flows.pairs, flows.flow * head_weight[[b for b, _ in flows.pairs]]), beside * held

    def _flows(
        self, flow_of: FlowOf, fragments: Fragments, target: Tensor, used: NDArray[np.bool_]
    ) -> tuple[Flows, Tensor]:
        """Return the flows from target meshes [B, V, 3] to the references [B, K] in use, and meshes [P, V, 3] there.

        Frames that use equally many references are computed together, in few calls.
        """
        pairs: list[tuple[int, int]] = []
        flows, meshes = [], []
        for frames, references in alike(used):
            sources = self.sources(target[frames], references)
            flow = flow_of(fragments[frames], self.faces, target[frames], sources)
            flows.append(flow.view(-1, 2, *flow.shape[2:]))
            meshes.append(sources.flatten(0, 1))
            pairs += zip(
                frames.repeat_interleave(references.shape[1]).tolist(), references.flatten().tolist(), strict=True
            )
        return Flows(pairs, torch.cat(flows)), torch.cat(meshes)

    def _whole(self, references: References, weights: ReferenceWeights, flows: Flows) -> Tensor:
        """Warp whole images [B, 3, S, S] without patches, of references of S² px."""
        images = references.images
        image, blended = images.new_zeros(len(weights.base), *images.shape[1:]), weights.base.copy()
        if weights.dissolved:
            between = np.flatnonzero((blended > 0).sum(axis=1) > 1)
            self._dissolve(image, references, weights.base, between, flows)
            blended[between] = 0
        pairs, step = pairs_of(blended), min(TOGETHER, max(1, TOGETHER_PIXELS // images[0, 0].numel()))
        for first in range(0, len(pairs), step):
            some = pairs[first : first + step]
            used = [k for _, k in some]
            shown = sorted(set(used))
            moved = sample(references.moving(shown), flows.of(some), [shown.index(k) for k in used], cubic=True)
            warped = over_background(moved, references.behind(used))
            add_weighted(image, warped, some, blended)
        return image

    def _dissolve(
        self, image: Tensor, references: References, weights: Float, between: NDArray[np.intp], flows: Flows
    ) -> None:
        """Set those of images [B, 3, S, S] that lie between two references of S² px, by weights [B, K].

        between: numbers of these images
        """
        step = max(1, TOGETHER_PIXELS // image[0, 0].numel())
        for first in range(0, len(between), step):
            frames = between[first : first + step]
            # Where changes follow each other so fast that three references have a weight, the least is left out.
            two = np.sort(np.argsort(-weights[frames], axis=1, kind="stable")[:, :2], axis=1)
            used = np.take_along_axis(weights[frames], two, axis=1)
            share = torch.from_numpy(used[:, 1] / used.sum(axis=1)).to(image)
            pairs = [(int(b), int(k)) for b, row in zip(frames, two, strict=True) for k in row]
            both = flows.of(pairs).view(len(frames), 2, *flows.flow.shape[1:])
            nearer = two[np.arange(len(two)), which_is_nearer(share).numpy()]
            moved = dissolve(references.moving(nearer.tolist()), references.small[two], both, share, self.held)
            first_behind, behind = (references.behind(row.tolist()) for row in two.T)
            if first_behind is not None and behind is not None:
                behind = torch.lerp(first_behind, behind, share.view(-1, 1, 1, 1))
            image[torch.from_numpy(frames)] = over_background(moved, behind)

    def _place(
        self,
        part: str,
        target: Tensor,
        fragments: Fragments,
        mask: Tensor,
        used: NDArray[np.bool_],
        fine: NDArray[np.bool_],
        corner: tuple[int, int],
    ) -> PatchPlace | None:
        """Return where the part under ``mask`` [B, 1, H, W] lies in the references [B, K] in use; None without any.

        fine: [B, K], those in use of which fine images are made
        corner: top and left edge of the fragments in the crop, multiples of ``patches.SNAP``
        """
        box = box_of(mask)
        if box is None:
            return None
        top, bottom, left, right = box
        inside = fragments[:, top:bottom, left:right]
        flows, sources = self._flows(side_by_side, inside, target, used)
        rows = [row for row, pair in enumerate(flows.pairs) if fine[pair]]
        pairs = [flows.pairs[row] for row in rows]
        slides = None
        if pairs:
            slides = self.openings[part].slides(inside, pairs, target[[b for b, _ in pairs]], sources[rows])
        place = (corner[0] + top, corner[1] + left)
        return PatchPlace(mask[..., top:bottom, left:right], inside, flows, *place, slides)


_REGIONS = {"mouth": ([*LIPS], MOUTH_REACH), "eyes": ([*RIGHT_EYE, *LEFT_EYE], EYE_REACH)}


def _closeness(model: FaceModel, seeds: list[int], reach: tuple[float, float]) -> Tensor:
    """Return how much each vertex [V] belongs to the part around the vertices ``seeds``: 1 near them, falling to 0."""
    distance = np.linalg.norm(model.canonical[:, None] - model.canonical[None, seeds], axis=-1).min(axis=1)
    # The vertices of the inner mouth and of the eyes lie among the seeds; the smooth step leaves no edge.
    return torch.from_numpy(ramp(distance, *reach[::-1]).astype(np.float32))


def _border(device: str, shown: tuple[float, float, float, float]) -> Tensor:
    """Return how freely the image moves, [FLOW_SIZE, FLOW_SIZE]: 0 at the border of what is shown, 1 inside."""
    place = pixel_grid(FLOW_SIZE, torch.device(device)) / CROP_SIZE
    first, last = (torch.tensor(shown, device=device).view(2, 2, 1, 1)[i] for i in range(2))
    share = (torch.minimum(place - first, last - place).amin(0) / BORDER).clamp(0, 1)
    return smoothstep(share)
