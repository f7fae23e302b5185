"""Training of the matting network, on discs before noise."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli.checkpoints import read_manifest
from thcli.clips.encode import VideoWriter
from thcli.config import load_config
from thcli.data.faces import FaceSamples
from thcli.data.store import CROP, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.errors import UsageError
from thcli.records import FaceTrack
from thcli.training.loop import train
from thcli.training.matting import MattingStage, matting_loss, outline, random_parts, train_matting


def disc(side: int = 256) -> np.ndarray:
    """Return the mask [side, side] uint8 of a disc that stands for a person."""
    y, x = np.mgrid[:side, :side]
    return np.uint8(255 * (np.hypot(x - side / 2, y - side / 2) < 0.3 * side))


@pytest.fixture(scope="module")
def samples() -> FaceSamples:
    """Orange discs before blue noise."""
    random = np.random.default_rng(0)
    noise = random.integers(0, 120, (12, 256, 256, 1)) * np.array([0, 0, 1])
    images = np.where(disc()[..., None] > 0, np.array([220, 120, 20]), noise).astype(np.uint8)
    subjects = np.array([f"s{i // 2}" for i in range(12)])
    return FaceSamples(images, np.zeros((12, 478, 3), np.float32), subjects, np.full(12, 1 / 12))


@pytest.fixture(scope="module")
def masks() -> np.ndarray:
    return np.repeat(disc()[None], 12, 0)


def with_masks(samples: FaceSamples, masks: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.concatenate([samples.images, masks[..., None]], -1)).permute(0, 3, 1, 2)


def test_random_parts_move_image_and_mask_alike(samples, masks, monkeypatch):
    monkeypatch.setattr("thcli.training.matting.spoil", lambda images, *_, **__: images)
    batch = random_parts(with_masks(samples, masks), 96, torch.Generator().manual_seed(0), moved=0.0)
    orange = (batch.images[:, :1] > 0.4).float()
    assert (orange - batch.opacity).abs().mean() < 0.01
    assert 0.05 < batch.opacity.mean() < 0.8
    areas = batch.opacity.mean((1, 2, 3))
    assert areas.max() > 1.5 * areas.min()


def test_random_parts_show_the_person_before_other_backgrounds(samples, masks, monkeypatch):
    monkeypatch.setattr("thcli.training.matting.spoil", lambda images, *_, **__: images)
    parts = [
        random_parts(with_masks(samples, masks), 96, torch.Generator().manual_seed(0), moved=moved)
        for moved in (0.0, 1.0)
    ]
    own, other = (part.images for part in parts)
    person = parts[0].opacity
    assert torch.equal(person, parts[1].opacity)
    assert ((own - other).abs() * (person > 0.99)).max() < 0.02
    assert ((own - other).abs() * (person < 0.01)).mean() > 0.01
    assert (other[:, :1] * (person < 0.01)).max() < 0.2  # nobody else stands there


def test_outline_lies_along_the_border_of_the_person(masks):
    edge = outline(torch.from_numpy(masks[:1, None] / 255).float())[0, 0]
    y, x = np.mgrid[:256, :256]
    away = np.abs(np.hypot(x - 128, y - 128) - 0.3 * 256)
    assert edge[away < 3].min() == 1 and edge[away > 7].max() == 0


def test_loss_is_least_for_the_true_opacity():
    truth = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0)).clamp(0.01, 0.99)
    least = matting_loss(torch.logit(truth), truth, 4.0)
    assert least < matting_loss(torch.logit(truth) + 0.3, truth, 4.0)
    assert least < matting_loss(torch.logit(truth) - 0.3, truth, 4.0)


def test_training_learns_the_discs_and_does_so_alike_from_the_same_seed(samples, masks, tmp_path):
    config = load_config("tiny", ["matting.train.steps=60", "matting.train.val_every=60", "matting.train.lr=0.01"])
    section = config.matting
    results = []
    for name in ("one", "two"):
        stage = MattingStage(samples, masks, section, "cpu")
        results.append(train(stage, section.train, tmp_path / name))
    stage = MattingStage(samples, masks, section, "cpu")
    start = stage.evaluate(stage.build().network.eval())
    assert results[0].metrics["score"] < 0.7 * start["score"]
    assert (tmp_path / "one/matting.safetensors").read_bytes() == (tmp_path / "two/matting.safetensors").read_bytes()


def test_train_matting_leaves_checkpoint_and_exported_network(samples, tmp_path: Path, monkeypatch):
    for i in range(4):
        points, zeros = samples.meshes[:3], np.zeros((3, 6), np.float32)
        track = FaceTrack(zeros[:, :4], points, points, zeros, 1.0, np.ones(3, np.float32), (256, 256), "made up")
        with StoreWriter(tmp_path / "data").clip(ClipMeta(f"s{i}", f"s{i}", "train", 3)) as folder:
            save_track(folder / TRACK, track)
            with VideoWriter(folder / CROP, (256, 256), None, 3) as video:
                for image in samples.images[3 * i : 3 * i + 3]:
                    video.write(image)
    write_index(tmp_path / "data")

    monkeypatch.setattr("thcli.training.matting.check_teacher", lambda: None)
    monkeypatch.setattr(
        "thcli.training.matting.mediapipe_masks", lambda images: np.repeat(disc()[None], len(images), 0)
    )
    result = train_matting(tmp_path / "data", tmp_path / "run", load_config("tiny"))
    assert result.step > 0 and set(result.metrics) == {"score", "error", "edge"}
    assert {"matting.onnx", "matting.safetensors"} <= set(read_manifest(tmp_path / "run"))


def test_without_mediapipe_train_matting_says_what_it_needs(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "mediapipe.python.solutions.selfie_segmentation", None)
    with pytest.raises(UsageError, match=r"train matting: learns from MediaPipe's .* pip install 'thgen\[mediapipe\]'"):
        train_matting(tmp_path / "not read", tmp_path / "run", load_config("tiny"))


def test_matting_stage_refuses_a_size_that_its_layers_do_not_divide(samples, masks):
    section = load_config("tiny", ["matting.size=60"]).matting
    with pytest.raises(UsageError, match=r"^matting.size=60: expected a multiple of 8$"):
        MattingStage(samples, masks, section, "cpu")
