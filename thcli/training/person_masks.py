"""Masks of persons that the matting network learns from: those of MediaPipe's selfie segmentation.

Its wheel (extra ``mediapipe``, at most 0.10.21) carries the network, under the Apache-2.0 licence. Training alone uses
it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from thcli.errors import UsageError
from thcli.records import Image


def check_teacher() -> None:
    """Raise UsageError where MediaPipe, or its segmentation, is not installed."""
    _segmentation()


def mediapipe_masks(images: Image) -> Image:
    """Return the masks [N, H, W] uint8 of images [N, H, W, 3] uint8: 255 on a person, 0 elsewhere, soft between.

    Raises UsageError as ``check_teacher`` does.
    """
    masks = np.empty(images.shape[:3], np.uint8)
    with _segmentation()(model_selection=0) as segmentation:
        for mask, image in zip(masks, images, strict=True):
            # The mirror image gives a second opinion; what the two agree on is the outline.
            one, other = (
                segmentation.process(np.ascontiguousarray(view)).segmentation_mask for view in (image, image[:, ::-1])
            )
            mask[:] = np.round(255 * (one + other[:, ::-1]) / 2)
    return masks


def _segmentation() -> Any:
    try:
        from mediapipe.python.solutions.selfie_segmentation import SelfieSegmentation
    except ImportError as error:
        raise UsageError(
            "train matting: learns from MediaPipe's selfie segmentation, which is not installed; "
            "pip install 'thgen[mediapipe]'"
        ) from error
    return SelfieSegmentation
