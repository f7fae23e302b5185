"""Rendering of episodes from a clip, for the training of Θ: images of the geometric renderer beside the real frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from thcli.data.episodes import WINDOW, Episode
from thcli.pipeline.target import TrackedTarget
from thcli.records import Clip, FaceTrack, Float, Image, Person, ReferenceWeights
from thcli.render.geometric import GeometricRenderer, RenderModels, to_uint8
from thcli.render.matcher import Costs, costs

CONTEXT = 4
"""Frames on either side of a window that its references are chosen with, so that it may lie in a cross-fade."""
WORSE = 0.5
"""Probability that a window lacks a random part of the references, so that its matched frames are worse (§4.1)."""
CHUNK = 8
"""Frames rendered at a time."""


def render_episode(
    models: RenderModels,
    person: Person,
    clip: Clip,
    track: FaceTrack,
    windows: Sequence[int],
    random: np.random.Generator,
    worse: float = WORSE,
) -> Episode:
    """Render windows of a clip of the person with the geometric renderer, at the faces that were tracked there.

    clip, track: 256² crops, and the track in px of them; the person's references may lie in the same clip
    windows: first frames of windows of ``data.episodes.WINDOW`` frames, which must not include references
    random: generator that decides which references are left out
    worse: probability as of ``WORSE``
    """
    weights = [_weights(person, track, first, worse, random) for first in windows]
    frames = np.concatenate([np.arange(first, first + WINDOW) for first in windows])
    matched, blended = (_joined([pair[i] for pair in weights]) for i in range(2))
    geometric, projected = _rendered(GeometricRenderer(models, person), track.mesh[frames], (matched, blended))
    references = person.track.select(person.reference_indices)
    return Episode(
        references=person.reference_images,
        reference_landmarks=_flat(references.landmarks),
        geometric=geometric,
        projected=projected,
        real=clip.frames[frames],
        landmarks=_flat(track.landmarks[frames]),
        matched=matched.base.argmax(axis=1).astype(np.int64),
    )


def _weights(
    person: Person, track: FaceTrack, first: int, worse: float, random: np.random.Generator
) -> tuple[ReferenceWeights, ReferenceWeights]:
    """Return the weights of the references in one window's frames, matched and blended."""
    around = slice(max(0, first - CONTEXT), first + WINDOW + CONTEXT)
    known = costs(person, TrackedTarget(track.select(around)))
    count = len(person.reference_indices)
    if count > 1 and random.random() < worse:
        known = _without(known, random.permutation(count)[: random.integers(1, count)])
    inside = slice(first - around.start, first - around.start + WINDOW)
    return known.match().select(inside), known.blend().select(inside)


def _without(known: Costs, references: NDArray[np.intp]) -> Costs:
    """Return the costs with those of some references infinite, so that these are not used."""
    dear = replace(known, **{name: np.array(cost) for name, cost in vars(known).items()})
    for cost in vars(dear).values():
        cost[:, references] = np.inf
    return dear


def _joined(parts: Sequence[ReferenceWeights]) -> ReferenceWeights:
    names = ("base", "mouth", "eyes")
    base, mouth, eyes = (np.concatenate([getattr(part, name) for part in parts]) for name in names)
    return ReferenceWeights(base, mouth, eyes, parts[0].dissolved)


def _rendered(renderer: GeometricRenderer, mesh: Float, weights: Sequence[ReferenceWeights]) -> list[Image]:
    """Render frames [F, 256, 256, 3] uint8 of meshes [F, V, 3], once with each of the weights."""
    images: list[list[Image]] = [[] for _ in weights]
    for first in range(0, len(mesh), CHUNK):
        chunk = slice(first, first + CHUNK)
        several = [(renderer.references, one.select(chunk)) for one in weights]
        made = renderer.render_each(torch.from_numpy(mesh[chunk]), several)
        for known, new in zip(images, made, strict=True):
            known.append(to_uint8(new))
    return [np.concatenate(known) for known in images]


def _flat(landmarks: Float) -> Float:
    return np.ascontiguousarray(landmarks[..., :2], np.float32)
