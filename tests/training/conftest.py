"""Episodes of people who are smooth noise, whose geometric images are too dark and too soft."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from thcli.checkpoints import shipped_weights
from thcli.data.episodes import Episode, EpisodeMeta, PackedEpisode, pack_episode, write_episode, write_index
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.records import Float, Image

FRAMES, REFERENCES = 4, 2


def smooth(random: np.random.Generator, cells: int = 24) -> Image:
    """An image [256, 256, 3] uint8 of soft spots."""
    coarse = random.integers(20, 236, (cells, cells, 3), dtype=np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((256, 256), Pillow.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def face() -> Float:
    """68 landmarks [68, 2] of a face at the middle of a crop."""
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    return (model.canonical[list(LANDMARKS_68), :2] * 56 + 128).astype(np.float32)


@pytest.fixture(scope="session")
def make_episode(face: Float) -> Callable[..., PackedEpisode]:
    """make_episode(subject, number): an episode in which an image of noise moves from frame to frame."""

    def make(subject: str = "a", number: int = 0) -> PackedEpisode:
        random = np.random.default_rng([*subject.encode(), number])
        own = smooth(random)
        moves = random.integers(-6, 7, (FRAMES + REFERENCES, 2))
        shown = np.stack([np.roll(own, tuple(move), (0, 1)) for move in moves])
        points = np.stack([face + np.float32(move[::-1]) for move in moves])
        real = shown[:FRAMES]
        soft = np.stack([np.asarray(Pillow.fromarray(x).resize((64, 64)).resize((256, 256))) for x in real])
        episode = Episode(
            references=shown[FRAMES:],
            reference_landmarks=points[FRAMES:],
            geometric=(0.7 * soft).astype(np.uint8),
            projected=soft,
            real=real,
            landmarks=points[:FRAMES],
            matched=random.integers(0, REFERENCES, FRAMES),
        )
        meta = EpisodeMeta(f"{subject}.{number}.safetensors", subject, "train", FRAMES, REFERENCES)
        return pack_episode(meta, episode, 92)

    return make


@pytest.fixture(scope="session")
def episodes(make_episode: Callable[..., PackedEpisode], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of episodes: three subjects to train on, and one of the split ``val``."""
    root = tmp_path_factory.mktemp("episodes")
    for subject in "abc":
        write_episode(root, make_episode(subject))
    episode = make_episode("d")
    write_episode(root, replace(episode, meta=replace(episode.meta, split="val")))
    write_index(root)
    return root
