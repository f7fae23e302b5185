"""The flow network of §4.3: the flow that moves an image's landmarks l̃ onto l_t, and where the warped image is useful.

As in the paper's source for it (vid2vid), the image is an input too; without it the network could not predict where
the image is useful. An untrained network predicts no movement.
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

    stem: stride of the first layer; the flow has 1 / stem of the image's resolution
    width: channels after the first layer; each down-sampling doubles them
    downs: number of down-samplings
    residuals: number of residual blocks at the coarsest level
    """

    stem: int
    width: int
    downs: int
    residuals: int


@dataclass(frozen=True)
class Warped:
    """An image warped to the target's pose.

    image: [B, 3, H, W], the warped image y'
    attention: [B, 1, H, W] in 0..1, its attention map α_y
    flow: [B, 2, H, W] float32, (x, y); the pixel at x comes from x + flow, in units of half the image
    """

    image: Tensor
    attention: Tensor
    flow: Tensor


class FlowNetwork(nn.Module):
    """Network that predicts the flow and the attention map between two landmark maps (§4.3)."""

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

    def forward(
        self, image: Tensor, own_map: Tensor, target_map: Tensor, whole: tuple[int, int] | None = None
    ) -> Warped:
        """Warp an image [B, 3, H, W] in -1..1 from its own landmark map to the target's, both [B, 1, H, W] in 0..1.

        whole: (height, width) of the image of which the three are a part, by which the flow is measured; None for all
        """
        features = self.layers(torch.cat([image, own_map, target_map], dim=1))
        size = (image.shape[-2], image.shape[-1])
        flow = resized(self.flow(features).float(), size)
        attention = torch.sigmoid(resized(self.attention(features).float(), size))
        if whole is not None:
            flow = flow * flow.new_tensor([whole[1] / size[1], whole[0] / size[0]]).view(1, 2, 1, 1)
        return Warped(warp(image, flow), attention, flow)


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Warp an image [B, C, H, W] by a flow [B, 2, H, W] as in ``Warped``; the border is repeated."""
    height, width = flow.shape[-2:]
    y, x = (torch.linspace(1 / n - 1, 1 - 1 / n, n, device=flow.device, dtype=flow.dtype) for n in (height, width))
    grid = torch.stack(torch.meshgrid(x, y, indexing="xy"), dim=-1) + flow.permute(0, 2, 3, 1)
    return F.grid_sample(image.to(flow.dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)
