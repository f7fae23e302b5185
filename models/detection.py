"""The face detector that precedes the unprojection network: position and size of the faces in a frame.

The paper does not say how faces are found. This detector marks the centre of each face on a grid, as in "Objects as
Points" (Zhou et al., 2019), in one pass over the whole frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8
"""Distance between cells of the grid, px."""


@dataclass(frozen=True)
class DetectionDims:
    """Sizes of the face detector.

    size: side of the square input in pixels, a multiple of 32
    width: channels of the first convolution; the second has twice as many, all others four times as many
    """

    size: int = 160
    width: int = 16


def convolution(channels: int, out: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation and ReLU: [B, C, H, W] → [B, out, H / stride, W / stride]."""
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(out), nn.ReLU(inplace=True)
    )


class DetectionNetwork(nn.Module):
    """Frame [B, 3, S, S] float32 in 0..1 → face [B, G, G] in 0..1, centre [B, 2, G, G] and side [B, G, G], G = S / 8.

    face: confidence that the centre of a face's box lies in the cell
    centre: centre of that box, x and y in units of S from the frame's top left corner
    side: longer side of that box, in units of S
    """

    def __init__(self, dims: DetectionDims):
        super().__init__()
        self.dims = dims
        width = 4 * dims.width
        self.fine = nn.Sequential(
            convolution(3, dims.width, stride=2),
            convolution(dims.width, 2 * dims.width, stride=2),
            convolution(2 * dims.width, width, stride=2),
        )
        self.middle = convolution(width, width, stride=2)
        self.coarse = nn.Sequential(convolution(width, width, stride=2), convolution(width, width))
        self.middle_out = convolution(width, width)
        self.fine_out = convolution(width, width)
        self.head = nn.Conv2d(width, 4, 1)
        # faces are rare, so the bias starts at a probability of 0.01
        start = torch.tensor([-math.log(99.0), 0.0, 0.0, math.log(0.3 * dims.size / STRIDE)])
        self.head.bias = nn.Parameter(start)
        nn.init.normal_(self.head.weight, std=0.01)

    def forward(self, frame: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        out = self.cells(frame)
        count = out.shape[-1]
        steps = torch.arange(count, device=out.device, dtype=out.dtype) + 0.5
        centre_x, centre_y = steps[None, :] + out[:, 1], steps[:, None] + out[:, 2]
        centre = torch.stack([centre_x, centre_y], 1) / count
        return torch.sigmoid(out[:, 0]), centre, torch.exp(out[:, 3]) / count

    def cells(self, frame: Tensor) -> Tensor:
        """Return [B, 4, G, G]: logit of a face; offset x, y of its centre from the cell's, and log side, in cells."""
        fine = self.fine((frame - 0.5) * 4)
        middle = self.middle(fine)
        middle = self.middle_out(middle + F.interpolate(self.coarse(middle), scale_factor=2.0, mode="nearest"))
        fine = self.fine_out(fine + F.interpolate(middle, scale_factor=2.0, mode="nearest"))
        return self.head(fine).float()
