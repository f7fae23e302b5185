"""Training of the speech encoder's adapter: with noise it learns to say what the encoder says without."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import Header, save_checkpoint, shipped_weights
from thcli.config import load_config
from thcli.configs.sections import AdapterConfig, SpeechSpoiling
from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.records import SAMPLES_PER_FRAME
from thcli.training.speech_adapter import AdapterStage, Recording, train_adapter
from thgen_models.expression import ExpressionDims, make_expression_learner
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

WIDTH, FRAMES = 8, 50
SPOILING = SpeechSpoiling(clean=0.25, room=0.0, noise=1.0, decibels=(0.0, 3.0), narrow=0.0)


def recording(subject: str, seed: int, frames: int = 80) -> Recording:
    """A voice of noise that is loud and soft, and high and low, in turn."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.uniform(0.01, 0.3, frames // 4), 4 * SAMPLES_PER_FRAME)
    samples = random.normal(size=len(loudness)) * loudness
    return Recording(subject, samples.astype(np.float32).reshape(-1, SAMPLES_PER_FRAME))


@pytest.fixture(scope="module")
def make_stage():
    model = FaceModel.load(shipped_weights() / "face_model.safetensors")
    torch.manual_seed(0)
    dims = ExpressionDims("encoder", code=WIDTH, width=16, dilations=(1,), closure=True)
    network = make_expression_learner(dims).eval()
    encoder = SpeechEncoder(SpeechEncoderDims(width=WIDTH, heads=2, layers=1, positions=2 * FRAMES)).eval()
    config: AdapterConfig = load_config("tiny").adapter
    options = dataclasses.replace(config.train, batch_size=4)
    config = dataclasses.replace(config, train=options, held_out=2, spoiling=SPOILING)
    recordings = [recording(f"s{i}", i) for i in range(6)]

    def make(**changes: object) -> AdapterStage:
        return AdapterStage(recordings, dataclasses.replace(config, **changes), network, encoder, model, {}, "cpu")

    return make


@pytest.fixture(scope="module")
def stage(make_stage) -> AdapterStage:
    return make_stage()


@torch.no_grad()
def measured(stage: AdapterStage, network: torch.nn.Module) -> dict[str, float]:
    return stage.evaluate(network)


def test_batches_hold_speech_before_and_after_it_was_spoilt(stage: AdapterStage) -> None:
    batch, reach = stage.batch(np.random.default_rng(0)), stage.network.dims.reach
    assert batch.steps.shape == batch.spoilt_steps.shape == (4, 4 * FRAMES, 80)
    assert batch.features.shape == batch.spoilt_features.shape == (4, FRAMES + 2 * reach, 4, 80)
    assert batch.spoken.shape == (4, FRAMES) and (batch.spoken.sum(dim=1) >= FRAMES // 4).all()


def test_windows_reach_beyond_the_ends_of_recordings(stage: AdapterStage) -> None:
    """There Ψ and the encoder hear silence, as they do when videos are made."""
    random = np.random.default_rng(0)
    spoken = torch.cat([stage.batch(random).spoken for _ in range(10)])
    assert (spoken[:, 0] == 0).any() and (spoken[:, -1] == 0).any() and (spoken.min(dim=1).values == 1).any()


def test_speech_that_is_not_spoilt_is_the_same_before_and_after(make_stage) -> None:
    stage = make_stage(spoiling=SpeechSpoiling(clean=1.0))
    batch = stage.batch(np.random.default_rng(0))
    torch.testing.assert_close(batch.steps, batch.spoilt_steps)
    losses = stage.step(stage.build(), batch)
    assert float(losses["codes"].detach()) < 1e-10 and float(losses["lips"].detach()) < 1e-3


def test_held_out_subjects_are_validated_and_no_noise(stage: AdapterStage) -> None:
    assert {one.subject for one in stage.held_out}.isdisjoint(one.subject for one in stage.kept)
    assert len(stage.held_out) == 2 and len(stage.voices) == len(stage.kept) == 4
    figures = measured(stage, stage.build().network)
    assert figures["clean"] == pytest.approx(1, abs=1e-4)
    assert 0 < figures["spoilt"] < 0.999
    assert figures["score"] == pytest.approx(2 - figures["clean"] - figures["spoilt"])


def test_the_adapter_learns_to_hear_through_noise(stage: AdapterStage) -> None:
    torch.manual_seed(0)
    networks = stage.build()
    before = measured(stage, networks.network)
    optimizer = torch.optim.Adam(networks.network.parameters(), 0.02)
    losses = []
    for step in range(60):
        optimizer.zero_grad()
        parts = stage.step(networks, stage.batch(np.random.default_rng(step)))
        parts["total"].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in networks.network.parameters())
        optimizer.step()
        losses.append(float(parts["codes"].detach()))
    assert np.mean(losses[-10:]) < 0.8 * np.mean(losses[:10])
    assert measured(stage, networks.network)["spoilt"] > before["spoilt"]


def test_encoder_and_expression_learner_stay_as_they_are(stage: AdapterStage) -> None:
    networks = stage.build()
    stage.step(networks, stage.batch(np.random.default_rng(0)))["total"].backward()
    frozen = (*stage.encoder.parameters(), *stage.network.parameters())
    assert all(value.grad is None for value in frozen)


def test_train_adapter_wants_a_network_that_listens_with_the_encoder(tmp_path: Path) -> None:
    dims = ExpressionDims(width=16, dilations=(1,))
    tensors = make_expression_learner(dims).state_dict()
    save_checkpoint(tmp_path / "expression.safetensors", Header("expression", dataclasses.asdict(dims)), tensors)
    with pytest.raises(UsageError, match=r"expression.safetensors: listens with 'log_mel', expected 'encoder'"):
        train_adapter(tmp_path, tmp_path / "run", load_config("tiny"), weights=tmp_path)
    assert not (tmp_path / "run").exists()


def test_the_same_seed_gives_the_same_batch(make_stage) -> None:
    first, second = (make_stage().batch(np.random.default_rng(7)).spoilt_steps for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
