"""Training of the face detector, on scenes of red discs."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from thcli.checkpoints import read_manifest
from thcli.clips.encode import VideoWriter
from thcli.config import load_config
from thcli.data.faces import FaceSamples
from thcli.data.store import CROP, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.records import FaceTrack
from thcli.training.detection import DetectionStage, detection_losses, export_detection, train_detection
from thcli.training.detection_scenes import Pictures, SceneMaker
from thcli.training.loop import train
from thgen_models.detection import STRIDE, DetectionDims, DetectionNetwork


@pytest.fixture(scope="module")
def samples() -> FaceSamples:
    """Images of pure red discs, which stand for faces, on blue; nothing else in a scene is as red."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    angles = np.linspace(0, 2 * np.pi, 40, endpoint=False)
    images, meshes = [], []
    for _ in range(16):
        radius, middle = random.uniform(50, 80), random.uniform(110, 146, 2)
        inside = np.hypot(x - middle[0], y - middle[1]) < radius
        images.append(np.where(inside[..., None], [255, 0, 0], [0, 0, 90]).astype(np.uint8))
        rim = [middle[0] + radius * np.cos(angles), middle[1] + radius * np.sin(angles), 0 * angles]
        meshes.append(np.stack(rim, -1))
    subjects = np.array([f"s{i // 2}" for i in range(16)])
    return FaceSamples(np.stack(images), np.stack(meshes).astype(np.float32), subjects, np.full(16, 1 / 16))


def maker(samples: FaceSamples, size: int = 96) -> SceneMaker:
    images = Pictures.of(torch.from_numpy(samples.images).permute(0, 3, 1, 2), torch.from_numpy(samples.meshes))
    return SceneMaker(images, torch.from_numpy(samples.chances), size, STRIDE)


def test_scene_maker_puts_faces_where_the_targets_say(samples: FaceSamples, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thcli.training.detection_scenes.spoil", lambda images, *_, **__: images)
    scenes = maker(samples).batch(32, torch.Generator().manual_seed(0))
    red = (scenes.images[:, 0] > 0.8) & (scenes.images[:, 1:].amax(1) < 0.2)
    faces = torch.nonzero((scenes.heat == 1) & (scenes.place[:, 2] > 1.0)).tolist()
    assert len(faces) > 5
    shares = []
    for scene, row, column in faces:
        x, y, side = scenes.place[scene, :, row, column].tolist()
        half = 0.3 * np.exp(side)
        low_x, low_y, high_x, high_y = (
            min(max(round(v * STRIDE), 0), 96)
            for v in (column + 0.5 + x - half, row + 0.5 + y - half, column + 0.5 + x + half, row + 0.5 + y + half)
        )
        shares.append(float(red[scene, low_y:high_y, low_x:high_x].float().mean()))
    # Decoys may cover some of the faces, but never most of them.
    assert min(shares) > 0.2 and np.median(shares) > 0.9


def test_scene_maker_depends_on_the_seed_alone(samples: FaceSamples) -> None:
    one, two = (maker(samples, 64).batch(6, torch.Generator().manual_seed(4)) for _ in range(2))
    for field in dataclasses.fields(one):
        assert torch.equal(getattr(one, field.name), getattr(two, field.name))
    assert one.images.shape == (6, 3, 64, 64) and one.heat.shape == (6, 8, 8) and one.place.shape == (6, 3, 8, 8)
    assert one.images.min() >= 0 and one.images.max() <= 1


def test_detection_losses_are_least_for_the_right_answer(samples: FaceSamples) -> None:
    scenes = maker(samples).batch(8, torch.Generator().manual_seed(1))

    class Answer(torch.nn.Module):
        def __init__(self, heat: torch.Tensor) -> None:
            super().__init__()
            self.heat = heat

        def cells(self, frame: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.logit(self.heat.clamp(1e-4, 1 - 1e-4))[:, None], scenes.place], 1)

    right = detection_losses(Answer((scenes.heat == 1).float()), scenes)  # type: ignore[arg-type]
    none = detection_losses(Answer(torch.zeros_like(scenes.heat)), scenes)  # type: ignore[arg-type]
    shifted = detection_losses(Answer((scenes.heat == 1).float().roll(3, -1)), scenes)  # type: ignore[arg-type]
    assert right["face"] < 1e-3 < none["face"] < shifted["face"] and right["place"] < 1e-6


def test_exported_detection_network_gives_what_torch_gives(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = DetectionNetwork(DetectionDims(size=64, width=4))
    export_detection(network, tmp_path / "network.onnx")
    frames = torch.rand(2, 3, 64, 64)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for given, expected in zip(session.run(None, {"frame": frames.numpy()}), network(frames), strict=True):
        np.testing.assert_allclose(given, expected.detach().numpy(), atol=1e-4)


def test_detection_stage_learns_to_find_red_discs(samples: FaceSamples, tmp_path: Path) -> None:
    config = load_config("tiny").detection
    options = dataclasses.replace(config.train, steps=80, batch_size=8, lr=5e-3, val_every=40, ema=0.9)
    stage = DetectionStage(samples, dataclasses.replace(config, train=options), "cpu")
    before = stage.evaluate(stage.build().network.eval())
    result = train(stage, options, tmp_path)
    assert result.metrics["score"] < 0.7 * before["score"]
    assert set(result.metrics) == {"score", "missed", "false"}


def test_train_detection_makes_the_weights_of_the_tracker_from_a_store(samples: FaceSamples, tmp_path: Path) -> None:
    for i in range(4):
        part = slice(2 * i, 2 * i + 2)
        rim, zeros = samples.meshes[part], np.zeros((2, 6), np.float32)
        track = FaceTrack(zeros[:, :4], rim, rim, zeros, 1.0, np.ones(2, np.float32), (256, 256), "made up")
        with StoreWriter(tmp_path / "data").clip(ClipMeta(f"s{i}", f"s{i}", "train", 2)) as folder:
            save_track(folder / TRACK, track)
            with VideoWriter(folder / CROP, (256, 256), None, 2) as video:
                for frame in samples.images[part]:
                    video.write(frame)
    write_index(tmp_path / "data")
    result = train_detection(tmp_path / "data", tmp_path / "run", load_config("tiny"))
    assert result.step > 0 and "missed" in result.metrics
    assert {"detection.onnx", "detection.safetensors"} <= set(read_manifest(tmp_path / "run"))
