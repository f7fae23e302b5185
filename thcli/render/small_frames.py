"""The frames of a clip, small and grey, from which secondary motion is learned (``render.secondary_motion``)."""

from __future__ import annotations

import numpy as np

from thcli.cropping import crop_frames
from thcli.records import CropBox, Image

SIZE = 64
"""Side, px, of the frames that are learned from, and of the map of responses."""
EVERY = 2
"""Distance in frames between those that are learned from."""


def small_frames(frames: Image, canvas: CropBox) -> Image:
    """Return the grey levels of every ``EVERY``-th frame of a clip [T, H, W, 3], cut to the canvas: [n, SIZE, SIZE]."""
    cut = crop_frames(frames[::EVERY], canvas, SIZE)
    return np.asarray(cut.mean(axis=-1).round(), np.uint8)
