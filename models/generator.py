"""Θ, the 3D-aware generative network (§3.4, §4.2, §4.3): hybrid embedding, flow network, non-linear composition.

Departure that keeps the floor: Θ takes the geometric path's picture y_geo, the nearest reference on the target's mesh,
and changes it: ŷ = y_geo + Σ s (y' - y_geo) + change, over the warped images y' of the projected and the matched one.
Shares s and change are what the decoder paints. Its last layer begins at zero, so an untrained Θ gives y_geo to the
last bit, and training goes on from there. Both image branches of the decoder see y_geo beside their own image. Shares
keep the detail of photographs, which a decoder of this size could not paint. ``floor=False`` paints the whole picture,
as the paper does.

Second departure: ỹ_t is not one frontal texture but the nearest references on the target's mesh, blended. What they
agree on comes out free of each one's noise and misplacement; what they do not is soft, and there y_geo is not.

Two sizes of one architecture, of a frame at 256²; a multiply-add counts as two:

====================  ======  ======
..                    lite    paper
====================  ======  ======
parameters, millions  2.34    124.3
GFLOP a frame         2.35    97.5
GFLOP a reference     0.58    5.4
====================  ======  ======

A reference is embedded once a job; a frame's figure holds all the rest.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .composition import Composition, CompositionDims
from .embedding import Embedding, EmbeddingDims, HybridEmbedding
from .flow import FlowDims, FlowNetwork, Warped


@dataclass(frozen=True)
class GeneratorDims:
    """Sizes of Θ, and which of the paper's four modules it has (Table 3); the defaults are ``lite``.

    widths: channels of the N levels; level 0 is at 1 / stem of the picture, each further one at half the one before
    stem: stride of the first layers
    kernel: of the convolutions in the fixed SPADE blocks
    level: at which references are combined
    activation: channels of the activation maps α
    grid, hidden: positions a side that E_F sees, and units of E_F_P
    flow_stem, flow_width, flow_downs, flow_residuals: sizes of the flow network
    three_d: the projected image ỹ_t; without it the matched image is the only one
    hybrid_attention: attention over the references, information exchange and ConvGate; without, features are averaged
    nonlinear_composition: images guide the decoder; without, they are laid over its picture by their attention maps,
        the image matting that Fig. 5 shows the faults of, or, without warping either, are not used at all
    warping: the flow network; without it images come as they are, and without attention maps
    floor: start from the geometric picture
    """

    widths: tuple[int, ...] = (24, 48, 64, 96, 128)
    stem: int = 2
    kernel: int = 1
    level: int = 2
    activation: int = 8
    grid: int = 4
    hidden: int = 32
    flow_stem: int = 4
    flow_width: int = 16
    flow_downs: int = 2
    flow_residuals: int = 2
    three_d: bool = True
    hybrid_attention: bool = True
    nonlinear_composition: bool = True
    warping: bool = True
    floor: bool = True

    @property
    def embedding(self) -> EmbeddingDims:
        """Of the hybrid embedding."""
        return EmbeddingDims(
            self.widths, self.stem, self.level, self.activation, self.grid, self.hidden, self.hybrid_attention
        )

    @property
    def flow(self) -> FlowDims:
        """Of the flow networks."""
        return FlowDims(self.flow_stem, self.flow_width, self.flow_downs, self.flow_residuals)

    @property
    def composition(self) -> CompositionDims:
        """Of the decoder."""
        channels = 3 + self.warping + 3 * self.floor
        images = (channels,) * (1 + self.three_d) if self.nonlinear_composition else ()
        shares = len(images) if self.floor else 0
        return CompositionDims(self.widths, self.stem, self.kernel, images, 3 + shares, self.floor)


PAPER = GeneratorDims(
    widths=(32, 64, 128, 256, 512, 1024),
    stem=1,
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
"""The authors' widths: base 32, five down-samplings, attention after two, flow net 32 with three and six blocks."""


@dataclass(frozen=True)
class Frames:
    """Target frames as the geometric path prepares them; H and W are multiples of 32 in both sizes.

    geometric: y_geo, its picture, [B, 3, H, W] float32 in -1..1
    projected: ỹ_t, the references on the target's mesh, blended, [B, 3, H, W] float32 in -1..1; its landmarks are l_t
    matched: y_ts, the reference whose pose is nearest, [B, 3, H, W] float32 in -1..1
    matched_map: its landmarks, [B, 1, H, W] float32 in 0..1, as ``render/landmark_maps.py`` draws them
    target_map: l_t, the target's landmarks, [B, 1, H, W]
    """

    geometric: Tensor
    projected: Tensor
    matched: Tensor
    matched_map: Tensor
    target_map: Tensor


@dataclass(frozen=True)
class Generated:
    """Θ's picture and what it is made of.

    image: ŷ_t, [B, 3, H, W] float32; with ``floor`` it may leave -1..1 a little, and whoever shows it cuts it off
    change: what is painted over y_geo, [B, 3, H, W]; without ``floor`` all that is painted
    shares: of the images that guide the decoder, the projected one first, [B, 0 to 2, H, W]
    projected, matched: the images as warped; None where the module is removed
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
        # how far matting goes; from nothing, where the picture is to begin as y_geo
        self.matting = None
        if dims.warping and not dims.nonlinear_composition:
            self.matting = nn.Parameter(torch.full((1 + dims.three_d,), 0.0 if dims.floor else 1.0))

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """References [B, K, 3, H, W] in -1..1 and their landmark maps [B, K, 1, H, W] in 0..1; once a job, B = 1."""
        return self.embedding.embed(images, maps)

    def from_references(self, frames: Frames, images: Tensor, maps: Tensor) -> Generated:
        """``embed`` and ``forward`` at once, for training; frames of one person lie together, F = B of frames / B."""
        embedding = self.embed(images, maps)
        return self(frames, embedding.repeat(len(frames.target_map) // len(images)))

    def from_tensors(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """``from_references`` of the fields of ``Frames``, images and maps, for training.

        Gives the picture, the same without the change (with ``floor``), the shares, and the warped images.
        """
        made = self.from_references(Frames(*tensors[:5]), *tensors[5:])
        kept = made.image - made.change if self.dims.floor else made.image
        warped = (warped.image for warped in (made.projected, made.matched) if warped is not None)
        return made.image, kept, made.shares, *warped

    def forward(self, frames: Frames, embedding: Embedding) -> Generated:
        """Pictures of target frames; the embedding's B is that of the frames, or 1."""
        projected, matched = self._warped(frames)
        attended = self.embedding.attend(embedding, frames.target_map)
        layers = self._layers(frames, projected, matched)
        painted = self.composition(attended, frames.target_map, self._guides(frames, layers)).float()
        change, shares = painted[:, :3], painted[:, 3:]
        if not self.dims.floor:
            return Generated(self._matted(change, projected, matched), change, shares, projected, matched)
        image = self._matted(layered(frames.geometric, [y for y, _ in layers], shares, change), projected, matched)
        return Generated(image, change, shares, projected, matched)

    def _warped(self, frames: Frames) -> tuple[Warped | None, Warped | None]:
        projected = matched = None
        if self.projected_flow is not None:
            projected = self.projected_flow(frames.projected, frames.target_map, frames.target_map)
        if self.matched_flow is not None:
            matched = self.matched_flow(frames.matched, frames.matched_map, frames.target_map)
        return projected, matched

    def _layers(
        self, frames: Frames, projected: Warped | None, matched: Warped | None
    ) -> list[tuple[Tensor, Tensor | None]]:
        """The images that guide the decoder, as warped, and their attention maps."""
        if not self.dims.nonlinear_composition:
            return []
        images = [(frames.matched, matched)]
        if self.dims.three_d:
            images.insert(0, (frames.projected, projected))
        return [(image, None) if warped is None else (warped.image, warped.attention) for image, warped in images]

    def _guides(self, frames: Frames, layers: list[tuple[Tensor, Tensor | None]]) -> list[Tensor]:
        """What the decoder's image branches see: the image, its attention map, y_geo."""
        geometric = [frames.geometric] if self.dims.floor else []
        return [
            torch.cat([image, *([] if attention is None else [attention]), *geometric], dim=1)
            for image, attention in layers
        ]

    def _matted(self, image: Tensor, projected: Warped | None, matched: Warped | None) -> Tensor:
        """The warped images laid over the picture by their attention maps, where that replaces the composition."""
        if self.matting is not None:
            layers = [warped for warped in (matched, projected) if warped is not None]
            for strength, warped in zip(self.matting.unbind(), layers, strict=True):
                image = image + strength * warped.attention.float() * (warped.image - image)
        return image


def layered(geometric: Tensor, images: list[Tensor], shares: Tensor, change: Tensor) -> Tensor:
    """y_geo [B, 3, H, W], moved towards images [B, 3, H, W] each by their shares [B, N, H, W], and changed."""
    picture = geometric + change
    for i, image in enumerate(images):
        picture = picture + shares[:, i : i + 1] * (image - geometric)
    return picture


class FrameNetwork(nn.Module):
    """Θ without ``embed``, from tensors to a tensor, as it is exported; the picture is cut off at -1..1.

    Inputs are the fields of ``Frames`` and then of ``Embedding``, in order; the embedding is one person's, B = 1.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *tensors: Tensor) -> Tensor:
        """ŷ_t, [B, 3, H, W] float32 in -1..1."""
        frames, embedding = Frames(*tensors[:5]), Embedding(*tensors[5:])
        return self.generator(frames, embedding).image.clamp(-1, 1)


class EmbeddingNetwork(nn.Module):
    """``Generator.embed``, from tensors to tensors, as it is exported.

    Inputs are images [1, K, 3, H, W] in -1..1 and maps [1, K, 1, H, W] in 0..1; outputs the fields of ``Embedding``.
    """

    def __init__(self, generator: Generator) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Tensors [1, …] as above."""
        images, maps = tensors
        return self.generator.embed(images, maps).tensors()
