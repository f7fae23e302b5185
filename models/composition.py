"""The non-linear composition of §4.3 and Fig. 6: the decoder G of N layers with three parallel SPADE blocks each.

Departures from the paper:

- Features are normalised by pixel (``blocks.pixel_norm``), not over frame or batch.
- After the sum of the three, and before the transposed convolution, comes one convolution that is added to it; else
  the decoder's layers would mix neighbours by the transposed convolutions alone.
- The landmarks' convolutions are each a fixed one by channel, then the dynamic one of θ_S across channels.
- The last layer paints at the resolution of the finest level, and what it painted is enlarged smoothly: with a
  transposed convolution there, a network that was to be sharp learned to weave a pattern into lips and teeth.
- With ``change`` the last layer paints the change of a given picture, and shares of others in it, and begins at none.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from .blocks import activation, convolution, pixel_norm, pyramid, resized, stem, up
from .embedding import Attended
from .spade import Spade, Theta, denormalise, dynamic_convolution, dynamic_spade


@dataclass(frozen=True)
class CompositionDims:
    """Sizes of the composition.

    widths: channels of the N levels; level 0 is at 1 / stem of the picture, each further one at half the one before
    stem: stride of the first layers, and enlargement of what the last one paints
    kernel: of the fixed SPADE blocks' convolutions
    images: channels of each image that guides the decoder, the projected one φ_ỹ and the matched one φ_y_ts
    out: channels that are painted, a picture and what else may be
    change: paint the change of a picture instead of a picture
    """

    widths: tuple[int, ...]
    stem: int
    kernel: int
    images: tuple[int, ...]
    out: int
    change: bool


CAUTION = 0.25
"""Of what the last layer says of a change. It begins at zero below features of some size; so first steps are small."""


class LandmarkEncoder(nn.Module):
    """Target landmarks → φ_l^i of every level, by the dynamic weights θ_S (green arrows of Fig. 6)."""

    def __init__(self, widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.stem = stem(1, widths[0], stride)
        self.spread = nn.ModuleList(convolution(channels, channels, 3, 2, groups=channels) for channels in widths[:-1])
        self.activation = activation()

    def forward(self, target_map: Tensor, theta: tuple[Theta, ...]) -> list[Tensor]:
        """target_map: [B, 1, H, W] in 0..1; the finest level first."""
        x = self.stem(target_map)
        levels = [self.activation(dynamic_convolution(x, theta[0].landmarks))]
        for layer, weights in zip(self.spread, theta[1:], strict=True):
            levels.append(self.activation(dynamic_convolution(layer(levels[-1]), weights.landmarks)))
        return levels


class Layer(nn.Module):
    """One layer of G: SPADE blocks side by side, their sum, and ``up``, mostly a transposed convolution."""

    def __init__(self, channels: int, up: nn.Module, images: int, kernel: int) -> None:
        super().__init__()
        self.spade = nn.ModuleList(Spade(channels, kernel) for _ in range(images))
        self.activation = activation()
        self.mix = convolution(channels, channels)
        self.up = up

    def forward(self, x: Tensor, theta: Theta, landmarks: Tensor, images: list[Tensor]) -> Tensor:
        """x, landmarks, images: features [B, C, H, W] of the layer's level."""
        guides = [spade(image) for spade, image in zip(self.spade, images, strict=True)]
        total = self.activation(denormalise(pixel_norm(x), [dynamic_spade(landmarks, theta), *guides]))
        return self.up(total + self.activation(self.mix(total)))


class Composition(nn.Module):
    """Appearance e_y, target landmarks and the warped images → the picture, or its change."""

    def __init__(self, dims: CompositionDims) -> None:
        super().__init__()
        self.change = dims.change
        self.landmarks = LandmarkEncoder(dims.widths, dims.stem)
        self.images = nn.ModuleList(pyramid(channels, dims.widths, dims.stem) for channels in dims.images)
        ups = [convolution(dims.widths[0], dims.out), *(up(b, a) for a, b in pairwise(dims.widths))]
        layers = [
            Layer(channels, above, len(dims.images), dims.kernel)
            for channels, above in zip(dims.widths, ups, strict=True)
        ]
        if dims.change:
            for parameter in layers[0].up.parameters():
                nn.init.zeros_(parameter)
        self.layers = nn.ModuleList(layers)

    def forward(self, attended: Attended, target_map: Tensor, images: list[Tensor]) -> Tensor:
        """The picture ŷ_t in -1..1, or the change of one in -2..2, and behind it what else is painted: [B, out, H, W].

        target_map: [B, 1, H, W] in 0..1; images: those of ``dims.images``, [B, C, H, W]
        """
        landmarks = self.landmarks(target_map, attended.theta)
        guides = [_levels(encoder, image) for encoder, image in zip(self.images, images, strict=True)]
        x = attended.appearance
        for i in reversed(range(len(self.layers))):
            x = self.layers[i](x, attended.theta[i], landmarks[i], [levels[i] for levels in guides])
        x = resized(x, (target_map.shape[-2], target_map.shape[-1]))
        # a change of 2 takes black to white
        picture = 2 * torch.tanh(CAUTION * x[:, :3]) if self.change else torch.tanh(x[:, :3])
        return torch.cat([picture, x[:, 3:]], dim=1)


def _levels(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """Features of an image at every level, the finest first (red arrows of Fig. 6)."""
    levels: list[Tensor] = []
    for layer in encoder.children():
        levels.append(layer(levels[-1] if levels else image))
    return levels
