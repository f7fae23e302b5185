"""The unprojection network of §4.1 in a small form: a face crop → the 3D face mesh.

The paper's network is a U-net from an image to a position map (§0.A.3). This one regresses the vertices of a fixed
topology directly, at a hundredth of the cost. A refinement then predicts mouth and eyes again from patches at full
resolution, because a talking face needs precision there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class UnprojectionDims:
    """Sizes of the unprojection network.

    crop: side of the square input in pixels
    width: channels of the first stage; every stage doubles them
    stages: number of down-samplings after the first convolution
    stride: stride of the first convolution of the coarse mesh's encoder
    hidden: features of the coarse mesh's encoder; the refinement's encoders have half as many
    patch: side of the refinement's square patches in pixels
    patch_width: channels of the first stage of the refinement's encoders
    vertices, lips, eye: vertices of the mesh, and those refined at the lips and at each eye
    """

    crop: int = 192
    width: int = 32
    stages: int = 3
    stride: int = 4
    hidden: int = 256
    patch: int = 64
    patch_width: int = 16
    vertices: int = 478
    lips: int = 80
    eye: int = 48


class _Residual(nn.Module):
    """Residual block of two 3×3 convolutions, [B, C, H, W]."""

    def __init__(self, channels: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.body(x))


def _down(channels: int, out: int, kernel: int = 3, stride: int = 2) -> nn.Sequential:
    """Strided convolution, batch norm and ReLU, [B, C, H, W] → [B, out, H / stride, W / stride]."""
    return nn.Sequential(
        nn.Conv2d(channels, out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out),
        nn.ReLU(inplace=True),
    )


class _Encoder(nn.Module):
    """Image [B, 3, S, S] → features [B, hidden]; maps are flattened, not pooled, to keep positions."""

    def __init__(self, size: int, width: int, stages: int, stride: int, hidden: int):
        super().__init__()
        layers: list[nn.Module] = [_down(3, width, kernel=2 * stride - 1, stride=stride)]
        for stage in range(stages):
            channels = width << stage
            layers += [_down(channels, 2 * channels), _Residual(2 * channels)]
        squeezed = max(width << stages >> 2, 8)
        layers += [nn.Conv2d(width << stages, squeezed, 1), nn.ReLU(inplace=True), nn.Flatten()]
        side = size // stride >> stages
        layers += [nn.Linear(squeezed * side * side, hidden), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        return self.layers(image)


class UnprojectionNetwork(nn.Module):
    """Face crop [B, 3, S, S] float32 in 0..1 → mesh [B, V, 3] in units of the crop's side, confidence [B] in 0..1.

    Mesh coordinates: x right, y down from the crop's top left corner, z toward the camera.
    Buffers hold the indices of the refined vertices; ``set_regions`` sets them, and they are saved with the weights.
    """

    lip_index: Tensor
    eye_index: Tensor

    def __init__(self, dims: UnprojectionDims):
        super().__init__()
        self.dims = dims
        self.encoder = _Encoder(dims.crop, dims.width, dims.stages, dims.stride, dims.hidden)
        self.shape = nn.Linear(dims.hidden, dims.vertices * 3)
        self.confidence = nn.Linear(dims.hidden, 1)
        self.mouth = self._refiner(dims.lips)
        self.eye = self._refiner(dims.eye)
        self.register_buffer("lip_index", torch.zeros(dims.lips, dtype=torch.long))
        self.register_buffer("eye_index", torch.zeros(2, dims.eye, dtype=torch.long))

    def _refiner(self, points: int) -> nn.Sequential:
        """Network of the refinement: patch [B, 3, S, S] → movement of a number of vertices, which starts at 0."""
        dims = self.dims
        head = nn.Linear(dims.hidden // 2, points * 3)
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        return nn.Sequential(_Encoder(dims.patch, dims.patch_width, 3, 2, dims.hidden // 2), head)

    def set_regions(self, lips: Tensor, right_eye: Tensor, left_eye: Tensor) -> None:
        """Set the refined vertices: [lips], [eye], [eye]; the left eye's in the mirrored order of the right eye's."""
        self.lip_index.copy_(lips)
        self.eye_index.copy_(torch.stack([right_eye, left_eye]))

    def forward(self, crop: Tensor) -> tuple[Tensor, Tensor]:
        _, mesh, logit = self.coarse_and_refined(crop)
        return mesh, torch.sigmoid(logit)

    def coarse_and_refined(self, crop: Tensor, jitter: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """Return the coarse mesh, the refined mesh [B, V, 3] each, and the logit [B] of the confidence.

        ``jitter`` misplaces the refinement's patches at random in training, so that it learns to correct any coarse
        mesh.
        """
        features = self.encoder((crop - 0.5) * 4)
        coarse = self.shape(features).float().view(-1, self.dims.vertices, 3)
        logit = self.confidence(features).float()[:, 0]
        lips = self.lip_index
        frame = _frame(coarse, lips, lips, 1.5, jitter)
        mesh = self._refine(self.mouth, crop, coarse, lips, frame, mirrored=False)
        for side in (0, 1):
            index = self.eye_index[side]
            frame = _frame(coarse, index, lips, 1.3, jitter)
            mesh = self._refine(self.eye, crop, mesh, index, frame, mirrored=side == 1)
        return coarse, mesh, logit

    def _refine(
        self, refiner: nn.Module, crop: Tensor, mesh: Tensor, index: Tensor, frame: Tensor, mirrored: bool
    ) -> Tensor:
        """Sample the patch at ``frame``, and move the vertices ``index`` as the refiner predicts from it."""
        size = self.dims.patch
        flip = torch.tensor([-1.0, 1.0, 1.0] if mirrored else [1.0, 1.0, 1.0], device=mesh.device)
        steps = (torch.arange(size, device=crop.device, dtype=mesh.dtype) + 0.5) / size - 0.5
        grid_y, grid_x = torch.meshgrid(steps, steps, indexing="ij")
        grid = torch.stack([grid_x * flip[0], grid_y], -1).view(1, -1, 2)
        centre, axes = frame[:, 0:1], frame[:, 1:]
        where = (centre + grid @ axes).view(-1, size, size, 2)
        patch = F.grid_sample(crop, where * 2 - 1, padding_mode="border", align_corners=False)
        moved = refiner((patch - 0.5) * 4).float().view(-1, len(index), 3) * 0.1 * flip
        side = axes[:, 0:1].norm(dim=-1, keepdim=True)
        delta = torch.cat([moved[..., :2] @ axes, moved[..., 2:] * side], -1)
        return mesh.index_add(1, index, delta)


def _frame(mesh: Tensor, index: Tensor, lips: Tensor, margin: float, jitter: float) -> Tensor:
    """Centre, x axis and y axis [B, 3, 2] of a square patch around the vertices ``index``.

    The patch is upright with the face: its y axis points from the bridge of the nose (vertex 168) to the lips.
    """
    mesh = mesh.detach()[..., :2]
    points = mesh[:, index]
    down = F.normalize(mesh[:, lips].mean(1) - mesh[:, 168], dim=-1)
    right = torch.stack([down[:, 1], -down[:, 0]], -1)
    centre = points.mean(1)
    offset = points - centre[:, None]
    reach = torch.maximum(
        (offset * right[:, None]).sum(-1).abs().amax(1), (offset * down[:, None]).sum(-1).abs().amax(1)
    )
    side = (2 * margin * reach)[:, None].clamp(min=0.02)
    if jitter:
        centre = centre + side * jitter * torch.randn_like(centre)
        side = side * torch.exp(jitter * torch.randn_like(side))
    return torch.stack([centre, right * side, down * side], 1)
