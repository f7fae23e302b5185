"""The non-linear composition of §4.3 and Fig. 6: the decoder G of N layers with three parallel SPADE blocks each.

Departures from the paper:

- Features are normalised per pixel (``blocks.pixel_norm``), not over frame or batch.
- A residual convolution follows the sum of the three blocks, before the transposed convolution; without it only the
  transposed convolutions would mix neighbouring pixels.
- Each convolution of the landmarks is a fixed depthwise convolution followed by the dynamic 1×1 convolution of θ_S.
- The last layer's output has the resolution of the finest level, or that times ``subpixel`` by rearranging channels,
  and is enlarged bilinearly. With a transposed convolution up to the image's resolution, a network trained for
  sharpness learned to add a pattern to lips and teeth.
- With ``change`` the last layer's output is the change of a given image, and the shares of other images in the result;
  both start at zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import activation, convolution, pixel_norm, pyramid, resized, stem, up
from .embedding import Attended
from .spade import Spade, Theta, denormalise, dynamic_convolution, spade_maps


@dataclass(frozen=True)
class CompositionDims:
    """Sizes of the composition.

    widths: channels of the N levels; level 0 has 1 / stem of the image's resolution, each further level half of it
    stem: stride of the first layers
    subpixel: factor by which the last layer's output is larger than the finest level; the rest is bilinear
    kernel: kernel size of the fixed SPADE blocks' convolutions
    images: channels of each image that guides the decoder: the projected one φ_ỹ and the matched one φ_y_ts
    out: channels of the output: three of the image, and any further ones
    change: whether the output is the change of an image instead of an image
    """

    widths: tuple[int, ...]
    stem: int
    kernel: int
    images: tuple[int, ...]
    out: int
    change: bool
    subpixel: int = 1


CAUTION = 0.25
"""Factor of a change after the last layer, which keeps the first training steps small.

The layer's weights start at zero, but its input features do not.
"""


class LandmarkEncoder(nn.Module):
    """Encoder of target landmarks to features φ_l^i of all levels by dynamic weights θ_S (green arrows of Fig. 6)."""

    def __init__(self, widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.stem = stem(1, widths[0], stride)
        self.spread = nn.ModuleList(convolution(channels, channels, 3, 2, groups=channels) for channels in widths[:-1])
        self.activation = activation()

    def forward(self, target_map: Tensor, theta: tuple[Theta, ...]) -> list[Tensor]:
        """Return features [B, C, h, w] of every level, finest first, from a landmark map [B, 1, H, W] in 0..1."""
        x = self.stem(target_map)
        levels = [self.activation(dynamic_convolution(x, theta[0].landmarks))]
        for layer, weights in zip(self.spread, theta[1:], strict=True):
            levels.append(self.activation(dynamic_convolution(layer(levels[-1]), weights.landmarks)))
        return levels


class Layer(nn.Module):
    """One layer of G: parallel SPADE blocks, their mean, and ``up`` (a transposed convolution except in the last)."""

    def __init__(self, channels: int, up: nn.Module, images: int, kernel: int) -> None:
        super().__init__()
        self.spade = nn.ModuleList(Spade(channels, kernel) for _ in range(images))
        self.activation = activation()
        self.mix = convolution(channels, channels)
        self.up = up

    def forward(self, x: Tensor, theta: Theta, landmarks: Tensor, images: list[Tensor]) -> Tensor:
        """Decode x by landmarks and images, all features [B, C, H, W] of the layer's level."""
        maps = spade_maps(landmarks, theta, cast(Sequence[Spade], self.spade), images)
        total = self.activation(denormalise(pixel_norm(x), maps, 1 + len(images)))
        return self.up(total + self.activation(self.mix(total)))


class Composition(nn.Module):
    """Decoder from appearance e_y, target landmarks and warped images to the image, or to the change of an image."""

    def __init__(self, dims: CompositionDims) -> None:
        super().__init__()
        self.change, self.subpixel = dims.change, dims.subpixel
        self.landmarks = LandmarkEncoder(dims.widths, dims.stem)
        self.images = nn.ModuleList(pyramid(channels, dims.widths, dims.stem) for channels in dims.images)
        ups = [convolution(dims.widths[0], dims.out * dims.subpixel**2), *(up(b, a) for a, b in pairwise(dims.widths))]
        layers = [
            Layer(channels, above, len(dims.images), dims.kernel)
            for channels, above in zip(dims.widths, ups, strict=True)
        ]
        if dims.change:
            for parameter in layers[0].up.parameters():
                nn.init.zeros_(parameter)
        self.layers = nn.ModuleList(layers)

    def forward(self, attended: Attended, target_map: Tensor, images: list[Tensor]) -> Tensor:
        """Return [B, out, H, W]: the image ŷ_t in -1..1 or a change in -2..2, then the further channels.

        target_map: [B, 1, H, W] in 0..1
        images: guiding images [B, C, H, W], with the channels of ``dims.images``
        """
        landmarks = self.landmarks(target_map, attended.theta)
        guides = [_levels(encoder, image) for encoder, image in zip(self.images, images, strict=True)]
        x = attended.appearance
        for i in reversed(range(len(self.layers))):
            x = self.layers[i](x, attended.theta[i], landmarks[i], [levels[i] for levels in guides])
        x = F.pixel_shuffle(x.float(), self.subpixel) if self.subpixel > 1 else x.float()
        x = resized(x, (target_map.shape[-2], target_map.shape[-1]))
        # a change of 2 turns black into white
        image = 2 * torch.tanh(CAUTION * x[:, :3]) if self.change else torch.tanh(x[:, :3])
        return torch.cat([image, x[:, 3:]], dim=1)


def _levels(encoder: nn.Module, image: Tensor) -> list[Tensor]:
    """Features of an image at every level, finest first (red arrows of Fig. 6)."""
    levels: list[Tensor] = []
    for layer in encoder.children():
        levels.append(layer(levels[-1] if levels else image))
    return levels
