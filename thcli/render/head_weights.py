"""Head weights: the share of the head's movement that each place of the image follows, estimated from the references.

Face and hair move with the head, the neck half as far, and the background not at all. Where these lie differs from clip
to clip, and the references show it: for every pair of references, one is warped to the other as if everything moved
with the head by 0, 20 … 100 percent, and each pixel takes the share that comes nearest to the other reference. Where
images are flat any share does, so no place takes a larger one than those between it and the face. The map is in the
coordinates of the head, so that it follows the outline of the hair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import blur, ramp, resized, sampled
from thcli.records import CROP_SIZE
from thcli.render.rasterize import rasterize
from thcli.render.warp import EARS, SKIN, head_flow, pixel_grid, sample

MAP_SIZE = 128
"""Side of the map, map pixels."""
REACH = 1.1
"""Half the side of the map, face heights."""
LEVELS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Head weights that are tried for every pixel."""
MAX_PAIRS = 40
"""Most pairs of references that are compared."""
RAYS, PLACES = 120, 96
"""Number of rays from the middle of the face on which head weights are chosen, and of places on each."""
FARTHEST = 1.42
"""Distance of the last place on a ray from the middle, over half the side of the map; it lies beyond the corners."""
AROUND = 16
"""Rays that are repeated at both ends for blurs, because the last ray neighbours the first."""
EVIDENCE_BLUR = 3.0
"""Standard deviation, rays and places, of the blur that adds the evidence of a place's neighbours to its own."""
WEIGHT_BLUR = 6.0
"""Standard deviation, map pixels, of the blur of the finished map.

Where the weight falls within less, strands of hair bend in waves as the head turns far from its reference; SSIM, which
hardly changes, does not tell.
"""
PRIOR_STRENGTH = 0.005
"""Colour difference (0..1) that the evidence must exceed to move the map by 1 from its prior."""
WHOLE, LAYERED = (1.0, 1.35), (0.8, 1.8)
"""Distances from the middle of the face, over half the size of the head, between which what moves with the head ends,
for whole images and for layered persons. Long hair that ended sooner would bend in a wave."""
NARROWS = (0.0, 0.45)
"""Heights below the middle of the face, face heights, between which the part of a layered person narrows that moves."""
LEAST = 0.05
"""Number of pairs, of which parts count, in which a place must be seen for its evidence to count."""
FOREHEAD, CHIN = 10, 152
"""Vertices at the top of the forehead and at the chin."""


@dataclass(frozen=True)
class HeadWeightMap:
    """Map of the head weights of one clip.

    weight: [MAP_SIZE, MAP_SIZE] float32 in 0..1, share of the head's movement, in head coordinates
    """

    weight: Tensor

    def at(self, mesh: Tensor, size: int) -> Tensor:
        """Return the head weights of images that show heads at meshes [B, V, 3]: [B, 1, size, size]."""
        centre, axes, height = _head_frame(mesh)
        offset = pixel_grid(size, mesh.device)[None] - centre[:, :, None, None]
        where = torch.einsum("bij,bjhw->bihw", axes, offset) / (REACH * height[:, None, None, None])
        return sampled(self.weight[None, None], (where + 1) * (MAP_SIZE / 2), [0] * len(mesh))


def prior_head_weights(layered: bool = False) -> HeadWeightMap:
    """Return the map that is assumed without evidence, as for a photo: an ellipse around face and hair, fading down.

    layered: whether only the person moves; hair needs no outline then: all above the middle of the face moves with the
        head, and below it, what is no further aside than the neck
    """
    steps = ((torch.arange(MAP_SIZE) + 0.5) / MAP_SIZE * 2 - 1) * REACH
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    if layered:
        radius, (least, most) = torch.hypot(ramp(y, *NARROWS) * x / 0.55, y.clamp(min=0) / 0.6), LAYERED
    else:
        radius, (least, most) = torch.hypot(x / 0.52, y / torch.where(y < 0, 0.68, 0.6)), WHOLE
    return HeadWeightMap(ramp(radius, most, least))


def estimate_head_weights(
    images: Tensor, meshes: Tensor, faces: Tensor, prior: HeadWeightMap, person: Tensor | None = None
) -> HeadWeightMap:
    """Estimate the map of a clip from its references; with one reference, or none that moves, it is the prior.

    images: [K, 3, S, S] float32 in 0..1
    meshes: [K, V, 3] float32, px of the crop
    faces: [F, 3] int64
    person: [K, 1, S, S] in 0..1, opacity of the person, whose movement alone counts; None where all of the image counts
    """
    pairs = _moving_pairs(meshes)
    if not pairs:
        return prior
    small = resized(images, MAP_SIZE)
    counts = torch.ones_like(small[:, :1]) if person is None else resized(person, MAP_SIZE)
    return HeadWeightMap(_choose(*_evidence(small, counts, meshes, faces, pairs), prior.weight))


def _evidence(
    images: Tensor, counts: Tensor, meshes: Tensor, faces: Tensor, pairs: Sequence[tuple[int, int]]
) -> tuple[Tensor, Tensor, Tensor]:
    """Compare images [K, 3, MAP_SIZE, MAP_SIZE] in pairs, of which one is moved to the other.

    counts: [K, 1, MAP_SIZE, MAP_SIZE] in 0..1, how far each place counts

    Returns, in head coordinates, the mean colour error [N, MAP_SIZE, MAP_SIZE] of each of ``LEVELS``, in how many pairs
    a place was seen, and in which share of them the mesh covers it.
    """
    scale = torch.tensor([MAP_SIZE / CROP_SIZE, MAP_SIZE / CROP_SIZE, 1.0])
    cost = torch.zeros(len(LEVELS), MAP_SIZE, MAP_SIZE)
    seen, on_face = torch.zeros(2, MAP_SIZE, MAP_SIZE).unbind()
    levels = torch.tensor(LEVELS)[:, None, None, None, None]
    for target in sorted({target for _, target in pairs}):
        sources = [source for source, other in pairs if other == target]
        mesh = meshes[target : target + 1]
        fragments = rasterize(mesh * scale, faces, MAP_SIZE, MAP_SIZE)
        flow = head_flow(fragments, faces, mesh, meshes[None, sources])
        moved = sample(images[sources].repeat(len(LEVELS), 1, 1, 1), (levels * flow).flatten(0, 1))
        error = (moved - images[target]).abs().mean(1).view(len(LEVELS), len(sources), MAP_SIZE, MAP_SIZE).sum(1)
        where = _head_grid(mesh)
        inside = (where.abs() < 1).all(-1)[0].float()
        evidence = torch.cat([error * counts[target], len(sources) * counts[target], fragments.mask.float()])[None]
        evidence = F.grid_sample(evidence, where, align_corners=False)[0]
        cost += evidence[: len(LEVELS)] * inside
        seen += evidence[-2] * inside
        on_face += len(sources) * evidence[-1]
    return cost / seen.clamp(min=LEAST), seen, on_face / len(pairs)


def _choose(cost: Tensor, seen: Tensor, on_face: Tensor, prior: Tensor) -> Tensor:
    """Return the levels that cost least, where no level is higher than those nearer to the face; 1 on the mesh.

    cost: [N, MAP_SIZE, MAP_SIZE], of each of ``LEVELS``; 0 where nothing was ``seen``, which the prior decides
    """
    level = torch.tensor(LEVELS)[:, None, None]
    total = cost * (seen > LEAST) + PRIOR_STRENGTH * (level - prior).abs()
    rays = F.grid_sample(total[None], _polar_places()[None], padding_mode="border", align_corners=False)[0]
    wrapped = F.pad(rays, (0, 0, AROUND, AROUND), mode="circular")
    smooth = blur(wrapped[None], EVIDENCE_BLUR)[0, :, AROUND:-AROUND]
    weight = torch.tensor(LEVELS)[_falling(smooth)]
    weight = F.grid_sample(
        F.pad(weight[None, None], (0, 0, AROUND, AROUND), mode="circular"), _cartesian_places()[None],
        padding_mode="border", align_corners=False,
    )[0, 0]  # fmt: skip
    falling = blur(weight[None, None], WEIGHT_BLUR)
    around_face = (2 * blur((on_face > 0.5).float()[None, None], WEIGHT_BLUR)).clamp(max=1)  # 1 up to its border
    return torch.maximum(falling, around_face)[0, 0]


def _falling(cost: Tensor) -> Tensor:
    """Return, for N levels on A rays of R places, the sequence [A, R] of levels that never rises and costs least.

    cost: [N, A, R]
    """
    count, places = len(cost), cost.shape[-1]
    total, chosen = cost[..., 0], []
    for place in range(1, places):
        least, before = total.flip(0).cummin(0)
        chosen.append(count - 1 - before.flip(0))
        total = least.flip(0) + cost[..., place]
    levels = [total.argmin(0)]
    for before in reversed(chosen):
        levels.append(before.gather(0, levels[-1][None])[0])
    return torch.stack(levels[::-1], -1)


def _polar_places() -> Tensor:
    """Return where places on rays from the middle of the map lie in it, for ``grid_sample``: [RAYS, PLACES, 2]."""
    angle = (torch.arange(RAYS) + 0.5) / RAYS * (2 * torch.pi)
    radius = (torch.arange(PLACES) + 0.5) / PLACES * FARTHEST
    return torch.stack([angle.cos()[:, None] * radius, angle.sin()[:, None] * radius], -1)


def _cartesian_places() -> Tensor:
    """Return where the map's pixels lie in a map [RAYS + 2 AROUND, PLACES] of rays: [MAP_SIZE, MAP_SIZE, 2]."""
    steps = (torch.arange(MAP_SIZE) + 0.5) / MAP_SIZE * 2 - 1
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    along = torch.hypot(x, y) / FARTHEST * 2 - 1
    turn = (torch.atan2(y, x) / (2 * torch.pi)) % 1
    return torch.stack([along, (turn * RAYS + AROUND) / (RAYS + 2 * AROUND) * 2 - 1], -1)


def _moving_pairs(meshes: Tensor) -> list[tuple[int, int]]:
    """Return pairs (source, target) of references between which the head moves, the largest movement first."""
    centre = meshes[:, SKIN, :2]
    distance = {
        (i, j): float((centre[i] - centre[j]).norm(dim=-1).mean()) for i, j in permutations(range(len(meshes)), 2)
    }
    moving = [pair for pair in distance if distance[pair] > CROP_SIZE / 256]
    return sorted(moving, key=lambda pair: (-distance[pair], pair))[:MAX_PAIRS]


def _head_frame(mesh: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return centre [B, 2], axes [B, 2, 2] (rows: right, down) and height [B] of the head in meshes [B, V, 3]."""
    top, chin = mesh[:, FOREHEAD, :2], mesh[:, CHIN, :2]
    height = (chin - top).norm(dim=-1)
    down = (chin - top) / height[:, None]
    right = torch.stack([down[:, 1], -down[:, 0]], -1)
    centre = (top + chin) / 4 + (mesh[:, EARS[0], :2] + mesh[:, EARS[1], :2]) / 4
    return centre, torch.stack([right, down], 1), height


def _head_grid(mesh: Tensor) -> Tensor:
    """Return where the map's pixels lie in the image, for ``grid_sample``: [B, MAP_SIZE, MAP_SIZE, 2]."""
    centre, axes, height = _head_frame(mesh)
    steps = ((torch.arange(MAP_SIZE) + 0.5) / MAP_SIZE * 2 - 1) * REACH
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    offset = torch.einsum("hwi,bij->bhwj", torch.stack([x, y], -1), axes) * height[:, None, None, None]
    return (centre[:, None, None] + offset) / (CROP_SIZE / 2) - 1
