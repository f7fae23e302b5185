"""Composition of the whole image and its patches without seams (§4.3, in its geometric form)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thcli.images import blur, fill

LARGEST_CORRECTION = 0.12
"""Largest colour difference (0..1) of a patch to its surroundings that is evened out; light causes no larger one."""
LIGHT = 8
"""Width of a patch over the standard deviation of the blur that averages its colour difference.

Light changes slowly from place to place; a difference that changes faster comes from lips that lie a little apart. With
48 the mouth's error on val was 4 % larger.
"""


@dataclass(frozen=True)
class Patch:
    """A part of the image (mouth or eyes) that comes from other references than the rest.

    image: [B, 3, h, w] float32 in 0..1, the patch alone
    mask: [B, 1, h, w] in 0..1, opacity of the patch
    top, left: row and column of the patch's top left corner in the whole image, pixels
    """

    image: Tensor
    mask: Tensor
    top: int
    left: int


def compose(base: Tensor, patches: Sequence[Patch]) -> Tensor:
    """Lay patches over images [B, 3, S, S], with the patches' light matched to the images' along their soft borders."""
    image = base.clone()
    for patch in patches:
        height, width = patch.image.shape[-2:]
        window = image[..., patch.top : patch.top + height, patch.left : patch.left + width]
        window += patch.mask * (_relit(patch, window) - window)
    return image


def _relit(patch: Patch, window: Tensor) -> Tensor:
    """Return the patch's image plus its colour difference from the window along its border, spread over the patch."""
    border = (4 * patch.mask * (1 - patch.mask)).clamp(0, 1)
    sigma = max(1.0, window.shape[-1] / LIGHT)
    weighted = blur(torch.cat([(window - patch.image) * border, border], 1), sigma)
    known = weighted[:, 3:]
    difference = weighted[:, :3] / known.clamp(min=1e-3)
    correction = fill(difference.clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION), (2 * known).clamp(max=1))
    return (patch.image + correction).clamp(0, 1)
