"""The multi-scale discriminators of §4.4: D_1 sees the picture, D_2 the same at half its size; in training only."""

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

    width: channels of the first layer; each further one doubles them, up to eight times
    layers: strided ones
    scales: discriminators, each at half the size of the one before
    """

    width: int = 32
    layers: int = 3
    scales: int = 2


class PatchDiscriminator(nn.Module):
    """Says of each patch of a picture whether it is real, given the landmarks it should show.

    Weights are kept at a spectral norm of 1, which is what lets the hinge loss be used without further penalties.
    """

    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        channels = [4] + [width << min(i, 3) for i in range(layers + 1)]
        # as in pix2pix: the last features at the stride of those before
        strides = [2] * layers + [1]
        self.layers = nn.ModuleList(
            nn.Sequential(spectral_norm(nn.Conv2d(before, after, 4, stride, padding=2)), activation())
            for before, after, stride in zip(channels, channels[1:], strides, strict=False)
        )
        self.verdict = convolution(channels[-1], 1)

    def forward(self, picture: Tensor) -> list[Tensor]:
        """picture: [B, 4, H, W]; features of all layers, and last the verdicts [B, 1, h, w], above 0 for real."""
        features: list[Tensor] = []
        for layer in self.layers:
            features.append(layer(features[-1] if features else picture))
        return [*features, self.verdict(features[-1])]


class Discriminators(nn.Module):
    """D_1 and D_2 of Eq. 8."""

    def __init__(self, dims: DiscriminatorDims) -> None:
        super().__init__()
        self.scales = nn.ModuleList(PatchDiscriminator(dims.width, dims.layers) for _ in range(dims.scales))

    def forward(self, image: Tensor, target_map: Tensor) -> list[list[Tensor]]:
        """Image [B, 3, H, W] in -1..1 and landmark map [B, 1, H, W] in 0..1.

        Returns for each scale the features of all layers, for feature matching, and last the verdicts [B, 1, h, w].
        """
        picture = torch.cat([image, target_map.to(image.dtype)], dim=1)
        answers = []
        for i, discriminator in enumerate(self.scales):
            if i:
                picture = F.avg_pool2d(picture, 3, 2, padding=1, count_include_pad=False)
            answers.append(discriminator(picture))
        return answers
