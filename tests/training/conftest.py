"""Takes of people who are smooth noise, whose geometric pictures are too dark and too soft."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from thcli.checkpoints import shipped_weights
from thcli.data.episodes import PackedTake, Take, TakeMeta, pack_take, write_index, write_take
from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.records import Float, Image

FRAMES, REFERENCES = 4, 2


def smooth(random: np.random.Generator, cells: int = 24) -> Image:
    """A picture [256, 256, 3] uint8 of soft spots."""
    coarse = random.integers(20, 236, (cells, cells, 3), dtype=np.uint8)
    return np.asarray(Pillow.fromarray(coarse).resize((256, 256), Pillow.Resampling.BICUBIC))


@pytest.fixture(scope="session")
def face() -> Float:
    """68 landmarks [68, 2] of a face at the middle of a crop."""
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    return (model.canonical[list(LANDMARKS_68), :2] * 56 + 128).astype(np.float32)


@pytest.fixture(scope="session")
def a_take(face: Float) -> Callable[..., PackedTake]:
    """(subject, number) → a take in which a picture of noise moves from frame to frame."""

    def make(subject: str = "a", number: int = 0) -> PackedTake:
        random = np.random.default_rng([*subject.encode(), number])
        own = smooth(random)
        moves = random.integers(-6, 7, (FRAMES + REFERENCES, 2))
        shown = np.stack([np.roll(own, tuple(move), (0, 1)) for move in moves])
        points = np.stack([face + np.float32(move[::-1]) for move in moves])
        real = shown[:FRAMES]
        soft = np.stack([np.asarray(Pillow.fromarray(x).resize((64, 64)).resize((256, 256))) for x in real])
        take = Take(
            references=shown[FRAMES:],
            reference_landmarks=points[FRAMES:],
            geometric=(0.7 * soft).astype(np.uint8),
            projected=soft,
            real=real,
            landmarks=points[:FRAMES],
            matched=random.integers(0, REFERENCES, FRAMES),
        )
        return pack_take(TakeMeta(f"{subject}.{number}.safetensors", subject, "train", FRAMES, REFERENCES), take, 92)

    return make


@pytest.fixture(scope="session")
def takes(a_take: Callable[..., PackedTake], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A set of takes: three subjects to train on, and one of the split ``val``."""
    root = tmp_path_factory.mktemp("takes")
    for subject in "abc":
        write_take(root, a_take(subject))
    take = a_take("d")
    write_take(root, PackedTake(TakeMeta("d.0.safetensors", "d", "val", FRAMES, REFERENCES), *_rest(take)))
    write_index(root)
    return root


def _rest(take: PackedTake) -> tuple[dict[str, list[bytes]], Float, Float, np.ndarray]:
    return take.jpegs, take.reference_landmarks, take.landmarks, take.matched
