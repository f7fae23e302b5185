"""Transitions from one reference to the next without two pictures at once: aligned, and in the detail of one.

A cross-fade of two warped references shows hair, ears and clothes twice, because the mesh aligns the face alone. So the
optical flow between the two moves both to the same place, only their colours are blended, and fine detail comes from
the nearer one. Where the two differ even so, the nearer one is shown.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.images import averaged, blur, resized, smoothstep
from thcli.records import CROP_SIZE
from thcli.render.warp import sample

SIZE = 64
"""Side, px, of the images between which the flow is computed."""
COLOURS = 128
"""Side, px, of the images in which colours without detail are blended."""
LEVELS, STEPS = 3, 4
"""Levels of the pyramid, each half as large as the one before, and steps on each."""
WINDOW = 2.0
"""Standard deviation, px of a level, of the window within which the flow is constant."""
STILL = 1e-4
"""Squared gradient, of grey levels in 0..1 a px, below which nothing is seen to move."""
FARTHEST = 16.0
"""Longest flow, px of the crop; hair and clothes differ by less, and what differs by more cannot be aligned."""
DETAIL = 2.0
"""Standard deviation, px of the crop at 256², of the blur that separates detail from colour."""
ONE_ALONE = 0.2
"""Difference of the aligned colours, 0..1, at which a blend lasts a third as long; it shrinks with the difference."""


def dissolve(nearer: Tensor, small: Tensor, flows: Tensor, share: Tensor, free: Tensor) -> Tensor:
    """Return N images [N, C, S, S] on the way from one warped reference to another.

    nearer: [N, C, S, S], of each the reference of ``which_is_nearer``; three channels are colours, others go along
    small: [N, 2, C, COLOURS, COLOURS], both references of each
    flows: [N, 2, 2, F, F], backward flows that warp both, px of the crop
    share: [N], how far the way has gone, from 0, the first reference, to 1, the second
    free: [F, F] in 0..1, 0 where the image must not move
    """
    tiny = averaged(small[:, :, :3].flatten(0, 1), COLOURS // SIZE)
    grey = sample(tiny, resized(flows.flatten(0, 1), SIZE)).mean(1)
    first, second = grey.view(-1, 2, 1, SIZE, SIZE).unbind(1)
    between = flow_between(first, second) * (CROP_SIZE / SIZE)
    between = resized(between.clamp(-FARTHEST, FARTHEST), flows.shape[-1]) * free
    way = share.view(-1, 1, 1, 1)
    # What lies at x in the image lies at x - share * flow in the first reference's picture.
    aligned = torch.stack([follow(flows[:, i], (i - way) * between) for i in range(2)], 1)
    colours = blur(sample(small.flatten(0, 1), aligned.flatten(0, 1)), DETAIL * COLOURS / CROP_SIZE)
    which = torch.arange(len(share)), which_is_nearer(share)
    change = _change(colours.view_as(small), which, way)
    picture = sample(nearer, aligned[which], cubic=True)
    return picture.add_(resized(change, picture.shape[-1]))


def which_is_nearer(share: Tensor) -> Tensor:
    """Return 0 for each share [N] of the way at which the first reference is nearer, and 1 where the second is."""
    return (share >= 0.5).long()


def follow(flow: Tensor, first: Tensor) -> Tensor:
    """Return the backward flow [N, 2, F, F] that does what ``first`` and then ``flow`` do, px of the crop."""
    return first + sample(flow, first)


def flow_between(first: Tensor, second: Tensor) -> Tensor:
    """Return the flow [N, 2, S, S], px, at which first(x) is second(x + flow), for images [N, 1, S, S].

    The method is Lucas and Kanade's (1981), in a pyramid, with Gaussian windows.
    """
    size = first.shape[-1]
    flow = first.new_zeros(len(first), 2, size >> LEVELS, size >> LEVELS)
    for level in reversed(range(LEVELS)):
        a, b = (averaged(image, 1 << level) for image in (first, second))
        flow = 2 * resized(flow, a.shape[-1])
        gradient = torch.cat(slopes(a), 1)
        products = torch.cat([gradient.square(), gradient[:, :1] * gradient[:, 1:]], 1)
        xx, yy, xy = blur(products, WINDOW).unbind(1)
        xx, yy = xx + STILL, yy + STILL
        for _ in range(STEPS):
            error = a - sample(b, flow * (CROP_SIZE / a.shape[-1]))
            x, y = blur(gradient * error, WINDOW).unbind(1)
            step = torch.stack([yy * x - xy * y, xx * y - xy * x], 1) / (xx * yy - xy * xy)[:, None]
            flow = flow + step.clamp(-1, 1)
    return flow


def slopes(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the derivatives of images [N, 1, S, S] along x and y, of the same shape."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    return (padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]) / 2, (padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]) / 2


def _change(colours: Tensor, nearer: tuple[Tensor, Tensor], share: Tensor) -> Tensor:
    """Return what blending adds to the colours of the nearer reference, by the share [N, 1, 1, 1] of the second.

    colours: [N, 2, C, h, h], of both references, aligned and without detail
    nearer: index of the nearer ones in them
    """
    sigma = DETAIL * COLOURS / CROP_SIZE
    apart = blur((colours[:, 0] - colours[:, 1]).abs().amax(1, keepdim=True), sigma)
    share_here = smoothstep(((share - 0.5) * (1 + 2 / ONE_ALONE * apart) + 0.5).clamp(0, 1))
    return torch.lerp(colours[:, 0], colours[:, 1], share_here) - colours[nearer]
