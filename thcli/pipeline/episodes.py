"""Takes drawn from a clip, for the training of Θ: pictures that the geometric path makes of it, beside its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from thcli.data.episodes import WINDOW, Take
from thcli.pipeline.person import Person
from thcli.pipeline.target import Tracked
from thcli.records import Clip, FaceTrack, Float, Image
from thcli.render.geometric import Sketcher, as_images
from thcli.render.matching import Costs, Shares, costs

CONTEXT = 4
"""Frames on either side of a window that its references are chosen with, so that it may lie in a cross-fade."""
WORSE = 0.5
"""Chance that a window does without some of the references, drawn by lot: matched frames worse on purpose (§4.1)."""
CHUNK = 8
"""Frames drawn at a time."""


def draw_take(
    person: Person,
    clip: Clip,
    track: FaceTrack,
    windows: Sequence[int],
    random: np.random.Generator,
    device: str = "cpu",
    worse: float = WORSE,
) -> Take:
    """Draw windows of a clip of the person, as the geometric path would for the faces that were tracked there.

    clip, track: 256² crops and the track in pixels of them; the person's references may lie in the same clip
    windows: the first frames of windows of ``data.episodes.WINDOW`` frames; they must not hold references
    """
    shares = [_shares(person, track, first, worse, random) for first in windows]
    frames = np.concatenate([np.arange(first, first + WINDOW) for first in windows])
    sharp, blended = (_joined([pair[i] for pair in shares]) for i in range(2))
    geometric, projected = _drawn(Sketcher(person, device), track.mesh[frames], (sharp, blended))
    references = person.track.select(person.chosen)
    return Take(
        references=person.crops,
        reference_landmarks=_flat(references.landmarks),
        geometric=geometric,
        projected=projected,
        real=clip.frames[frames],
        landmarks=_flat(track.landmarks[frames]),
        matched=sharp.base.argmax(axis=1).astype(np.int64),
    )


def _shares(
    person: Person, track: FaceTrack, first: int, worse: float, random: np.random.Generator
) -> tuple[Shares, Shares]:
    """The references of one window's frames, the best and the blended."""
    around = slice(max(0, first - CONTEXT), first + WINDOW + CONTEXT)
    known = costs(person, Tracked(track.select(around)))
    count = len(person.chosen)
    if count > 1 and random.random() < worse:
        known = _without(known, random.permutation(count)[: random.integers(1, count)])
    inside = slice(first - around.start, first - around.start + WINDOW)
    return known.match().part(inside), known.blend().part(inside)


def _without(known: Costs, references: NDArray[np.intp]) -> Costs:
    """The costs as if some references were not there."""
    dear = replace(known, **{name: np.array(cost) for name, cost in vars(known).items()})
    for cost in vars(dear).values():
        cost[:, references] = np.inf
    return dear


def _joined(parts: Sequence[Shares]) -> Shares:
    return Shares(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("base", "mouth", "eyes")))


def _drawn(sketcher: Sketcher, mesh: Float, shares: Sequence[Shares]) -> list[Image]:
    """The frames as each of the shares has them."""
    pictures: list[list[Image]] = [[] for _ in shares]
    for first in range(0, len(mesh), CHUNK):
        chunk = slice(first, first + CHUNK)
        drawn = sketcher.draw_each(torch.from_numpy(mesh[chunk]), [one.part(chunk) for one in shares])
        for known, new in zip(pictures, drawn, strict=True):
            known.append(as_images(new))
    return [np.concatenate(known) for known in pictures]


def _flat(landmarks: Float) -> Float:
    return np.ascontiguousarray(landmarks[..., :2], np.float32)
