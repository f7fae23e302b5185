"""Composition of the whole image and its patches without seams (§4.3, in its geometric form)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from thcli.images import averaged, blur, fill, resized_to

LARGEST_CORRECTION = 0.12
"""Largest colour difference (0..1) of a patch to its surroundings that is evened out; light causes no larger one."""
LIGHT = 8
"""Width of a patch over the standard deviation of the blur that averages its colour difference.

Light changes slowly from place to place; a difference that changes faster comes from lips that lie a little apart. With
48 the mouth's error on val was 4 % larger.
"""
SMALL = 16
"""Least side, px, of the reduced images on which the light of a patch is compared."""


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
        lay_over(window, patch)
    return image


def lay_over(window: Tensor, patch: Patch) -> None:
    """Lay a patch over the part [B, 3, h, w] of images that it covers, in place, in their light.

    The patch's colour difference from the window is measured along its soft border, and spread over the patch. Light
    changes slowly from place to place, so this is done on reduced images.
    """
    height, width = patch.image.shape[-2:]
    factor = max(1, min(height, width) // SMALL)
    apart, share = window - patch.image, patch.mask
    apart, share = averaged(apart, factor), averaged(share, factor)
    border = 4 * share * (1 - share)
    weighted = torch.cat([apart * border, border], 1)
    weighted = blur(weighted, max(1.0, weighted.shape[-1] / LIGHT))
    known = weighted[:, 3:]
    difference = (weighted[:, :3] / known.clamp(min=1e-3)).clamp(-LARGEST_CORRECTION, LARGEST_CORRECTION)
    correction = fill(difference, (2 * known).clamp(max=1))
    correction = resized_to(correction, (factor * correction.shape[-2], factor * correction.shape[-1]))
    window.lerp_((patch.image + correction[..., :height, :width]).clamp_(0, 1), patch.mask)
