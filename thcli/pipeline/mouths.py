"""Frames of a video out of which mouths are taken for a dubbed one: their choice and their images."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thcli.clips.probe import MediaInfo
from thcli.clips.timed import stream_stored
from thcli.face_model import mouth_opening
from thcli.images import resized
from thcli.pipeline.filmed import FilmedFace, lips_of
from thcli.pipeline.footage import Footage
from thcli.records import CROP_SIZE, Float
from thcli.render.references import medoids

LARGEST_REFERENCE = 768
"""Largest side of a reference's window that is kept, px."""
TURNED = 0.15
"""Weight of a radian of turn beside the shape of the lips where references are chosen."""
ALIKE = 0.0004
"""Squared distance of the lips' shapes up to which the sharper of two frames is taken."""
CONFIDENT = 0.5
"""Least confidence of the tracker in a frame that serves as a reference."""


def choose_mouths(footage: Footage, face: FilmedFace, count: int) -> np.ndarray:
    """Choose at most ``count`` of the sampled frames that together show the most mouths: [K], indices of ``sampled``.

    The most and the least open mouth, the widest and the roundest are among them; the others are medoids of the lips'
    shape and of the turn of the head. Of frames that are alike the sharper is taken.
    """
    sure = np.flatnonzero(footage.confidence[face.sampled] >= CONFIDENT)
    sure = sure if len(sure) else np.arange(len(face.sampled))
    if len(sure) <= count:
        return sure
    lips = lips_of(face.unposed[sure]) / np.sqrt(lips_of(face.unposed[:1]).shape[1] / 3)
    turn = TURNED * face.pose[face.sampled[sure], :3]
    known = np.concatenate([lips, turn], axis=1).astype(np.float64)
    squares = (known**2).sum(axis=1)
    distance = np.maximum(squares[:, None] + squares[None] - 2 * known @ known.T, 0)
    width = np.linalg.norm(face.unposed[sure][:, 61] - face.unposed[sure][:, 291], axis=-1)
    opening = mouth_opening(face.unposed[sure])
    extreme = [int(values.argmax()) for values in (opening, -opening, width, -width)]
    chosen = list(dict.fromkeys([*extreme, *medoids(distance, max(count - len(extreme), 1))]))[:count]
    sharp = footage.sharpness[face.sampled[sure]]
    best = [int(max(np.flatnonzero(distance[i] <= ALIKE), key=lambda j: sharp[j], default=i)) for i in chosen]
    return sure[np.unique(best)]


@dataclass(frozen=True)
class Mouths:
    """References: frames out of which mouths are taken.

    frames: [K], their numbers
    images: [K, 3, S, S] float32, their windows
    meshes: [K, V, 3] float32, px of the window resized to ``CROP_SIZE``
    unposed: [K, V, 3] float32
    """

    frames: np.ndarray
    images: Tensor
    meshes: Float
    unposed: Float


def gather_mouths(info: MediaInfo, footage: Footage, face: FilmedFace, chosen: np.ndarray) -> Mouths:
    """Read the frames ``chosen`` [K] of those sampled, and cut out their windows."""
    frames = face.sampled[chosen]
    side = int(np.clip(max(face.window(t).side for t in frames), CROP_SIZE, LARGEST_REFERENCE))
    images, meshes = [], []
    with closing(stream_stored(info, only=frames.tolist())) as stream:
        for t in frames:
            box = face.window(t)
            images.append(resized(next(stream).frame.window(box)[None], side)[0])
            meshes.append(box.to_crop(footage.meshes(t, t + 1)[0]))
    return Mouths(frames, torch.stack(images), np.stack(meshes), face.unposed[chosen])
