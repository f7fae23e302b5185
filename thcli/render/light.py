"""Light of a clip's frames: fades and automatic exposure are measured, and references brought to the usual light."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.records import CropBox, Float, Image

STEADY = 0.025
"""Largest difference between the brightest and the darkest frame, in logarithms, of a clip of steady light."""
NEAR = 0.15
"""Largest difference from the usual light, in logarithms, at which a frame can be brought to it."""
CONTRAST = 0.1
"""Largest difference from the usual contrast at one light, in logarithms; with more, a frame is mixed with a colour."""
SAMPLED, BLOCK = 96, 6
"""Side of the grid of pixels that are measured in the crop, and of the blocks of them that are compared."""
LUMA = np.array([0.299, 0.587, 0.114], np.float32)
DARK, WHITE = 24.0, 240.0
"""Values below and above which a block says little about the light."""
CERTAIN = 0.5
"""Least ratio of a change of the light to the median deviation of the blocks from it; less may come of movement."""
LEAST_BLOCKS = 16
"""Fewest blocks or vertices, neither too dark nor too bright, from which the light of a channel can be told."""


@dataclass(frozen=True)
class Light:
    """Light of a clip's frames, compared with its usual light.

    gain: [T, 3] float32, factors that bring the channels of each frame to the usual light
    usual: [T] bool, whether a frame can be brought to the usual light
    """

    gain: Float
    usual: NDArray[np.bool_]

    def evened(self, frames: Image, which: NDArray[np.intp]) -> Image:
        """Return the frames ``which`` of [T, H, W, 3] uint8, brought to the usual light."""
        return np.stack([_multiplied(frames[t], self.gain[t]) for t in which])


def measure_light(frames: Image, box: CropBox, mesh: Float, least: int) -> Light | None:
    """Return the light of frames [T, H, W, 3], or None where it is steady.

    A frame counts as brighter only where both the crop and the face in it are, as movement alone can change either.

    box: the crop of head and shoulders, px of the frame
    mesh: [T, V, 3] float32, px of that crop
    least: least number of frames that count as usual
    """
    if len(frames) < 2:
        return None
    blocks, face = _blocks(frames, box), _face(frames, box.to_frame(mesh))
    luma = blocks @ LUMA
    (picture, spread), (skin, _) = _ratio(luma), _ratio(face)
    both = (picture * skin > 0) & (np.abs(picture) >= CERTAIN * spread)
    change = np.where(both, np.sign(picture) * np.minimum(np.abs(picture), np.abs(skin)), 0)
    near = np.abs(change[:, None] - change[None]) <= STEADY / 2
    middle = change[near.sum(axis=1).argmax()]
    if np.ptp(change) <= STEADY:
        return None
    typical = np.abs(change - middle) <= STEADY / 2
    channels = np.stack([_ratio(blocks[..., c], picture)[0] for c in range(3)], axis=1)
    gain = np.exp(np.median(channels[typical], axis=0) - channels)
    contrast = np.log(luma.std(axis=1) + 1) - picture
    away = np.abs(picture - np.median(picture[typical]))
    away[np.abs(contrast - np.median(contrast[typical])) > CONTRAST] += 10
    return Light(gain.astype(np.float32), away <= max(NEAR, np.sort(away)[min(least, len(away)) - 1]))


def _blocks(frames: Image, box: CropBox) -> Float:
    """Return the means [T, N, 3] of blocks of the part of the crop that lies inside the frames."""
    step = max(1, box.side // SAMPLED)
    rows, columns = (
        slice(max(box.y0, 0), max(box.y0 + box.side, 0), step),
        slice(max(box.x0, 0), box.x0 + box.side, step),
    )
    found = []
    for frame in frames:
        part = frame[rows, columns]
        size = min(BLOCK, *part.shape[:2])
        height, width = (length // size for length in part.shape[:2])
        cut = part[: height * size, : width * size].reshape(height, size, width, size, 3)
        found.append(cut.mean(axis=(1, 3), dtype=np.float32).reshape(-1, 3))
    return np.stack(found)


def _face(frames: Image, mesh: Float) -> Float:
    """Return the luma [T, V] at the vertices of meshes [T, V, 3] px."""
    height, width = frames.shape[1:3]
    x = mesh[..., 0].astype(int).clip(0, width - 1)
    y = mesh[..., 1].astype(int).clip(0, height - 1)
    return np.asarray(frames[np.arange(len(frames))[:, None], y, x] @ LUMA, np.float32)


def _ratio(values: Float, otherwise: Float | None = None) -> tuple[Float, Float]:
    """Return the logarithm [T] of the light in values [T, N] of N places, and the median deviation [T] from it.

    The light is relative to the median of each place over time. Places that are too dark or too bright do not count.

    otherwise: logarithms [T] to return where too few places count; None to count all of them then
    """
    usual = np.median(values, axis=0)
    telling = (usual >= DARK) & (usual <= WHITE)
    if telling.sum() < LEAST_BLOCKS:
        if otherwise is not None:
            return otherwise, np.zeros_like(otherwise)
        telling = np.ones_like(telling)
    change = np.log((values[:, telling] + 1) / (usual[telling] + 1))
    light = np.median(change, axis=1)
    spread = np.median(np.abs(change - light[:, None]), axis=1)
    return np.asarray(light, np.float32), np.asarray(spread, np.float32)


def _multiplied(frame: Image, gain: Float) -> Image:
    """Return a frame [H, W, 3] uint8 with its channels multiplied by ``gain`` [3]."""
    values = np.arange(256, dtype=np.float32)[:, None] * gain
    table = np.round(values).clip(0, 255).astype(np.uint8)
    return np.stack([table[:, c][frame[..., c]] for c in range(3)], axis=-1)
