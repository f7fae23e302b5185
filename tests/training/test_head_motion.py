import dataclasses
import json
import wave

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from thcli.checkpoints import load_checkpoint
from thcli.config import MotionConfig, TrainOptions
from thcli.data.store import SPEECH, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.errors import MediaError, UsageError
from thcli.records import FaceTrack
from thcli.training import head_motion
from thcli.training.head_motion import HeadMotionStage, MotionClip, train_head_motion
from thcli.training.loop import RunOptions

SMALL = {"audio": 8, "noise": 5, "width": 8, "features": 8, "style": 8, "dilations": [1, 2], "critic": 8}
CONFIG = MotionConfig(TrainOptions(steps=4, batch_size=3, val_every=2, ema=0.9), SMALL)


def clip(subject: str, frames: int = 260) -> MotionClip:
    random = np.random.default_rng(list(subject.encode()))
    smooth = 0.05 * gaussian_filter1d(random.standard_normal((frames, 6)), 4, axis=0)
    features = random.uniform(-12, 2, (frames, 4, 80)).astype(np.float32)
    return MotionClip(subject, smooth + 0.001 * random.standard_normal(smooth.shape), smooth, features)


@pytest.fixture(scope="module")
def stage():
    return HeadMotionStage([clip(f"s{i}") for i in range(5)], CONFIG)


def test_held_out_subjects_are_not_trained_on(stage):
    trained = {c.subject for c in stage.clips}
    held = {c.subject for c in stage.held_out}
    assert trained and held and not trained & held


def test_batches_come_from_the_random_generator_alone(stage):
    first, again = (stage.batch(np.random.default_rng(5)) for _ in range(2))
    for field in dataclasses.fields(first):
        assert torch.equal(getattr(first, field.name), getattr(again, field.name))
    context = stage.dims.context
    assert first.features.shape[1] == first.noise.shape[1] == first.target.shape[1] + 2 * context


def test_adversarial_term_alone_trains_the_network(stage, monkeypatch):
    """Through ``step`` itself: with every other term without a gradient, the total still moves the whole of Φ."""
    monkeypatch.setattr(head_motion, "mse_weight", lambda progress: 0.0)
    for term in ("moments", "coupling"):
        monkeypatch.setattr(head_motion, term, lambda motion: torch.zeros(1))
    monkeypatch.setattr(head_motion, "rhythm", lambda motion, features: torch.zeros(()))
    torch.manual_seed(0)
    networks = stage.build()
    parameters = list(networks.network.parameters())
    losses = stage.step(networks, stage.batch(np.random.default_rng(0)))
    adversarial = torch.autograd.grad(losses["adversarial"], parameters, retain_graph=True)
    total = torch.autograd.grad(losses["total"], parameters)
    for whole, part in zip(total, adversarial, strict=True):
        assert whole.abs().sum() > 0
        torch.testing.assert_close(whole, head_motion.ADVERSARIAL * part, rtol=1e-4, atol=1e-8)


def test_critics_loss_does_not_reach_the_network(stage):
    networks = stage.build()
    losses = stage.step(networks, stage.batch(np.random.default_rng(0)))
    unused = torch.autograd.grad(losses["critic"], list(networks.network.parameters()), allow_unused=True)
    assert all(gradient is None for gradient in unused)


def test_squared_error_is_annealed():
    weights = [head_motion.mse_weight(part) for part in np.linspace(0, 1, 21)]
    assert weights[0] == 1
    assert weights[-1] == pytest.approx(head_motion.MSE_LAST)
    assert sorted(weights, reverse=True) == weights


def test_moments_tell_amount_and_smoothness_apart():
    torch.manual_seed(0)
    motion = torch.cumsum(torch.randn(4, 128, 6), 1) / 5
    moments = head_motion.moments
    torch.testing.assert_close(moments(motion + 3), moments(motion), rtol=1e-3, atol=1e-3)
    assert (moments(2 * motion) > moments(motion)).all()
    rough = moments(motion + 0.3 * torch.randn_like(motion)) - moments(motion)
    assert rough[:, 18:24].min() > rough[:, :6].abs().max()


def test_rhythm_is_high_in_step_and_low_otherwise():
    torch.manual_seed(0)
    onset = (torch.rand(3, 400) < 0.05).float()
    loud = -8 + 6 * torch.nn.functional.avg_pool1d(onset[:, None], 7, 1, 3)[:, 0] * 7
    features = loud[:, :, None, None].expand(-1, -1, 4, 80)
    beat = torch.cumsum(onset * torch.sign(torch.randn(3, 400)), 1)[..., None].expand(-1, -1, 6).roll(-2, 1)
    assert head_motion.rhythm(beat, features) > 0.2
    assert head_motion.rhythm(beat.roll(37, 1), features).abs() < 0.15


def test_coupling_is_that_of_the_axes():
    motion = torch.randn(2, 500, 1) * torch.tensor([1.0, -2.0, 3.0, 1.0, 1.0, 1.0])
    expected = torch.ones(6, 6)
    expected[1] = expected[:, 1] = -1
    expected[1, 1] = 1
    torch.testing.assert_close(head_motion.coupling(motion)[0], expected, rtol=1e-3, atol=1e-3)


def write_store(root, subjects=4, lag=2, frames=250):
    writer = StoreWriter(root)
    for index in range(subjects):
        meta = ClipMeta(f"c{index}", f"s{index}", "train", frames, lag if index else None)
        with writer.clip(meta) as folder:
            _fill(folder, clip(meta.subject, frames))
    write_index(root)
    return Store(root)


def _fill(folder, motion):
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


def test_trains_from_a_store_and_again_to_the_same_weights(tmp_path):
    write_store(tmp_path / "data")
    seen = []
    for name in ("a", "b"):
        running = RunOptions(progress=lambda done, steps, _: seen.append((done, steps)))
        result = train_head_motion(tmp_path / "data", tmp_path / name, CONFIG, running)
    assert seen == 2 * [(1, 4), (2, 4), (3, 4), (4, 4)]
    first, second = (load_checkpoint(tmp_path / name / "head_motion.safetensors", "head_motion") for name in "ab")
    assert result.metrics["score"] > 0
    assert first.header.data["clips"] == first.header.data["subjects"] == 2  # of four one has no lag, one is held out
    for name, tensor in first.tensors.items():
        assert torch.equal(tensor, second.tensors[name])
    assert json.loads((tmp_path / "a" / "log.jsonl").read_text().splitlines()[0])["step"] == 1


def test_sound_and_motion_are_brought_in_step(tmp_path):
    store = write_store(tmp_path, subjects=2, lag=3)
    (loaded,) = head_motion.load_motion(store)  # the other clip's lag is not known
    track = store.track("c1")
    assert len(loaded) == len(track) - 3 == len(loaded.features)
    np.testing.assert_allclose(loaded.placed[0, :3], -track.pose[3, :3], atol=1e-6)


def test_too_little_material_and_unknown_sizes(tmp_path):
    with pytest.raises(MediaError, match="two subjects"):
        HeadMotionStage([clip("s1"), clip("s1"), clip("s2", 90)], CONFIG)
    with pytest.raises(UsageError, match="breadth"):
        HeadMotionStage([clip("s1"), clip("s2")], MotionConfig(CONFIG.train, {"breadth": 3}))
