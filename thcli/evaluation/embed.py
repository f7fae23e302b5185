"""Embeddings of frames by external networks: aligned faces for the identity network, whole crops for Inception.

Each network embeds a recording once, for all metrics and pairs; the result is kept as long as the recording exists.
Equal images, such as those of a held frame, are embedded once.
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
"""Side in px of the images that Inception takes."""
BATCH = 16
"""Images in a batch of a network that takes any number."""

_cache: WeakKeyDictionary[Recording, dict[str, Float]] = WeakKeyDictionary()


def identities(recording: Recording, track: FaceTrack, model: Model) -> Float:
    """Return the identity embeddings [T, D] of the face in every frame, of unit length."""
    found = _cached(recording, model, lambda: aligned_faces(recording, track))
    return found / np.linalg.norm(found, axis=1, keepdims=True).clip(min=1e-12)


def inception_features(recording: Recording, model: Model) -> Float:
    """Return the Inception features [T, D] of every frame, resized to 299² (bilinear)."""
    return _cached(recording, model, lambda: enlarged(recording))


def aligned_faces(recording: Recording, track: FaceTrack) -> Iterator[Float]:
    """Yield the face [3, 112, 112] in 0..1 of each frame, its five points moved onto ArcFace's by a similarity."""
    for frame, points in zip(recording.frames, five_points(track), strict=True):
        yield alignment(points).extract(frame)


def enlarged(recording: Recording) -> Iterator[Float]:
    """Yield each frame, resized to [3, 299, 299] in 0..1."""
    import torch
    from torch.nn.functional import interpolate

    for frame in recording.frames:
        image = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None].float() / 255
        yield interpolate(image, size=(INCEPTION, INCEPTION), mode="bilinear", align_corners=False)[0].numpy()


def five_points(track: FaceTrack) -> Float:
    """Return the centres of the right and left eye, the tip of the nose and the mouth's corners: [T, 5, 2] px."""
    mesh = track.mesh[..., :2]
    eyes = [mesh[:, list(eye)].mean(axis=1) for eye in (RIGHT_EYE, LEFT_EYE)]
    return np.stack([*eyes, *(mesh[:, vertex] for vertex in (NOSE_TIP, *MOUTH_CORNERS))], axis=1)


def alignment(points: NDArray[np.floating]) -> FaceCrop:
    """Return the square of a frame whose crop has its five points [5, 2] nearest to ArcFace's.

    The fit is least squares over shift, rotation and scale.
    """
    own, goal = (np.asarray(where, np.float64) @ [1, 1j] for where in (points, ARCFACE + 0.5))
    centred = own - own.mean()
    turn = complex(np.vdot(centred, goal - goal.mean()) / np.vdot(centred, centred).real)
    centre = complex(own.mean()) + (ALIGNED / 2 * (1 + 1j) - complex(goal.mean())) / turn
    return FaceCrop(centre.real, centre.imag, ALIGNED / abs(turn), -cmath.phase(turn), ALIGNED)


def _cached(recording: Recording, model: Model, images: Callable[[], Iterator[Float]]) -> Float:
    known = _cache.setdefault(recording, {})
    if model.name not in known:
        known[model.name] = run(model, images())
    return known[model.name]


def run(model: Model, images: Iterator[Float]) -> Float:
    """Run a network of one input on images [3, H, W] in 0..1, on equal images once: [T, D]."""
    order: dict[bytes, int] = {}
    rows: list[int] = []
    waiting: list[Float] = []
    outputs: list[Float] = []
    size = model.batch or BATCH
    for image in images:
        key = sha1(image.tobytes()).digest()
        if key not in order:
            waiting.append(model.pixels.prepare(image))
        rows.append(order.setdefault(key, len(order)))
        if len(waiting) == size:
            outputs.append(_forward(model, waiting, size))
            waiting.clear()
    if waiting:
        outputs.append(_forward(model, waiting, model.batch or len(waiting)))
    return np.concatenate(outputs)[rows]


def _forward(model: Model, images: list[Float], size: int) -> Float:
    """Return the features [B, D] of a batch, which is padded to the size that the network takes."""
    batch = np.stack(images + images[-1:] * (size - len(images)))
    output = model.session.run(None, {model.session.get_inputs()[0].name: batch})[0]
    return np.asarray(output[: len(images)].reshape(len(images), -1), np.float32)
