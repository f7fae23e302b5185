"""Secondary motion: how hair, neck and shoulders move beside the face, learned from the clip.

The renderer moves all that is not face as one rigid head, by a share that falls off towards the body
(``head_weights``). Real hair swings out or rests on the shoulders, lies nearer or further back than assumed, and
shoulders follow the head in their own way. A clip of a few seconds shows it: its frames are drawn from its references,
and what then lies beside its place is put down to the head's movement between the two, by a linear response of each
place of the image. This is the method of Lucas and Kanade (1981), for a flow that depends on the movement of the head,
solved for all frames at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from thcli.images import blur, resized
from thcli.records import CROP_SIZE, CropBox, Image
from thcli.render.flows import Flows
from thcli.render.head_weights import CHIN, FOREHEAD
from thcli.render.layers import References, over_background
from thcli.render.small_frames import SIZE
from thcli.render.transition import slopes
from thcli.render.warp import SKIN, sample
from thcli.threads import one_thread

NEAREST = 3
"""Number of references, those with the nearest heads, from which each frame is drawn."""
MOVEMENTS = 7
"""Number of measures of a movement of the head: turn and nod, shift across and down, growth, tilt, and drop of the jaw,
with which the movement of the head as a whole is a little misjudged."""
ROUNDS = 3
"""Number of times that the responses are improved; each draws the frames anew."""
WINDOW = 5.0
"""Standard deviation, px of the map, of the window within which places respond alike."""
RESERVE = 3e-6
"""Least squared slope of grey levels in 0..1, per px of the crop, by which movement is surely told."""
OUTLIER = 0.1
"""Difference of grey levels in 0..1 that counts half, because something else than movement may cause it."""
SMOOTH = 4.0
"""Standard deviation, px of the map, of the blur of the responses, so that strands of hair do not bend in waves."""
LIGHT = 8.0
"""Standard deviation, px of the map, of the blur that light and shade are told by, which are no movement."""
FURTHER = 3.0
"""Largest movement over the usual one of the clip to which places respond; nothing is known of any further one."""
FARTHEST = 12.0
"""Longest secondary motion, px of the crop."""
RigidFlows = Callable[[Tensor, NDArray[np.bool_], int], tuple[Flows, Tensor]]
"""Function that returns flows without secondary motion from meshes [B, V, 3] to the references in use [B, K], on a grid
of some size, and where there may be some, [B, 1, size, size] in 0..1: not on the face."""


@dataclass(frozen=True)
class SecondaryMotion:
    """Secondary motion of one person.

    response: [2 ``MOVEMENTS``, ``SIZE``, ``SIZE``], movement (x, y) of each place of the image for each measure of the
        movement of the head, px per px
    most: [``MOVEMENTS``], largest movements of the head to which places respond, face heights
    """

    response: Tensor
    most: Tensor

    def flow(self, target: Tensor, source: Tensor, free: Tensor) -> Tensor:
        """Return what secondary motion adds to flows from meshes [P, V, 3] to meshes [P, V, 3]: [P, 2, h, w], px.

        free: [P, 1, h, w] in 0..1, where there may be some
        """
        moved, height = movement(target, source)
        moved = torch.maximum(torch.minimum(moved, self.most), -self.most) * height
        flow = _respond(self.response, moved).clamp(-FARTHEST, FARTHEST)
        return resized(flow, free.shape[-1]) * free

    def part(self, canvas: CropBox, box: CropBox) -> SecondaryMotion:
        """Return the secondary motion in a square ``box`` of the canvas."""
        centre = box.x0 + box.side / 2 - canvas.x0, box.y0 + box.side / 2 - canvas.y0
        shift = [[2 * at / canvas.side - 1] for at in centre]
        scale = torch.eye(2) * (box.side / canvas.side)
        affine = torch.cat([scale, torch.tensor(shift)], 1)[None].to(self.response)
        grid = F.affine_grid(affine, [1, 1, SIZE, SIZE], align_corners=False)
        response = F.grid_sample(self.response[None], grid, padding_mode="border", align_corners=False)[0]
        return SecondaryMotion(response, self.most)


@one_thread()
def learn_secondary_motion(
    frames: Image,
    meshes: Tensor,
    own: NDArray[np.intp],
    references: References,
    reference_meshes: Tensor,
    rigid_flows: RigidFlows,
) -> SecondaryMotion | None:
    """Learn the secondary motion of a clip; None where no frame shows the head anywhere else than a reference does.

    frames: [n, ``SIZE``, ``SIZE``] uint8, from ``small_frames``
    meshes: [n, V, 3], their meshes, px of the crop
    own: [K], of which of these frames each reference is; others where it is of none of them
    reference_meshes: [K, V, 3]

    On one thread, as with more the number of cores would change the video by a hair.
    """
    pairs = _pairs(meshes, reference_meshes, own)
    if not len(pairs):
        return None
    t, k = pairs.T
    moved, height = movement(meshes[t], reference_meshes[k])
    small = references.each(lambda part: resized(part, SIZE))
    drawn = _Drawn(small, *_flows(meshes, pairs, len(reference_meshes), rigid_flows), k.tolist())
    real = torch.from_numpy(frames).to(meshes)[t][:, None].div_(255)
    response = meshes.new_zeros(2 * MOVEMENTS, SIZE, SIZE)
    for _ in range(ROUNDS):
        response = _improved(response, drawn.images(_respond(response, moved * height)), real, moved * height)
    return SecondaryMotion(response, FURTHER * moved.square().mean(0).sqrt())


def movement(target: Tensor, source: Tensor) -> tuple[Tensor, Tensor]:
    """Return how heads [P, V, 3] move to [P, V, 3], in face heights: [P, ``MOVEMENTS``]; and these heights [P, 1].

    The measures are those of the affine map from space to the image that takes one head to the other (least squares),
    and how much further the chin goes down.
    """
    points, there = target[:, SKIN], source[:, SKIN, :2]
    centre = points.mean(1, keepdim=True)
    height = (target[:, CHIN, :2] - target[:, FOREHEAD, :2]).norm(dim=-1, keepdim=True)
    points = F.pad(points - centre, (0, 1), value=1.0)
    affine = torch.linalg.solve(points.mT @ points, points.mT @ there)
    across, down, depth, place = affine.unbind(1)
    shift = (place - centre[:, 0, :2]) / height
    growth, tilt = (across[:, 0] + down[:, 1]) / 2 - 1, (across[:, 1] - down[:, 0]) / 2
    dropped = (there[:, CHIN] - (points[:, CHIN, None] @ affine)[:, 0])[:, 1:] / height
    return torch.cat([depth / 2, shift, growth[:, None] / 2, tilt[:, None] / 2, 2 * dropped], 1), height


@dataclass(frozen=True)
class _Drawn:
    """Frames drawn small from references, P in all, of which each shows one reference.

    references: the references, ``SIZE`` px large
    flow: [P, 2, ``SIZE``, ``SIZE``], flows without secondary motion, px of the crop
    free: [P, 1, ``SIZE``, ``SIZE``] in 0..1, where there may be some
    which: the P references that are shown
    """

    references: References
    flow: Tensor
    free: Tensor
    which: list[int]

    def images(self, secondary: Tensor) -> Tensor:
        """Return the grey levels [P, 1, ``SIZE``, ``SIZE``] with a secondary motion [P, 2, ``SIZE``, ``SIZE``]."""
        moving = self.references.moving(range(len(self.references.images)))
        moved = sample(moving, self.flow + self.free * secondary, self.which)
        return over_background(moved, self.references.behind(self.which)).mean(1, keepdim=True)


def _pairs(meshes: Tensor, references: Tensor, own: NDArray[np.intp]) -> Tensor:
    """Return the pairs (frame, reference) [P, 2] of each frame and the references with the nearest heads."""
    distance = (meshes[:, None, SKIN] - references[None, :, SKIN]).square().sum((2, 3))
    for k, t in enumerate(own):
        if 0 <= t < len(meshes):
            distance[t, k] = np.inf
    nearest = distance.argsort(1)[:, :NEAREST]
    frames = torch.arange(len(meshes), device=meshes.device)[:, None].expand_as(nearest)
    pairs = torch.stack([frames, nearest], -1).flatten(0, 1)
    return pairs[torch.isfinite(distance[pairs[:, 0], pairs[:, 1]])]


def _flows(meshes: Tensor, pairs: Tensor, count: int, rigid_flows: RigidFlows) -> tuple[Tensor, Tensor]:
    """Return the flows [P, 2, SIZE, SIZE] of pairs, and where secondary motion may be, [P, 1, SIZE, SIZE] in 0..1."""
    frames, row = torch.unique(pairs[:, 0], return_inverse=True)
    shown = list(zip(row.tolist(), pairs[:, 1].tolist(), strict=True))
    used = np.zeros((len(frames), count), bool)
    used[tuple(np.transpose(shown))] = True
    flows, free = rigid_flows(meshes[frames], used, SIZE)
    return flows.of(shown), free[row]


def _respond(response: Tensor, moved: Tensor) -> Tensor:
    """Return the secondary motion [P, 2, SIZE, SIZE] of a response to movements of the head [P, MOVEMENTS], px."""
    return torch.einsum("cihw,pi->pchw", response.view(2, MOVEMENTS, SIZE, SIZE), moved)


def _improved(response: Tensor, drawn: Tensor, real: Tensor, moved: Tensor) -> Tensor:
    """Return a response that is better than the one with which frames were drawn.

    drawn, real: [P, 1, SIZE, SIZE], these frames and the real ones
    moved: [P, MOVEMENTS], px

    In the window around each place, the sum of squared differences is least, linearised, and with a little extra for
    each response that is not 0.
    """
    error = real - drawn
    error = error - blur(error, LIGHT)
    slope = torch.cat(slopes(drawn), 1) * (SIZE / CROP_SIZE)
    trust = 1 / (1 + error.abs() / OUTLIER) / len(moved)
    products = torch.cat([slope.square(), slope[:, :1] * slope[:, 1:]], 1) * trust
    squares = (moved[:, :, None] * moved[:, None]).flatten(1)
    moments = (squares.mT @ products.flatten(1)).view(1, -1, SIZE, SIZE)
    xx, yy, xy = blur(moments, WINDOW).view(MOVEMENTS, MOVEMENTS, 3, -1).unbind(2)
    normal = torch.cat([torch.cat([xx, xy], 1), torch.cat([xy, yy], 1)]).permute(2, 0, 1)
    wanted = torch.einsum("pchw,pi->cihw", slope * error * trust, moved).flatten(0, 1)
    wanted = blur(wanted[None], WINDOW)[0] - RESERVE * response
    step = torch.linalg.solve(normal + RESERVE * torch.eye(2 * MOVEMENTS).to(normal), wanted.flatten(1).mT)
    return blur((response + step.mT.view_as(response))[None], SMOOTH)[0]
