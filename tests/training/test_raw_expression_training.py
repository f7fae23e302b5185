"""Training of Ψ with the raw front end, and the augmentation of its samples."""

import dataclasses
import wave
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import read_header, shipped_weights
from thcli.config import load_config
from thcli.configs.sections import ExpressionConfig, SpeechAugment
from thcli.data.audio_motion import AudioMotion, shifted
from thcli.data.store import SPEECH, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.errors import UsageError
from thcli.face_model import FaceModel
from thcli.motion.expression import predict_expression
from thcli.pipeline.models import load_expression_learner
from thcli.records import AudioFeatures, FaceTrack
from thcli.training.augment_waveform import LONGEST_MASK, augment_waveform
from thcli.training.expression import ExpressionStage, train_expression
from thcli.training.loop import train
from thcli.training.plan import plan

QUIET = SpeechAugment(noise=0, gain_db=0, tilt_db=0, warp=0, mask=0, reverberation=0)
RAW = "expression.network.front_end=raw"


@pytest.fixture(scope="module")
def model() -> FaceModel:
    return FaceModel.load(shipped_weights() / "face_model.safetensors")


def talker(subject: str, seed: int, model: FaceModel, frames: int = 100) -> AudioMotion:
    """A mouth that is as open as the audio, noise, is loud."""
    random = np.random.default_rng(seed)
    loud = np.repeat(random.uniform(-1, 1, frames // 5), 5).astype(np.float32)
    samples = 0.05 * np.exp(1.2 * loud)[:, None] * random.normal(size=(frames, 640))
    expression = loud[:, None] * np.eye(20, dtype=np.float32)[0] + random.normal(0, 0.3, 20).astype(np.float32)
    still, ones = np.zeros((frames, 6), np.float32), np.ones(frames, bool)
    opening = expression @ model.lip_gap + 0.1
    return AudioMotion(subject, subject, samples.astype(np.float32), expression, still, opening, ones)


def configured(**changes: object) -> ExpressionConfig:
    config = load_config("tiny", [RAW]).expression
    return dataclasses.replace(config, **{"augment": QUIET, "held_out": 2, **changes})


@pytest.fixture(scope="module")
def stage(model: FaceModel) -> ExpressionStage:
    config = configured(movement=1.0, face_noise=0.5)
    options = dataclasses.replace(config.train, steps=30, batch_size=4, lr=0.01, val_every=30, warmup=5)
    config = dataclasses.replace(config, train=options, network={**config.network, "dropout": 0.0})
    return ExpressionStage([talker(f"s{i}", i, model) for i in range(8)], config, model, "0" * 64, "cpu")


def test_raw_expression_stage_learns_to_open_the_mouths_of_unseen_talkers(
    stage: ExpressionStage, tmp_path: Path
) -> None:
    networks = stage.build()
    same = [stage.batch(np.random.default_rng(100 + i)) for i in range(3)]

    def loss() -> float:
        with torch.no_grad():
            return float(np.mean([float(stage.step(networks, batch)["total"]) for batch in same]))

    before = loss()
    optimizer = torch.optim.Adam(networks.network.parameters(), 0.01)
    for step in range(20):
        optimizer.zero_grad()
        stage.step(networks, stage.batch(np.random.default_rng(step)))["total"].backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in networks.network.parameters())
        optimizer.step()
    assert loss() < 0.5 * before
    result = train(stage, stage.config.train, tmp_path)
    assert result.metrics["correlation"] > 0.7


def test_raw_expression_batches_depend_on_the_random_generator_alone(stage: ExpressionStage) -> None:
    first, again = (stage.batch(np.random.default_rng(3)) for _ in range(2))
    assert torch.equal(first.features, again.features)
    assert first.features.shape == (4, 25 + 6, 2000) and first.features.dtype == torch.float32
    assert first.target.shape == (4, 25, 20)


def test_raw_expression_batches_keep_samples_and_mouth_in_step_at_every_speed(model: FaceModel) -> None:
    """Every sample, and every frame of the face, has its own time for a value."""
    time = np.arange(200, dtype=np.float32)
    samples = (np.arange(200 * 640, dtype=np.float32) / 640 - 0.5).reshape(200, 640)
    expression = np.repeat(time[:, None], 20, axis=1)
    still, ones = np.zeros((200, 6), np.float32), np.ones(200, bool)
    clips = [AudioMotion(name, name, samples, expression, still, time, ones) for name in "abc"]
    config = configured(stretch=0.3, face_noise=0.0, held_out=1)
    stage = ExpressionStage(clips, config, model, "", "cpu")
    margin = (len(stage.sounds[0]) - len(samples)) // 2
    scale = float(samples[100].mean() / stage.sounds[0][100 + margin].mean())
    pace = []
    for seed in range(8):
        batch = stage.batch(np.random.default_rng(seed))
        audio = batch.features[:, 3:-3].mean(dim=2) * scale
        torch.testing.assert_close(audio, batch.target[..., 0], rtol=0, atol=0.1)
        pace.append(float(batch.target[0, -1, 0] - batch.target[0, 0, 0]) / 24)
    assert min(pace) < 0.9 < 1.1 < max(pace)


def test_raw_expression_batches_are_finite_for_clips_of_the_shortest_length(model: FaceModel) -> None:
    config = configured(stretch=0.12, augment=SpeechAugment(noise=1.0, reverberation=1.0, mask=1.0))
    stage = ExpressionStage([talker(f"s{i}", i, model, 30) for i in range(4)], config, model, "", "cpu")
    for seed in range(10):
        assert torch.isfinite(stage.batch(np.random.default_rng(seed)).features).all()


def test_shifted_moves_samples_by_parts_of_a_frame(model: FaceModel) -> None:
    clip = talker("s", 0, model)
    moved = shifted(clip, 5)
    assert moved.features.shape[1:] == (640,) and len(moved.features) == len(moved) == 99
    np.testing.assert_array_equal(moved.features.ravel()[160:], clip.features.ravel()[: 99 * 640 - 160])


def test_train_expression_makes_a_raw_network_of_the_planned_size(model: FaceModel, tmp_path: Path) -> None:
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
    result = train_expression(tmp_path / "data", tmp_path / "run", load_config("tiny", [RAW]))
    planned = plan("expression", tmp_path / "data", config="tiny", overrides=[RAW], device="cpu")
    network = load_expression_learner(result.checkpoint)
    assert planned.weights == sum(p.numel() for p in network.parameters())
    header = read_header(result.checkpoint)
    assert header.dims["front_end"] == "raw" and header.dims["convolutions"] == [4] * 7
    sound = AudioFeatures(np.zeros((30, 4, 80), np.float32), random.normal(0, 0.1, (30, 640)).astype(np.float32))
    assert predict_expression(network, sound, np.zeros(20, np.float32)).expression.shape == (30, 20)


def test_paper_configuration_asks_for_the_raw_front_end_of_the_paper() -> None:
    network = load_config("paper").expression.network
    assert network["front_end"] == "raw" and network["width"] == network["reference"] == 256


def test_expression_stage_refuses_an_unknown_front_end(model: FaceModel) -> None:
    config = load_config("tiny", ["expression.network.front_end=mfcc"]).expression
    with pytest.raises(UsageError, match="expected log_mel or encoder or raw"):
        ExpressionStage([], config, model, "", "cpu")


class TestAugmentWaveform:
    random = np.random.default_rng(0)
    samples = random.normal(0, 1, 16_000).astype(np.float32)
    others = (random.normal(0, 3, 20_000).astype(np.float32),)

    def changed(self, seed: int = 0, **options: float) -> np.ndarray:
        options = dataclasses.replace(QUIET, **options)
        out = augment_waveform(self.samples, self.others, options, np.random.default_rng(seed))
        assert out.shape == self.samples.shape and out.dtype == np.float32 and np.isfinite(out).all()
        return out

    def test_changes_nothing_without_options(self) -> None:
        np.testing.assert_allclose(self.changed(), self.samples, atol=1e-5)

    @pytest.mark.parametrize("seed", range(8))
    def test_noise_is_6_to_30_db_below_in_steps_of_3(self, seed: int) -> None:
        noise = self.changed(seed, noise=1.0) - self.samples
        ratio = 10 * np.log10(np.square(self.samples).mean() / np.square(noise).mean())
        assert 5.9 < ratio < 30.1 and abs(ratio / 3 - round(ratio / 3)) < 0.01

    def test_gain_stays_within_its_limits(self) -> None:
        gains = [
            20 * np.log10(np.linalg.norm(self.changed(i, gain_db=4.0)) / np.linalg.norm(self.samples)) for i in range(9)
        ]
        assert -4.01 < min(gains) < -1 and 1 < max(gains) < 4.01

    def test_tilt_leaves_the_middle_and_moves_the_ends_apart(self) -> None:
        before, after = (np.abs(np.fft.rfft(x)) for x in (self.samples, self.changed(1, tilt_db=6.0)))
        gain = 20 * np.log10(after / before)
        assert 1 < abs(gain[-1] - gain[0]) < 6.1
        assert gain[0] == pytest.approx(-gain[-1], abs=1e-2)

    @pytest.mark.parametrize("seed", range(4))
    def test_reverberation_follows_the_sound_and_fades(self, seed: int) -> None:
        click = np.zeros(16_000, np.float32)
        click[4000] = 1
        audio = augment_waveform(click, (), dataclasses.replace(QUIET, reverberation=1.0), np.random.default_rng(seed))
        assert np.abs(audio[:3999]).max() < 1e-4 and audio[4000] == pytest.approx(1, abs=1e-3)
        early, late = np.square(audio[4001:5000]).sum(), np.square(audio[11_000:12_000]).sum()
        assert 0.01 < early < 1.1 and late < early / 100

    def test_mask_silences_a_stretch_and_leaves_the_original_alone(self) -> None:
        before = self.samples.copy()
        silent = np.flatnonzero(self.changed(3, mask=1.0) == 0)
        assert 0 < len(silent) <= LONGEST_MASK and np.all(np.diff(silent) == 1)
        np.testing.assert_array_equal(self.samples, before)
