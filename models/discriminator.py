"""The multi-scale discriminators of §4.4, for training only: D_1 on the image, D_2 on the image at half its size."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from .blocks import activation, convolution


@dataclass(frozen=True)
class DiscriminatorDims:
    """Sizes of the discriminators.

    width: channels of the first layer; each further layer doubles them, up to eight times the width
    layers: number of strided layers
    scales: number of discriminators, each on images of half the size of the one before
    """

    width: int = 32
    layers: int = 3
    scales: int = 2


class PatchDiscriminator(nn.Module):
    """Classifier of each patch of an image as real or generated, given the landmarks that the image should show.

    Weights are kept at a spectral norm of 1, which allows the hinge loss without further penalties.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        channels = [4] + [width << min(i, 3) for i in range(layers + 1)]
        # as in pix2pix, the last feature layer has stride 1
        strides = [2] * layers + [1]
        self.layers = nn.ModuleList(
            nn.Sequential(spectral_norm(nn.Conv2d(before, after, 4, stride, padding=2)), activation())
            for before, after, stride in zip(channels, channels[1:], strides, strict=False)
        )
        self.verdict = convolution(channels[-1], 1)

    def forward(self, image_and_map: Tensor) -> list[Tensor]:
        """Return the features of all layers, and last the verdicts [B, 1, h, w], above 0 for real.

        image_and_map: [B, 4, H, W], an image and its landmark map
        """
        features: list[Tensor] = []
        for layer in self.layers:
            features.append(layer(features[-1] if features else image_and_map))
        return [*features, self.verdict(features[-1])]


class Discriminators(nn.Module):
    """The discriminators D_1 and D_2 of Eq. 8."""

    def __init__(self, dims: DiscriminatorDims) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(dims.width, dims.layers) for _ in range(dims.scales))

    def forward(self, image: Tensor, target_map: Tensor) -> list[list[Tensor]]:
        """Return for each scale the features of all layers, for feature matching, and last the verdicts [B, 1, h, w].

        image: [B, 3, H, W] in -1..1
        target_map: landmark map [B, 1, H, W] in 0..1
        """
        scaled = torch.cat([image, target_map.to(image.dtype)], dim=1)
        answers = []
        for i, discriminator in enumerate(self.scales):
            if i:
                scaled = F.avg_pool2d(scaled, 3, 2, padding=1, count_include_pad=False)
            answers.append(discriminator(scaled))
        return answers
