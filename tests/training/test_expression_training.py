"""Training of Ψ with the log-mel front end, and the augmentation of its audio."""

import dataclasses
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import read_header, shipped_weights
from thcli.config import load_config
from thcli.configs.sections import SpeechAugment
from thcli.data.audio_motion import AudioMotion
from thcli.data.store import SPEECH, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.face_model import FaceModel
from thcli.motion.expression import equalised
from thcli.records import LOG_MEL_SILENCE, FaceTrack
from thcli.training.augment_speech import augment_speech
from thcli.training.expression import ExpressionStage, measure_clip, train_expression
from thcli.training.expression_loss import ExpressionLoss
from thcli.training.loop import RunOptions, train
from thcli.training.protocol import Networks

QUIET = SpeechAugment(noise=0, gain_db=0, tilt_db=0, warp=0, mask=0)


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def talker(subject: str, seed: int, model: FaceModel, frames: int = 150) -> AudioMotion:
    """A mouth that is as open as the audio is loud."""
    random = np.random.default_rng(seed)
    loud = np.repeat(random.uniform(-1, 1, frames // 5), 5).astype(np.float32)
    features = np.broadcast_to(4 * loud[:, None, None] - 4, (frames, 4, 80)).astype(np.float32)
    expression = loud[:, None] * np.eye(20, dtype=np.float32)[0] + random.normal(0, 0.3, 20).astype(np.float32)
    pose = np.zeros((frames, 6), np.float32)
    opening = expression @ (model.basis[:, 14, 1] - model.basis[:, 13, 1]) + 0.1
    return AudioMotion(subject, subject, features, expression, pose, opening, np.ones(frames, bool))


@pytest.fixture(scope="module")
def stage(model: FaceModel) -> ExpressionStage:
    config = load_config("tiny").expression
    options = dataclasses.replace(config.train, steps=50, batch_size=8, lr=0.02, val_every=25, warmup=5)
    config = dataclasses.replace(
        config, train=options, augment=QUIET, held_out=2, movement=1.0, face_noise=0.5, stretch=0.0
    )
    return ExpressionStage([talker(f"s{i}", i, model) for i in range(8)], config, model, "0" * 64, "cpu")


def test_expression_stage_learns_to_open_the_mouths_of_unseen_talkers(stage: ExpressionStage, tmp_path: Path) -> None:
    result = train(stage, stage.config.train, tmp_path)
    assert result.metrics["correlation"] > 0.8
    assert 0.5 < result.metrics["deviation"] < 1.5


@pytest.fixture
def store(tmp_path: Path, model: FaceModel) -> Path:
    """Store of four talkers whose audio is noise."""
    random = np.random.default_rng(0)
    for subject in "abcd":
        amounts = random.normal(size=(60, 20)).astype(np.float32)
        mesh = model.canonical + model.displacement(amounts)
        zeros, ones = np.zeros((60, 6), np.float32), np.ones(60, np.float32)
        track = FaceTrack(zeros[:, :4], mesh, mesh[:, :68], zeros, 1.0, ones, (0, 0), "made up")
        with StoreWriter(tmp_path / "data").clip(ClipMeta(subject, subject, "train", 60, av_lag=0)) as folder:
            save_track(folder / TRACK, track)
            with wave.open(str(folder / SPEECH), "wb") as file:
                file.setparams((1, 2, 16000, 0, "NONE", ""))
                file.writeframes(random.integers(-9999, 9999, 60 * 640).astype("<i2").tobytes())
    write_index(tmp_path / "data")
    return tmp_path / "data"


def test_train_expression_aligns_the_clips_of_a_store_once_and_resumes(store: Path, tmp_path: Path) -> None:
    config = load_config("tiny", ["expression.align_rounds=1", "expression.align_steps=2"])
    result = train_expression(store, tmp_path / "run", config)
    header = read_header(result.checkpoint)
    assert header.data["subjects"] == 3 and header.data["frames"] > 0 and len(header.data["face_model"]) == 64
    assert header.config["frames"] == 25 and "correlation" in header.metrics
    assert load_config(tmp_path / "run" / "config.yaml") == config
    before = (tmp_path / "run" / "shifts.json").stat().st_mtime_ns
    again = train_expression(store, tmp_path / "run", config, RunOptions(resume=True))
    assert again == result
    assert (tmp_path / "run" / "shifts.json").stat().st_mtime_ns == before


def test_expression_batches_depend_on_the_random_generator_alone(stage: ExpressionStage) -> None:
    first, again = (stage.batch(np.random.default_rng(3)) for _ in range(2))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    reach = stage.dims.reach
    assert first.features.shape == (8, 25 + 2 * reach, 4, 80)
    assert first.target.shape == (8, 25, 20) and first.reference.shape == (8, 20)


def test_expression_batches_keep_audio_and_mouth_in_step_at_every_speed(model: FaceModel) -> None:
    config = load_config("tiny", ["expression.stretch=0.3", "expression.face_noise=0"]).expression
    time = np.arange(200, dtype=np.float32)
    steps = time[:, None] + (np.arange(4, dtype=np.float32) - 1.5) / 4
    features = np.repeat(steps[:, :, None], 80, axis=2) / 10
    expression = np.repeat(time[:, None] / 10, 20, axis=1)
    still, ones = np.zeros((200, 6), np.float32), np.ones(200, bool)
    clips = [AudioMotion(name, name, features, expression, still, time, ones) for name in "abc"]
    stage = ExpressionStage(clips, dataclasses.replace(config, augment=QUIET), model, "", "cpu")
    batches = [stage.batch(np.random.default_rng(seed)) for seed in range(8)]
    slope, shift = np.polyfit(features.ravel(), equalised(features).ravel(), 1)
    audio = torch.cat([batch.features[:, stage.dims.reach : -stage.dims.reach].mean(dim=(2, 3)) for batch in batches])
    audio = (audio - float(shift)) / float(slope)
    seen = torch.cat([batch.target[..., 0] for batch in batches])
    torch.testing.assert_close(audio, seen, rtol=0, atol=0.06)
    pace = (seen[:, -1] - seen[:, 0]) / 2.4
    assert pace.min() < 0.9 < 1.1 < pace.max()


def test_expression_loss_is_zero_for_the_truth_and_ignores_untracked_frames(
    model: FaceModel, stage: ExpressionStage
) -> None:
    loss = ExpressionLoss(model, stage.config)
    target, tracked = torch.randn(4, 25, 20), torch.ones(4, 25)
    assert loss(target, target, tracked)["total"] < 1e-4
    wrong = target.clone()
    wrong[:, 5] += 10
    tracked[:, 5] = 0
    assert loss(wrong, target, tracked)["total"] < 1e-4


def test_expression_loss_charges_mouths_that_do_not_move(model: FaceModel, stage: ExpressionStage) -> None:
    loss = ExpressionLoss(model, stage.config)
    target, tracked = torch.randn(4, 25, 20), torch.ones(4, 25)
    still = target.mean(dim=1, keepdim=True).expand_as(target)
    assert loss(still, target, tracked)["concordance"] > 0.99


def test_every_expression_loss_has_a_gradient(stage: ExpressionStage) -> None:
    networks: Networks = stage.build()
    for name, value in stage.step(networks, stage.batch(np.random.default_rng(0))).items():
        gradients = torch.autograd.grad(
            value, list(networks.network.parameters()), retain_graph=True, allow_unused=True
        )
        assert any(g is not None and torch.isfinite(g).all() and g.abs().sum() > 0 for g in gradients), name


def test_measure_clip_gives_correlation_and_deviation(stage: ExpressionStage) -> None:
    network = stage.build().network.eval()
    figures = measure_clip(network, stage.held_out[0], stage.loss.gap.numpy())
    assert -1 <= figures["correlation"] <= 1 and figures["deviation"] >= 0


class TestAugmentSpeech:
    features = np.random.default_rng(0).uniform(-12, 2, (30, 4, 80)).astype(np.float32)
    others = (np.random.default_rng(1).uniform(-12, 2, (50, 4, 80)).astype(np.float32),)

    def test_changes_nothing_without_options(self) -> None:
        out = augment_speech(self.features, self.others, QUIET, np.random.default_rng(0))
        np.testing.assert_allclose(out, self.features, atol=1e-5)

    @pytest.mark.parametrize("seed", range(8))
    def test_noise_only_adds_and_stays_6_db_below_the_speech(self, seed: int) -> None:
        options = dataclasses.replace(QUIET, noise=1.0)
        out = augment_speech(self.features, self.others, options, np.random.default_rng(seed))
        assert np.all(out >= self.features - 1e-4)
        added = np.exp(out).mean() / np.exp(self.features).mean() - 1
        assert 10**-3.1 < added < 10**-0.55

    def test_keeps_shape_and_floor_with_everything_at_once(self) -> None:
        out = augment_speech(self.features, self.others, SpeechAugment(mask=1, noise=1), np.random.default_rng(2))
        assert out.shape == (30, 4, 80) and out.dtype == np.float32 and out.min() >= LOG_MEL_SILENCE
        assert np.all(out == LOG_MEL_SILENCE, axis=(1, 2)).any()

    def test_leaves_the_original_alone(self) -> None:
        before = self.features.copy()
        augment_speech(self.features, self.others, SpeechAugment(mask=1, warp=0), np.random.default_rng(2))
        np.testing.assert_array_equal(self.features, before)
