"""Θ, the 3D-aware generative network (§3.4, §4.2, §4.3): hybrid embedding, flow network, non-linear composition.

The first departure from the paper makes y_geo the floor of quality. Θ takes y_geo, the geometric renderer's image of
the nearest reference on the target's mesh, and changes it: ŷ = y_geo + Σ s (y' - y_geo) + change, summed over the
warped images y' of the projected and the matched image. The decoder outputs the shares s and the change. Its last
layer starts at zero, so an untrained Θ returns y_geo to the last bit, and training improves on that. Both image
branches of the decoder take y_geo beside their own image. Shares keep the detail of photographs, which a decoder of
this size could not generate. With ``floor=False`` the decoder generates the whole image, as in the paper.

In the second departure, ỹ_t is not one frontal texture but a blend of the nearest references on the target's mesh.
Where the references agree, the blend is free of the noise and misplacement of each; where they differ, it is soft,
unlike y_geo.

In the third departure, the layers of ``lite`` work at half the size, and its change of y_geo is enlarged. What it
paints is low in frequency, and the detail of y_geo, or of y_ts where that takes its place, stays; and most of a CPU's
time goes to reading and writing the largest features. It takes the crop at 192², for the same reason: at 256² its
image is hardly better, as fine detail is y_geo's.

The architecture has two sizes. The figures are for a frame of 192² and 256²; a multiply-add counts as two operations:

====================  ======  ======
..                    lite    paper
====================  ======  ======
parameters, millions  2.38    124.3
GFLOP a frame         0.84    97.5
GFLOP a reference     0.19    5.4
====================  ======  ======

A reference is embedded once per job; the figure of a frame includes everything else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .blocks import reduced, resized
from .composition import Composition, CompositionDims
from .embedding import Attended, Embedding, EmbeddingDims, HybridEmbedding
from .flow import FlowDims, FlowNetwork, Warped, warp


@dataclass(frozen=True)
class GeneratorDims:
    """Sizes of Θ, and which of the paper's four modules it has (Table 3); the defaults are ``lite``.

    side: side, px, to which the crop is resized for the image that is made
    reduction: factor by which images are smaller, for all layers, than the image that is made
    widths: channels of the N levels; level 0 has 1 / stem of the image's resolution, each further level half of it
    stem: stride of the first layers
    subpixel: factor by which the last layer's output is larger than level 0; what is missing is enlarged bilinearly
    kernel: kernel size of the convolutions in the fixed SPADE blocks
    level: level at which references are combined
    activation: channels of the activation maps α
    grid, hidden: side of the grid of positions that E_F takes, and hidden units of E_F_P
    flow_stem, flow_width, flow_downs, flow_residuals: sizes of the flow networks, see ``FlowDims``
    three_d: whether the projected image ỹ_t is used; without it the matched image is the only one
    hybrid_attention: whether the embedding has attention over the references, information exchange and ConvGate;
        without these, features of the references are averaged
    nonlinear_composition: whether images guide the decoder; without this, they are laid over its image by their
        attention maps (image matting, whose faults Fig. 5 shows), or are not used where ``warping`` is off too
    warping: whether flow networks warp the images; without them images are not moved and have no attention maps
    floor: whether Θ changes y_geo instead of generating the whole image
    """

    side: int = 192
    reduction: int = 2
    widths: tuple[int, ...] = (48, 64, 96, 128)
    stem: int = 2
    subpixel: int = 2
    kernel: int = 1
    level: int = 2
    activation: int = 8
    grid: int = 4
    hidden: int = 32
    flow_stem: int = 2
    flow_width: int = 16
    flow_downs: int = 2
    flow_residuals: int = 2
    three_d: bool = True
    hybrid_attention: bool = True
    nonlinear_composition: bool = True
    warping: bool = True
    floor: bool = True

    @property
    def reach(self) -> int:
        """Side of the square of pixels that is one position of the last level."""
        return self.reduction * self.stem << (len(self.widths) - 1)

    @property
    def frame_shapes(self) -> list[tuple[int, int, int]]:
        """Shapes (C, …) of the fields of ``Frames`` for the whole crop."""
        size, small = self.side, self.side // self.reduction
        return [(3, size, size), (3, small, small), (3, size, size), (1, small, small), (1, small, small)]

    @property
    def embedding(self) -> EmbeddingDims:
        """Sizes of the hybrid embedding."""
        return EmbeddingDims(
            self.widths, self.stem, self.level, self.activation, self.grid, self.hidden, self.hybrid_attention
        )

    @property
    def flow(self) -> FlowDims:
        """Sizes of the flow networks."""
        return FlowDims(self.flow_stem, self.flow_width, self.flow_downs, self.flow_residuals)

    @property
    def composition(self) -> CompositionDims:
        """Sizes of the decoder."""
        channels = 3 + self.warping + 3 * self.floor
        images = (channels,) * (1 + self.three_d) if self.nonlinear_composition else ()
        shares = len(images) if self.floor else 0
        return CompositionDims(self.widths, self.stem, self.kernel, images, 3 + shares, self.floor, self.subpixel)


PAPER = GeneratorDims(
    side=256,
    reduction=1,
    widths=(32, 64, 128, 256, 512, 1024),
    stem=1,
    subpixel=1,
    kernel=3,
    level=2,
    activation=128,
    grid=8,
    hidden=256,
    flow_stem=1,
    flow_width=32,
    flow_downs=3,
    flow_residuals=6,
)
"""Sizes of the authors: base width 32, five down-samplings, attention after two.

Their flow networks have base width 32, three down-samplings and six residual blocks.
"""


@dataclass(frozen=True)
class Frames:
    """Target frames as the geometric renderer prepares them; H and W are multiples of 32 for ``lite`` and ``PAPER``.

    h and w are H and W over ``GeneratorDims.reduction``.

    geometric: [B, 3, H, W] float32 in -1..1, y_geo, the image of the geometric renderer
    projected: [B, 3, h, w] float32 in -1..1, ỹ_t, a blend of references on the target's mesh, with landmarks l_t
    matched: [B, 3, H, W] float32 in -1..1, y_ts, the reference with the nearest pose
    matched_map: [B, 1, h, w] float32 in 0..1, landmark map of ``matched``, see ``render/landmark_maps.py``
    target_map: [B, 1, h, w] float32 in 0..1, landmark map of the target landmarks l_t
    """

    geometric: Tensor
    projected: Tensor
    matched: Tensor
    matched_map: Tensor
    target_map: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.geometric.shape[-2], self.geometric.shape[-1]


@dataclass(frozen=True)
class Generated:
    """Θ's image and its components.

    image: [B, 3, H, W] float32, ŷ_t; with ``floor`` it may slightly exceed -1..1, and is to be clipped for display
    change: [B, 3, h, w], the decoder's change of y_geo; without ``floor`` the decoder's whole image
    shares: [B, 0 to 2, h, w], shares of the images that guide the decoder, the projected one first
    projected, matched: the warped images; None where the module is removed
    """

    image: Tensor
    change: Tensor
    shares: Tensor
    projected: Warped | None
    matched: Warped | None


class Generator(nn.Module):
    """Θ: y_geo, ỹ_t, y_ts, landmarks and the embedding of K references → ŷ_t."""

    def __init__(self, dims: GeneratorDims) -> None:
        super().__init__()
        self.dims = dims
        self.embedding = HybridEmbedding(dims.embedding)
        self.projected_flow = FlowNetwork(dims.flow) if dims.warping and dims.three_d else None
        self.matched_flow = FlowNetwork(dims.flow) if dims.warping else None
        self.composition = Composition(dims.composition)
        # strength of the matting; it starts at 0 where an untrained Θ is to return y_geo
        self.matting = None
        if dims.warping and not dims.nonlinear_composition:
            self.matting = nn.Parameter(torch.full((1 + dims.three_d,), 0.0 if dims.floor else 1.0))

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """Embed references [B, K, 3, H, W] in -1..1 with their landmark maps [B, K, 1, H, W] in 0..1."""
        return self.embedding.embed(images, maps)

    def from_references(self, frames: Frames, images: Tensor, maps: Tensor) -> Generated:
        """Run ``embed`` and ``forward``, for training; every person has equally many frames, one after the other."""
        embedding = self.embed(images, maps)
        return self(frames, embedding.repeat(len(frames.target_map) // len(images)))

    def from_tensors(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run ``from_references`` on the fields of ``Frames``, then images and maps, for training.

        All are as large as the video; those that Θ takes smaller are made smaller. Returns the image, the image without
        the change (with ``floor``), the shares, and the warped images.
        """
        factor, frames = self.dims.reduction, Frames(*tensors[:5])
        small = {name: reduced(getattr(frames, name), factor) for name in ("projected", "matched_map", "target_map")}
        frames = replace(frames, **small)
        made = self.from_references(frames, *(_each_reduced(x, factor) for x in tensors[5:]))
        kept = made.image - resized(made.change, frames.size) if self.dims.floor else made.image
        warped = (warped.image for warped in (made.projected, made.matched) if warped is not None)
        return made.image, kept, made.shares, *warped

    def forward(self, frames: Frames, embedding: Embedding) -> Generated:
        """Generate the images of target frames; the embedding's B is that of the frames, or 1."""
        return self._generated(frames, self.embedding.attend(embedding, frames.target_map))

    def part(self, frames: Frames, embedding: Embedding, target_map: Tensor, corner: tuple[int, int]) -> Generated:
        """Generate a part of target frames, almost as ``forward`` does: only near its border are images different.

        frames: the part alone; H and W are multiples of ``dims.reach``
        target_map: [B, 1, h, w], landmark map of the whole frames, which the embedding is combined for
        corner: (top, left) of the part in the whole, multiples of ``dims.reach``
        """
        reach = self.dims.reach
        height, width = frames.size
        attended = self.embedding.attend(embedding, target_map)
        cut = attended.cut(corner[0] // reach, corner[1] // reach, height // reach, width // reach)
        return self._generated(frames, cut, (target_map.shape[-2], target_map.shape[-1]))

    def _generated(self, frames: Frames, attended: Attended, whole: tuple[int, int] | None = None) -> Generated:
        """Generate images of frames, or of a part of those whose reduced size is ``whole``."""
        factor = self.dims.reduction
        small = replace(frames, geometric=reduced(frames.geometric, factor), matched=reduced(frames.matched, factor))
        projected, matched = self._warped(small, whole)
        layers = self._layers(small, projected, matched)
        painted = self.composition(attended, frames.target_map, self._guides(small, layers)).float()
        change, shares = painted[:, :3], painted[:, 3:]
        image = change
        if self.dims.floor:
            image = layered(small.geometric, [y for y, _ in layers], shares, change)
        made = Generated(self._matted(image, projected, matched), change, shares, projected, matched)
        return made if factor == 1 else replace(made, image=self._enlarged(made, small, frames))

    def _enlarged(self, made: Generated, small: Frames, frames: Frames) -> Tensor:
        """Return an image that was generated of reduced frames at the size of the frames.

        It is enlarged as a change of y_geo. The matched image alone is warped and weighted at full size, because where
        it takes the place of y_geo, no detail of that may stay behind.
        """
        change, geometric = made.image - small.geometric, frames.geometric
        if made.matched is None or not made.shares.shape[1]:
            return geometric + resized(change, frames.size)
        share, warped = made.shares[:, -1:], made.matched
        change = change - share * (warped.image - small.geometric)
        matched = warp(frames.matched, resized(warped.flow, frames.size))
        return geometric + resized(change, frames.size) + resized(share, frames.size) * (matched - geometric)

    def _warped(self, frames: Frames, whole: tuple[int, int] | None) -> tuple[Warped | None, Warped | None]:
        """The projected and the matched image, warped to the target landmarks; None where a module is removed."""
        projected = matched = None
        if self.projected_flow is not None:
            projected = self.projected_flow(frames.projected, frames.target_map, frames.target_map, whole)
        if self.matched_flow is not None:
            matched = self.matched_flow(frames.matched, frames.matched_map, frames.target_map, whole)
        return projected, matched

    def _layers(
        self, frames: Frames, projected: Warped | None, matched: Warped | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """Images that guide the decoder, warped where ``warping`` is on, and their attention maps."""
        if not self.dims.nonlinear_composition:
            return []
        images = [(frames.matched, matched)]
        if self.dims.three_d:
            images.insert(0, (frames.projected, projected))
        return [(image, None) if warped is None else (warped.image, warped.attention) for image, warped in images]

    def _guides(self, frames: Frames, layers: list[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
        """Inputs of the decoder's image branches: each image, its attention map, and y_geo."""
        geometric = [frames.geometric] if self.dims.floor else []
        return [
            torch.cat([image, *([] if attention is None else [attention]), *geometric], dim=1)
            for image, attention in layers
        ]

    def _matted(self, image: Tensor, projected: Warped | None, matched: Warped | None) -> Tensor:
        """Lay the warped images over the image by their attention maps, where matting replaces the composition."""
        if self.matting is not None:
            layers = [warped for warped in (matched, projected) if warped is not None]
            for strength, warped in zip(self.matting.unbind(), layers, strict=True):
                image = image + strength * warped.attention.float() * (warped.image - image)
        return image


def layered(geometric: Tensor, images: list[Tensor], shares: Tensor, change: Tensor) -> Tensor:
    """Blend y_geo [B, 3, H, W] with images [B, 3, H, W] by their shares [B, N, H, W], and add a change."""
    result = geometric + change
    for i, image in enumerate(images):
        result = result + shares[:, i : i + 1] * (image - geometric)
    return result


def _each_reduced(images: Tensor, factor: int) -> Tensor:
    """Make images [B, K, C, H, W] smaller by a whole factor."""
    small = reduced(images.flatten(0, 1), factor)
    return small.view(*images.shape[:3], *small.shape[-2:])


class FrameNetwork(nn.Module):
    """Θ without ``embed``, from tensors to a tensor, for export; the image is clipped to -1..1.

    Inputs are the fields of ``Frames``, then those of ``Embedding``, in order; the embedding's B is 1.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *tensors: Tensor) -> Tensor:
        """Generate ŷ_t, [B, 3, H, W] float32 in -1..1."""
        frames, embedding = Frames(*tensors[:5]), Embedding(*tensors[5:])
        return self.generator(frames, embedding).image.clamp(-1, 1)


class EmbeddingNetwork(nn.Module):
    """``Generator.embed``, from tensors to tensors, for export.

    Inputs are images [1, K, 3, H, W] in -1..1 and maps [1, K, 1, H, W] in 0..1; outputs are the fields of
    ``Embedding`` in order.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the fields of ``Embedding``, [1, …] each, from images and maps."""
        images, maps = tensors
        return self.generator.embed(images, maps).tensors()
