"""Frames through external networks: faces aligned for the identity network, whole crops for Inception.

A recording is embedded once a network, whichever metrics and pairs ask; what was found lives as long as the recording.
Equal pictures, as of a held frame, are embedded once.
"""

from __future__ import annotations

import cmath
from collections.abc import Callable, Iterator
from hashlib import sha1
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from thcli.evaluation.metric_models import Model
from thcli.evaluation.recording import Recording
from thcli.face_model import LANDMARKS_68, LEFT_EYE, MOUTH_CORNERS, RIGHT_EYE
from thcli.faces.crop import FaceCrop
from thcli.faces.identity import ALIGNED, ARCFACE
from thcli.records import FaceTrack, Float

NOSE_TIP = LANDMARKS_68[30]
INCEPTION = 299
BATCH = 16

_cache: WeakKeyDictionary[Recording, dict[str, Float]] = WeakKeyDictionary()


def identities(recording: Recording, track: FaceTrack, model: Model) -> Float:
    """Embeddings [T, D] of the face of every frame, of unit length."""
    found = _cached(recording, model, lambda: aligned_faces(recording, track))
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)


def inception_features(recording: Recording, model: Model) -> Float:
    """Features [T, D] of every frame, resized to 299² (bilinear)."""
    return _cached(recording, model, lambda: enlarged(recording))


def aligned_faces(recording: Recording, track: FaceTrack) -> Iterator[Float]:
    """Of each frame the face [3, 112, 112] in 0..1: five points laid on ArcFace's by a similarity transform."""
    for frame, points in zip(recording.frames, five_points(track), strict=True):
        yield alignment(points).extract(frame).numpy()


def enlarged(recording: Recording) -> Iterator[Float]:
    """Each frame [3, 299, 299] in 0..1."""
    import torch
    from torch.nn.functional import interpolate

    for frame in recording.frames:
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        yield interpolate(image, size=(INCEPTION, INCEPTION), mode="bilinear", align_corners=False)[0].numpy()


def five_points(track: FaceTrack) -> Float:
    """Middle of the right and of the left eye, tip of the nose, corners of the mouth: [T, 5, 2] px."""
    mesh = track.mesh[..., :2]
    eyes = [mesh[:, list(eye)].mean(axis=1) for eye in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, *(mesh[:, vertex] for vertex in (NOSE_TIP, *MOUTH_CORNERS))], axis=1)


def alignment(points: NDArray[np.floating]) -> FaceCrop:
    """The square of a frame that lays five points [5, 2] on ArcFace's: least squares over shift, turn and scale."""
    own, goal = (np.asarray(where, np.float64) @ [1, 1j] for where in (points, ARCFACE + 0.5))
    centred = own - own.mean()
    turn = complex(np.vdot(centred, goal - goal.mean()) / np.vdot(centred, centred).real)
    centre = complex(own.mean()) + (ALIGNED / 2 * (1 + 1j) - complex(goal.mean())) / turn
    return FaceCrop(centre.real, centre.imag, ALIGNED / abs(turn), -cmath.phase(turn), ALIGNED)


def _cached(recording: Recording, model: Model, pictures: Callable[[], Iterator[Float]]) -> Float:
    known = _cache.setdefault(recording, {})
    if model.name not in known:
        known[model.name] = run(model, pictures())
    return known[model.name]


def run(model: Model, pictures: Iterator[Float]) -> Float:
    """What a network of one input gives [T, D] for pictures [3, H, W] in 0..1; equal pictures run once."""
    order: dict[bytes, int] = {}
    rows: list[int] = []
    waiting: list[Float] = []
    outputs: list[Float] = []
    size = model.batch or BATCH
    for picture in pictures:
        key = sha1(picture.tobytes()).digest()
        if key not in order:
            waiting.append(model.pixels.prepare(picture))
        rows.append(order.setdefault(key, len(order)))
        if len(waiting) == size:
            outputs.append(_forward(model, waiting, size))
            waiting.clear()
    if waiting:
        outputs.append(_forward(model, waiting, model.batch or len(waiting)))
    return np.concatenate(outputs)[rows]


def _forward(model: Model, pictures: list[Float], size: int) -> Float:
    """Features [B, D] of a batch, filled up to the size that the network asks for."""
    batch = np.stack(pictures + pictures[-1:] * (size - len(pictures)))
    output = model.session.run(None, {model.session.get_inputs()[0].name: batch})[0]
    return np.asarray(output[: len(pictures)].reshape(len(pictures), -1), np.float32)
