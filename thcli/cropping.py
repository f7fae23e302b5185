"""Cropping and resizing of frames, arrays of 8-bit colours, by Pillow; tracking a face needs no PyTorch."""

from __future__ import annotations

import numpy as np
from PIL import Image as Pillow

from thcli.records import CROP_SIZE, CropBox, Image

GAP = 1.5
"""Least factor by which a frame is resized with anti-aliasing; what is more than that is reduced by whole pixels."""


def crop_frames(frames: Image, box: CropBox, size: int = CROP_SIZE) -> Image:
    """Crop frames [T, H, W, 3] uint8 to [T, size, size, 3] uint8, with the border repeated and anti-aliasing."""
    return np.stack([crop_frame(frame, box, size) for frame in frames])


def crop_frame(frame: Image, box: CropBox, size: int = CROP_SIZE) -> Image:
    """Crop one frame [H, W, 3] uint8 to [size, size, 3] uint8 as ``crop_frames`` does."""
    rows = np.clip(np.arange(box.y0, box.y0 + box.side), 0, frame.shape[0] - 1)
    columns = np.clip(np.arange(box.x0, box.x0 + box.side), 0, frame.shape[1] - 1)
    if rows[-1] - rows[0] == box.side - 1 == columns[-1] - columns[0]:
        cut = np.ascontiguousarray(frame[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1])
    else:
        cut = frame[rows[:, None], columns]
    return cut if box.side == size else resize_frame(cut, (size, size))


def reduce_frame(frame: Image, longest: int) -> Image:
    """Reduce a frame [H, W, 3] uint8 so that its longer side has ``longest`` pixels."""
    scale = longest / max(frame.shape[:2])
    return resize_frame(frame, (round(frame.shape[0] * scale), round(frame.shape[1] * scale)))


def resize_frame(frame: Image, size: tuple[int, int], linear: bool = False) -> Image:
    """Resize a frame [H, W, 3] uint8 to (height, width) px, with anti-aliasing, by cubics or linearly."""
    how = Pillow.Resampling.BILINEAR if linear else Pillow.Resampling.BICUBIC
    return np.array(Pillow.fromarray(frame).resize(size[::-1], how, reducing_gap=GAP))
