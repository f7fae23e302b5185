"""The fit of the face model to clips in which too few eyes close, and what ``thgen train face-model`` says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.checkpoints import shipped_weights
from thcli.data.store import TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.errors import MediaError
from thcli.face_model import FaceModel, eye_opening
from thcli.records import FaceTrack, Float
from thcli.training.face_model import MeshTrack, fit_face_model

FRAMES, STEP = 60, 5
NO_BLINK = "no training clip shows a blink, from which a face model learns how eyes close; give longer clips, or more"


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def talker(model: FaceModel, seed: int, shut: int = 0) -> Float:
    """Meshes [60, 478, 3] px of a mouth that moves; the eyes are shut in so many of the frames that the fit uses."""
    random = np.random.default_rng(seed)
    blink = np.zeros(FRAMES, np.float32)
    blink[: shut * STEP : STEP] = 1
    faces = model.canonical + model.displacement(random.normal(size=(FRAMES, 20)).astype(np.float32), blink)
    return ((faces + random.normal(0, 0.02, (FRAMES, 1, 3))) * random.uniform(50, 80) + 128).astype(np.float32)


@pytest.mark.parametrize("shut", [0, 2])
def test_fit_face_model_refuses_clips_without_a_blink(model: FaceModel, shut: int) -> None:
    with pytest.raises(MediaError) as caught:
        fit_face_model((MeshTrack(f"s{i}", talker(model, i, shut)) for i in range(3)), STEP)
    assert str(caught.value) == NO_BLINK


def test_fit_face_model_learns_the_blink_of_one_clip_among_others(model: FaceModel) -> None:
    tracks = (MeshTrack(f"s{i}", talker(model, i, shut=3 if i == 1 else 0)) for i in range(3))
    fitted, _ = fit_face_model(tracks, STEP)
    assert eye_opening(fitted.canonical + fitted.blink) < 0.15 < eye_opening(fitted.canonical)


def test_train_face_model_says_that_no_clip_shows_a_blink(
    model: FaceModel, thgen: Callable[..., object], folder: Path
) -> None:
    for i in range(5):
        mesh, zeros = talker(model, i), np.zeros((FRAMES, 6), np.float32)
        ones = np.ones(FRAMES, np.float32)
        track = FaceTrack(zeros[:, :4], mesh, mesh[:, :68], zeros, 1.0, ones, (256, 256), "made up")
        with StoreWriter(folder / "store").clip(ClipMeta(f"c{i}", f"s{i}", "train", FRAMES)) as place:
            save_track(place / TRACK, track)
    write_index(folder / "store")
    thgen("train", "face-model", "--data", "store", "--out", "run/face_model.safetensors").refused(3, NO_BLINK)
    assert not (folder / "run").exists()
