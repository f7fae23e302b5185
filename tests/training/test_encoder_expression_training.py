"""Training of Ψ with codes of the speech encoder and closures of the lips."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from thcli.checkpoints import shipped_weights
from thcli.config import load_config
from thcli.configs.sections import ExpressionConfig
from thcli.data.audio_motion import AudioMotion, shifted
from thcli.face_model import FaceModel
from thcli.training.expression import ExpressionStage
from thcli.training.expression_loss import CLOSED, closure_loss

CODE, RENDITIONS = 6, 2
GIVEN = ["front_end=encoder", f"code={CODE}", "closure=true", "dropout=0.0", "code_dropout=0.0"]


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def talker(name: str, seed: int, model: FaceModel, frames: int = 100) -> AudioMotion:
    """A mouth that is as open as the first value of the codes says; the log-mel features say nothing."""
    random = np.random.default_rng(seed)
    said = np.repeat(random.uniform(-1, 1, frames // 5), 5).astype(np.float32)
    codes = random.normal(0, 0.1, (frames, 4, RENDITIONS, CODE)).astype(np.float32)
    codes[..., 0] += said[:, None, None]
    log_mel = random.normal(-4, 3, (frames, 4, RENDITIONS, 80)).astype(np.float32)
    features = np.concatenate([log_mel, codes], axis=3).reshape(frames, 4, -1).astype(np.float16)
    expression = said[:, None] * np.eye(20, dtype=np.float32)[0]
    still, ones = np.zeros((frames, 6), np.float32), np.ones(frames, bool)
    return AudioMotion(name, name, features, expression, still, np.maximum(said, 0) * 0.1, ones)


@pytest.fixture(scope="module")
def stage(model: FaceModel) -> ExpressionStage:
    config: ExpressionConfig = load_config("tiny", [f"expression.network.{one}" for one in GIVEN]).expression
    options = dataclasses.replace(config.train, batch_size=4)
    config = dataclasses.replace(config, train=options, held_out=2)
    return ExpressionStage([talker(f"s{i}", i, model) for i in range(8)], config, model, "", "cpu")


def test_batches_hold_one_rendition(stage: ExpressionStage) -> None:
    batch = stage.batch(np.random.default_rng(0))
    frames = stage.config.frames
    assert batch.features.shape == (4, frames + 2 * stage.dims.reach, 4, 80 + CODE)
    assert batch.opening.shape == batch.tracked.shape == (4, frames)


def test_stage_validates_on_the_first_rendition(stage: ExpressionStage) -> None:
    assert {clip.features.shape[2] for clip in stage.held_out} == {80 + CODE}
    assert set(stage.evaluate(stage.build().network)) >= {"correlation", "deviation", "score"}


def test_stage_learns_closures_from_the_codes(stage: ExpressionStage) -> None:
    torch.manual_seed(0)
    networks = stage.build()
    optimizer = torch.optim.Adam(networks.network.parameters(), 0.01)
    losses = []
    for step in range(40):
        optimizer.zero_grad()
        parts = stage.step(networks, stage.batch(np.random.default_rng(step)))
        parts["total"].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in networks.network.parameters())
        optimizer.step()
        losses.append(float(parts["closure"].detach()))
    assert np.mean(losses[-5:]) < 0.6 * np.mean(losses[:5])


def test_shifted_moves_codes_with_their_log_mel_features(model: FaceModel) -> None:
    clip = talker("s", 0, model)
    moved = shifted(clip, 5)
    flat = (one.features.reshape(-1, one.features.shape[2]) for one in (moved, clip))
    found, before = flat
    np.testing.assert_array_equal(found[1:], before[: len(found) - 1])


def test_closure_loss_counts_tracked_frames_and_the_rarity_of_closures() -> None:
    logits = torch.tensor([[2.0, -1.0, 5.0]])
    opening, tracked = torch.tensor([[0.0, 1.0, 1.0]]), torch.tensor([[1.0, 1.0, 0.0]])
    expected = (3 * -torch.log(torch.sigmoid(logits[0, 0])) - torch.log(torch.sigmoid(-logits[0, 1]))) / 3
    assert closure_loss(logits, opening, tracked, 3.0) == pytest.approx(float(expected), rel=1e-5)
    assert 0 < CLOSED < 0.1
