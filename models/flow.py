"""The flow network of §4.3: how an image whose landmarks are l̃ moves so that they fall onto l_t, and where it helps.

As in the paper's source for it (vid2vid), it sees the image too, or it could not say where the image is of use.
It starts from no movement.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Residual, activation, convolution, pyramid, resized, up


@dataclass(frozen=True)
class FlowDims:
    """Sizes of the flow network.

    stem: stride of the first layer; the flow comes at 1 / stem of the picture's resolution
    width: channels after it; every halving doubles them
    downs: halvings
    residuals: blocks at the coarsest level
    """

    stem: int
    width: int
    downs: int
    residuals: int


@dataclass(frozen=True)
class Warped:
    """An image brought to the target's pose.

    image: y', [B, 3, H, W]
    attention: α_y, [B, 1, H, W] in 0..1
    flow: [B, 2, H, W] float32, (x, y): the pixel at x comes from x + flow, in units of half the picture
    """

    image: Tensor
    attention: Tensor
    flow: Tensor


class FlowNetwork(nn.Module):
    """Flow and attention map between two landmark maps (§4.3)."""

    def __init__(self, dims: FlowDims) -> None:
        super().__init__()
        widths = tuple(dims.width << i for i in range(dims.downs + 1))
        layers: list[nn.Module] = [*pyramid(5, widths, dims.stem)]
        layers += [Residual(widths[-1]) for _ in range(dims.residuals)]
        for before, after in zip(widths[:0:-1], widths[-2::-1], strict=True):
            layers += [up(before, after), activation()]
        self.layers = nn.Sequential(*layers)
        self.flow = convolution(dims.width, 2)
        self.attention = convolution(dims.width, 1)
        nn.init.zeros_(self.flow.weight)

    def forward(self, image: Tensor, own_map: Tensor, target_map: Tensor) -> Warped:
        """Warp an image [B, 3, H, W] in -1..1 from its own landmark map to the target's, both [B, 1, H, W] in 0..1."""
        features = self.layers(torch.cat([image, own_map, target_map], dim=1))
        size = (image.shape[-2], image.shape[-1])
        flow = resized(self.flow(features).float(), size)
        attention = torch.sigmoid(resized(self.attention(features), size))
        return Warped(warp(image, flow), attention, flow)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Image [B, C, H, W] pulled through a flow [B, 2, H, W] as of ``Warped``; beyond the border it is repeated."""
    height, width = flow.shape[-2:]
    y, x = (torch.linspace(1 / n - 1, 1 - 1 / n, n, device=flow.device, dtype=flow.dtype) for n in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(image.to(flow.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)
