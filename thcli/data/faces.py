"""Training data of the tracker's networks: images of faces and their meshes, from a store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from thcli.clips.decode import stream_frames
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError
from thcli.records import CROP_SIZE, Float, Image

BALANCE = 0.7
"""Power of a subject's number of frames by which each of these is drawn less often.

With 1 every subject would be drawn equally often, and with 0 every frame.
"""
PHOTOS = 0.3
"""Share of one-frame clips among the samples that are drawn."""


@dataclass(frozen=True)
class FaceSamples:
    """Frames of a store with their meshes.

    images: [N, S, S, 3] uint8
    meshes: [N, V, 3] float32, pixels of the image
    subjects: [N], who is shown
    chances: [N] float64, probability with which each is drawn; they sum to 1
    """

    images: Image
    meshes: Float
    subjects: NDArray[np.str_]
    chances: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.images)

    def select(self, chosen: NDArray[np.bool_]) -> FaceSamples:
        """Return some of the samples, with chances that sum to 1 again."""
        chances = self.chances[chosen]
        return FaceSamples(self.images[chosen], self.meshes[chosen], self.subjects[chosen], chances / chances.sum())


def load_faces(store: Store, splits: Sequence[str], every: int) -> FaceSamples:
    """Load every ``every``-th frame of the clips of some splits, except frames whose track was interpolated.

    Raises MediaError where there is no such frame, or a clip was not tracked at ``CROP_SIZE``.
    """
    clips = [meta for split in splits for meta in store.select(split)]
    most = sum(-(-meta.frames // every) for meta in clips)
    # One array from the beginning: images of many clips fill half of a machine's memory.
    images = np.empty((most, CROP_SIZE, CROP_SIZE, 3), np.uint8)
    meshes: list[Float] = []
    owners: list[ClipMeta] = []
    for meta in clips:
        track = store.track(meta.clip)
        if track.size != (CROP_SIZE, CROP_SIZE):
            raise MediaError(
                f"{store.root}: clip '{meta.clip}' is tracked at {track.size[0]}x{track.size[1]}, "
                f"expected {CROP_SIZE}x{CROP_SIZE}; preprocess it again"
            )
        for t, frame in enumerate(stream_frames(store.crop(meta.clip))):
            if t < len(track) and t % every == 0 and track.confidence[t] > 0:
                images[len(owners)] = frame
                meshes.append(track.mesh[t])
                owners.append(meta)
    if not owners:
        raise MediaError(f"{store.root}: no tracked frames of split '{', '.join(splits)}'; preprocess clips for it")
    subjects = np.array([meta.subject for meta in owners])
    return FaceSamples(images[: len(owners)], np.stack(meshes), subjects, draw_chances(owners))


def draw_chances(owners: Sequence[ClipMeta]) -> NDArray[np.float64]:
    """Return the probability with which each sample is drawn, given the clip it is from: [N] float64, summing to 1.

    Rare subjects are drawn more often (``BALANCE``), and photos with the share ``PHOTOS``.
    """
    counts = Counter(meta.subject for meta in owners)
    chances = np.array([counts[meta.subject] ** -BALANCE for meta in owners], float)
    photo = np.array([meta.frames == 1 for meta in owners])
    for kind, share in ((photo, PHOTOS), (~photo, 1 - PHOTOS)):
        if kind.any() and not kind.all():
            chances[kind] *= share / chances[kind].sum()
    return chances / chances.sum()


def split_faces(samples: FaceSamples, held_out: float, seed: int) -> tuple[FaceSamples, FaceSamples]:
    """Split samples by subject: those to train on, and those of a share ``held_out`` of the subjects for validation."""
    subjects = np.unique(samples.subjects)
    count = max(1, round(held_out * len(subjects)))
    if count >= len(subjects):
        raise MediaError(f"{len(subjects)} subjects to train on, expected more than the {count} to hold out; add clips")
    chosen = np.random.default_rng(seed).permutation(subjects)[:count]
    kept = ~np.isin(samples.subjects, chosen)
    return samples.select(kept), samples.select(~kept)
