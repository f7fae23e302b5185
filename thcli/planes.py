"""Resizing, blurring and sampling of images on a CPU by OpenCV, which takes a tenth to a half of PyTorch's time.

Images are tensors [B, C, H, W]; OpenCV is given one channel of one image at a time, so what becomes of an image does
not depend on its batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from thcli.opencv import cv2
from thcli.records import Float


def fits(*images: Tensor) -> bool:
    """Return whether OpenCV can take images: float32 in this machine's memory, of which no gradient is asked."""
    return all(x.device.type == "cpu" and x.dtype == torch.float32 and not x.requires_grad for x in images)


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images [B, C, h, w] to [B, C, *size] bilinearly, without anti-aliasing."""
    result = images.new_empty(*images.shape[:2], *size)
    for given, made in _pairs(images, result):
        cv2.resize(given, size[::-1], dst=made, interpolation=cv2.INTER_LINEAR)
    return result


def average(images: Tensor, factor: int) -> Tensor:
    """Reduce images [B, C, H, W] by a factor that divides their sides; every pixel is the mean of a square."""
    height, width = (side // factor for side in images.shape[-2:])
    result = images.new_empty(*images.shape[:2], height, width)
    for given, made in _pairs(images, result):
        cv2.resize(given, (width, height), dst=made, interpolation=cv2.INTER_AREA)
    return result


def smooth(images: Tensor, kernel: Float) -> Tensor:
    """Convolve images [B, C, H, W] with a symmetric kernel [2 R + 1] along both axes; the border is repeated."""
    result = images.new_empty(images.shape)
    for given, made in _pairs(images, result):
        cv2.sepFilter2D(given, -1, kernel, kernel, dst=made, borderType=cv2.BORDER_REPLICATE)
    return result


def widen(images: Tensor, reach: int) -> Tensor:
    """Return images [B, C, H, W] of the largest value of the square of 2 ``reach`` + 1 px around each place."""
    result = images.new_empty(images.shape)
    square = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    for given, made in _pairs(images, result):
        cv2.dilate(given, square, dst=made)
    return result


def sample(images: Tensor, places: Tensor, of: Sequence[int], cubic: bool) -> Tensor:
    """Sample images [K, C, H, W] at places [P, 2, h, w] (x, y), px: [P, C, h, w]; the border is repeated.

    of: P numbers of the images that are sampled
    cubic: whether values are interpolated by cubics, and not linearly
    """
    how = cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR
    result = images.new_empty(len(places), images.shape[1], *places.shape[2:])
    sources = images.numpy()
    for k, place, made in zip(of, places.numpy(), result.numpy(), strict=True):
        x, y = place - np.float32(0.5)  # the first pixel's centre lies at 0 for OpenCV, and at 0.5 here
        for channel, plane in zip(sources[k], made, strict=True):
            cv2.remap(channel, x, y, how, dst=plane, borderMode=cv2.BORDER_REPLICATE)
    return result


def _pairs(images: Tensor, result: Tensor) -> zip[tuple[np.ndarray, np.ndarray]]:
    """Return pairs of the planes of two tensors, both [B, C, …], as arrays that share their memory."""
    return zip(*(x.flatten(0, 1).numpy() for x in (images, result)), strict=True)
