"""How much of the head's movement each part of the picture takes part in, learned from the references themselves.

Face and hair move with the head, the neck half, the background not at all. Where those lie differs from clip to
clip. But the references show it: for every two of them, warp one to the other as if everything moved with the
head by 0, 20 … 100 percent, and see, pixel by pixel, which comes nearest to what is there. The map lives in the
coordinates of the head, so that it follows the outline of the hair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import blur
from thcli.records import CROP_SIZE
from thcli.render.rasterize import rasterize
from thcli.render.warp import SKIN, head_flow, pixel_grid, sample

MAP_SIZE = 128
REACH = 1.1
"""Half the map's side, in face heights."""
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
MAX_PAIRS = 40
EVIDENCE_BLUR = 2.0
"""Standard deviation in map pixels over which a pixel's neighbours are asked too."""
SHARPNESS = 1000.0
PRIOR_STRENGTH = 0.005
"""Colour difference (0..1) that the evidence must exceed to turn the map from its prior altogether."""
FOREHEAD, CHIN, EARS = 10, 152, (234, 454)


@dataclass(frozen=True)
class Attachment:
    """weight: [MAP_SIZE, MAP_SIZE] float32 in 0..1, share of the head's movement, in head coordinates."""

    weight: Tensor

    def at(self, mesh: Tensor, size: int) -> Tensor:
        """The weight under heads at meshes [B, V, 3]: [B, 1, size, size]."""
        centre, axes, height = _head_frame(mesh)
        offset = pixel_grid(size, mesh.device)[None] - centre[:, :, None, None]
        where = torch.einsum("bij,bjhw->bhwi", axes, offset) / (REACH * height[:, None, None, None])
        weight = self.weight[None, None].expand(len(mesh), 1, -1, -1)
        return F.grid_sample(weight, where, padding_mode="border", align_corners=False)


def prior_attachment() -> Attachment:
    """What is assumed without evidence, as for a photo: an ellipse around face and hair, fading downward."""
    steps = ((torch.arange(MAP_SIZE) + 0.5) / MAP_SIZE * 2 - 1) * REACH
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    radius = torch.sqrt((x / 0.62) ** 2 + (y / torch.where(y < 0, 0.75, 0.62)) ** 2)
    share = (1 - (radius - 1) / 0.6).clamp(0, 1)
    return Attachment(share * share * (3 - 2 * share))


def learn_attachment(images: Tensor, meshes: Tensor, faces: Tensor, prior: Attachment) -> Attachment:
    """The map of one clip from its references: images [K, 3, S, S], meshes [K, V, 3] px of the crop, faces [F, 3].

    With one reference, or none that moves, it is the prior.
    """
    pairs = _moving_pairs(meshes)
    if not pairs:
        return prior
    small = F.interpolate(images, size=(MAP_SIZE, MAP_SIZE), mode="bilinear", antialias=True, align_corners=False)
    scale = torch.tensor([MAP_SIZE / CROP_SIZE, MAP_SIZE / CROP_SIZE, 1.0])
    cost = torch.zeros(len(LEVELS), MAP_SIZE, MAP_SIZE)
    seen = torch.zeros(MAP_SIZE, MAP_SIZE)
    on_face = torch.zeros(MAP_SIZE, MAP_SIZE)
    for source, target in pairs:
        mesh = meshes[target : target + 1]
        fragments = rasterize(mesh * scale, faces, MAP_SIZE, MAP_SIZE)
        flow = head_flow(fragments, faces, mesh, meshes[source : source + 1])
        moved = torch.cat([sample(small[source : source + 1], level * flow, "bilinear") for level in LEVELS])
        error = (moved - small[target]).abs().mean(1)
        where = _head_grid(mesh)
        inside = (where.abs() < 1).all(-1)[0].float()
        evidence = torch.cat([error, fragments.mask.float()])[None]
        evidence = F.grid_sample(evidence, where, align_corners=False)[0]
        cost += evidence[:-1] * inside
        on_face += evidence[-1]
        seen += inside
    return Attachment(_choose(cost / seen.clamp(min=1), seen, on_face / len(pairs), prior.weight))


def _choose(cost: Tensor, seen: Tensor, on_face: Tensor, prior: Tensor) -> Tensor:
    """The expected level under the softened evidence; the mesh itself always moves wholly."""
    level = torch.tensor(LEVELS)[:, None, None]
    total = blur(cost[None], EVIDENCE_BLUR)[0] + PRIOR_STRENGTH * (level - prior).abs()
    weight = (torch.softmax(-SHARPNESS * total, 0) * level).sum(0)
    weight = torch.where(seen > 0, weight, prior)
    weight = torch.maximum(weight, (on_face > 0.5).float())
    return blur(weight[None, None], 1.5)[0, 0]


def _moving_pairs(meshes: Tensor) -> list[tuple[int, int]]:
    """(source, target) pairs of references between which the head moves, the most first."""
    centre = meshes[:, SKIN, :2]
    distance = {
        (i, j): float((centre[i] - centre[j]).norm(dim=-1).mean()) for i, j in permutations(range(len(meshes)), 2)
    }
    moving = [pair for pair in distance if distance[pair] > CROP_SIZE / 256]
    return sorted(moving, key=lambda pair: (-distance[pair], pair))[:MAX_PAIRS]


def _head_frame(mesh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre [B, 2], axes [B, 2, 2] (rows: right, down) and height [B] of the head, from meshes [B, V, 3]."""
    top, chin = mesh[:, FOREHEAD, :2], mesh[:, CHIN, :2]
    height = (chin - top).norm(dim=-1)
    down = (chin - top) / height[:, None]
    right = torch.stack([down[:, 1], -down[:, 0]], -1)
    centre = (top + chin) / 4 + (mesh[:, EARS[0], :2] + mesh[:, EARS[1], :2]) / 4
    return centre, torch.stack([right, down], 1), height


def _head_grid(mesh: Tensor) -> Tensor:
    """Where the map's pixels lie in the picture, for ``grid_sample``: [B, MAP_SIZE, MAP_SIZE, 2]."""
    centre, axes, height = _head_frame(mesh)
    steps = ((torch.arange(MAP_SIZE) + 0.5) / MAP_SIZE * 2 - 1) * REACH
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    offset = torch.einsum("hwi,bij->bhwj", torch.stack([x, y], -1), axes) * height[:, None, None, None]
    return (centre[:, None, None] + offset) / (CROP_SIZE / 2) - 1
