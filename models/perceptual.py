"""Networks whose features the perceptual loss of Eq. 8 compares, for training only.

The paper uses VGG19. Any ``PerceptualFeatures`` will do, such as the layers of an identity network. The weights come
from other projects and are not trained here.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn

_BLOCKS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Blocks of VGG19 between its poolings: channels, number of convolutions."""
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and standard deviation of ImageNet's images in 0..1, per channel."""


class PerceptualFeatures(Protocol):
    """Interface of a network for the perceptual loss: features of several layers and their weights in it."""

    weights: tuple[float, ...]
    """Weight of each layer's features in the loss."""

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Return features [B, C, h, w], one for each of ``weights``, of images [B, 3, H, W] float32 in -1..1."""
        ...


class Vgg19(nn.Module):
    """VGG19 up to relu5_1; names and shapes of its weights are those of torchvision's ``features``."""

    weights: tuple[float, ...] = (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)
    """Usual weights of relu1_1 to relu5_1; deeper layers, which depend less on single pixels, weigh more."""

    mean: Tensor
    deviation: Tensor

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        self.taken: list[int] = []
        channels = 3
        for out, count in _BLOCKS:
            self.taken.append(len(layers) + 1)
            for _ in range(count):
                layers += [nn.Conv2d(channels, out, 3, padding=1), nn.ReLU()]
                channels = out
            layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers[: self.taken[-1] + 1])
        for name, values in zip(("mean", "deviation"), IMAGENET, strict=True):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return relu1_1, relu2_1, relu3_1, relu4_1 and relu5_1 of images [B, 3, H, W] float32 in -1..1."""
        x = ((images + 1) / 2 - self.mean) / self.deviation
        taken = []
        for i, layer in enumerate(self.features):
            x = layer(x)
            if i in self.taken:
                taken.append(x)
        return taken
