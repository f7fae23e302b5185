"""Training of Φ, the head motion learner."""

import dataclasses
import json
import wave
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.checkpoints import load_checkpoint
from thcli.configs.sections import MotionConfig, TrainOptions
from thcli.data.store import MOUTH_LEADS, SPEECH, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import MediaError, UsageError
from thcli.records import FaceTrack
from thcli.training import head_motion
from thcli.training.head_motion import HeadMotionStage, MotionBatch, MotionClip, train_head_motion
from thcli.training.loop import RunOptions

SMALL = {"audio": 8, "noise": 5, "width": 8, "features": 8, "style": 8, "dilations": [1, 2], "critic": 8}
CONFIG = MotionConfig(TrainOptions(steps=4, batch_size=3, val_every=2, ema=0.9), SMALL)


def clip(subject: str, frames: int = 260) -> MotionClip:
    random = np.random.default_rng(list(subject.encode()))
    smooth = 0.05 * gaussian_filter1d(random.standard_normal((frames, 6)), 4, axis=0)
    features = random.uniform(-12, 2, (frames, 4, 80)).astype(np.float32)
    return MotionClip(subject, smooth + 0.001 * random.standard_normal(smooth.shape), smooth, features)


@pytest.fixture(scope="module")
def stage() -> HeadMotionStage:
    return HeadMotionStage([clip(f"s{i}") for i in range(5)], CONFIG)


def test_head_motion_stage_does_not_train_on_held_out_subjects(stage: HeadMotionStage) -> None:
    trained = {c.subject for c in stage.clips}
    held = {c.subject for c in stage.held_out}
    assert trained and held and not trained & held


def test_head_motion_batches_depend_on_the_random_generator_alone(stage: HeadMotionStage) -> None:
    first, again = (stage.batch(np.random.default_rng(5)) for _ in range(2))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    context = stage.dims.context
    assert first.features.shape[1] == first.noise.shape[1] == first.target.shape[1] + 2 * context


def test_adversarial_term_counts_in_the_total_and_trains_all_of_phi(stage: HeadMotionStage) -> None:
    """The gradient of the total, less that of every other term, is the adversarial one, in each parameter."""
    torch.manual_seed(0)
    networks = stage.build()
    networks.network.double()
    assert networks.critic is not None
    networks.critic.double()
    batch = stage.batch(np.random.default_rng(0))
    batch = MotionBatch(*(getattr(batch, field.name).double() for field in dataclasses.fields(batch)))
    parameters = list(networks.network.parameters())
    losses = stage.step(networks, batch)
    others = losses["mse"] + losses["moments"] + losses["coupling"] + 5 * losses["rhythm"]
    adversarial = torch.autograd.grad(losses["adversarial"], parameters, retain_graph=True)
    rest = torch.autograd.grad(losses["total"] - others, parameters)
    for whole, part in zip(rest, adversarial, strict=True):
        assert part.abs().sum() > 0
        torch.testing.assert_close(whole, head_motion.ADVERSARIAL * part, rtol=1e-4, atol=1e-8)


def test_critic_loss_has_no_gradient_in_phi(stage: HeadMotionStage) -> None:
    networks = stage.build()
    losses = stage.step(networks, stage.batch(np.random.default_rng(0)))
    unused = torch.autograd.grad(losses["critic"], list(networks.network.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in unused)


def test_mse_weight_falls_from_1_to_its_last_value() -> None:
    weights = [head_motion.mse_weight(part) for part in np.linspace(0, 1, 21)]
    assert weights[0] == 1
    assert weights[-1] == pytest.approx(head_motion.MSE_LAST)
    assert sorted(weights, reverse=True) == weights


def test_moments_tell_amount_and_smoothness_apart() -> None:
    torch.manual_seed(0)
    motion = torch.cumsum(torch.randn(4, 128, 6), 1) / 5
    moments = head_motion.moments
    torch.testing.assert_close(moments(motion + 3), moments(motion), rtol=1e-3, atol=1e-3)
    assert (moments(2 * motion) > moments(motion)).all()
    rough = moments(motion + 0.3 * torch.randn_like(motion)) - moments(motion)
    assert rough[:, 18:24].min() > rough[:, :6].abs().max()


def test_rhythm_is_high_in_step_and_low_otherwise() -> None:
    torch.manual_seed(0)
    onset = (torch.rand(3, 400) < 0.05).float()
    loud = -8 + 6 * torch.nn.functional.avg_pool1d(onset[:, None], 7, 1, 3)[:, 0] * 7
    features = loud[:, :, None, None].expand(-1, -1, 4, 80)
    beat = torch.cumsum(onset * torch.sign(torch.randn(3, 400)), 1)[..., None].expand(-1, -1, 6).roll(-2, 1)
    assert head_motion.rhythm(beat, features) > 0.2
    assert head_motion.rhythm(beat.roll(37, 1), features).abs() < 0.15


def test_coupling_is_the_correlation_of_the_axes() -> None:
    motion = torch.randn(2, 500, 1) * torch.tensor([1.0, -2.0, 3.0, 1.0, 1.0, 1.0])
    expected = torch.ones(6, 6)
    expected[1] = expected[:, 1] = -1
    expected[1, 1] = 1
    torch.testing.assert_close(head_motion.coupling(motion)[0], expected, rtol=1e-3, atol=1e-3)


def write_store(root: Path, subjects: int = 4, lag: int = 2, frames: int = 250) -> Store:
    """A store of as many subjects; the lag of the first one is not known."""
    writer = StoreWriter(root)
    for index in range(subjects):
        meta = ClipMeta(f"c{index}", f"s{index}", "train", frames, lag if index else None)
        with writer.clip(meta) as folder:
            fill(folder, clip(meta.subject, frames))
    write_index(root)
    return Store(root)


def fill(folder: Path, motion: MotionClip) -> None:
    frames = len(motion)
    zero = np.zeros((frames, 1, 3), np.float32)
    pose = motion.placed.astype(np.float32)
    box, confidence = np.zeros((frames, 4), np.float32), np.ones(frames, np.float32)
    save_track(folder / TRACK, FaceTrack(box, zero, zero, pose, 0.01, confidence, (256, 256), "test"))
    samples = np.random.default_rng(0).integers(-9000, 9000, frames * 640).astype("<i2")
    with wave.open(str(folder / SPEECH), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16000)
        file.writeframes(samples.tobytes())


def test_train_head_motion_makes_the_same_weights_of_a_store_again(tmp_path: Path) -> None:
    write_store(tmp_path / "data")
    seen = []
    for name in ("a", "b"):
        running = RunOptions(progress=lambda done, steps, _: seen.append((done, steps)))
        result = train_head_motion(tmp_path / "data", tmp_path / name, CONFIG, running)
    assert seen == 2 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    first, second = (load_checkpoint(tmp_path / name / "head_motion.safetensors", "head_motion") for name in "ab")
    assert result.metrics["score"] > 0
    assert first.header.data["clips"] == first.header.data["subjects"] == 2  # One of four has no lag, one is held out.
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name])
    assert json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[0])["step"] == 1


def test_load_motion_brings_audio_and_motion_into_step(tmp_path: Path) -> None:
    store = write_store(tmp_path, subjects=2, lag=3)
    (loaded,) = head_motion.load_motion(store)  # The lag of the other clip is not known.
    track, lag = store.track("c1"), 3 - MOUTH_LEADS
    assert len(loaded) == len(track) - lag == len(loaded.features)
    np.testing.assert_allclose(loaded.placed[0, :3], -track.pose[lag, :3], atol=1e-6)


def test_head_motion_stage_refuses_too_little_material() -> None:
    with pytest.raises(MediaError, match="two subjects"):
        HeadMotionStage([clip("s1"), clip("s1"), clip("s2", 90)], CONFIG)


def test_head_motion_stage_refuses_unknown_sizes() -> None:
    with pytest.raises(UsageError, match="breadth"):
        HeadMotionStage([clip("s1"), clip("s2")], MotionConfig(CONFIG.train, {"breadth": 3}))
