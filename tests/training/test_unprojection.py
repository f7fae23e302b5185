"""Training of the tracker's mesh network, on discs that stand for faces."""

import dataclasses
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from thcli.checkpoints import MANIFEST, read_header, read_manifest, shipped_weights
from thcli.clips.encode import VideoWriter
from thcli.config import load_config
from thcli.data.faces import FaceSamples
from thcli.data.store import CROP, TRACK, ClipMeta, StoreWriter, save_track, write_index
from thcli.face_model import FaceModel
from thcli.records import FaceTrack
from thcli.training.loop import RunOptions, train
from thcli.training.unprojection import (
    UnprojectionStage,
    build,
    export_unprojection,
    measure,
    mirror_permutation,
    train_unprojection,
)
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

TINY = UnprojectionDims(crop=64, width=8, stages=2, hidden=16, patch=16, patch_width=4)


@pytest.fixture(scope="module")
def canonical() -> np.ndarray:
    return FaceModel.load(shipped_weights() / "face_model.safetensors").canonical


@pytest.fixture(scope="module")
def samples(canonical: np.ndarray) -> FaceSamples:
    """Images of discs, which stand for the faces of 8 subjects."""
    random = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    images, meshes = [], []
    for _ in range(24):
        scale, middle = random.uniform(50, 80), random.uniform(110, 146, 2)
        inside = ((x - middle[0]) / scale) ** 2 + ((y - middle[1]) / scale / 1.3) ** 2 < 1
        images.append(np.where(inside[..., None], 200, 40).repeat(3, -1).astype(np.uint8))
        meshes.append((canonical - canonical.mean(0)) * scale + [*middle, 0])
    subjects = np.array([f"s{i // 3}" for i in range(24)])
    return FaceSamples(np.stack(images), np.stack(meshes).astype(np.float32), subjects, np.full(24, 1 / 24))


def network(canonical: np.ndarray) -> UnprojectionNetwork:
    torch.manual_seed(0)
    shapes = torch.from_numpy(canonical).float() * 0.2 + 0.5 + 0.02 * torch.randn(20, 1, 3)
    return build(TINY, canonical, shapes)


def test_build_starts_from_the_mean_face_and_refines_lips_and_eyes(canonical: np.ndarray) -> None:
    made = network(canonical).eval()
    assert {33, 133, 468, 159} <= set(made.eye_index[0].tolist())
    assert {263, 362, 473, 386} <= set(made.eye_index[1].tolist())
    assert {61, 291, 13, 14} <= set(made.lip_index.tolist())
    np.testing.assert_array_equal(mirror_permutation(canonical)[made.eye_index[0]], made.eye_index[1])
    mesh, _ = made(torch.rand(1, 3, 64, 64))
    width = float(np.ptp(mesh[0, :, 0].detach().numpy()))
    assert width == pytest.approx(0.2 * np.ptp(canonical[:, 0]), rel=0.3)


def test_exported_unprojection_network_gives_what_torch_gives(canonical: np.ndarray, tmp_path: Path) -> None:
    made = network(canonical)
    torch.nn.init.normal_(made.mouth[1].weight, std=0.01)
    export_unprojection(made, tmp_path / "network.onnx")
    crops = torch.rand(3, 3, 64, 64)
    session = onnxruntime.InferenceSession(tmp_path / "network.onnx", providers=["CPUExecutionProvider"])
    for given, expected in zip(session.run(None, {"crop": crops.numpy()}), made(crops), strict=True):
        np.testing.assert_allclose(given, expected.detach().numpy(), atol=1e-4)
    assert [path.name for path in tmp_path.iterdir()] == ["network.onnx"]


def test_unprojection_stage_learns_where_faces_are(samples: FaceSamples, canonical: np.ndarray, tmp_path: Path) -> None:
    config = load_config("tiny").unprojection
    options = dataclasses.replace(config.train, steps=60, batch_size=12, lr=3e-3, val_every=30, ema=0.9)
    stage = UnprojectionStage(samples, dataclasses.replace(config, train=options), canonical, "cpu")
    before = measure(stage.build().network.eval(), stage.held_out)
    result = train(stage, options, tmp_path)
    assert result.metrics["error"] < 0.8 * before["error"]
    assert set(result.metrics) == {"score", "error", "lips", "lost"}


def test_measure_gives_large_errors_to_meshes_that_are_all_zero(samples: FaceSamples) -> None:
    class Zero(torch.nn.Module):
        dims = TINY

        def forward(self, crops: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return torch.zeros(len(crops), 478, 3), torch.ones(len(crops))

    figures = measure(Zero(), samples)  # type: ignore[arg-type]
    assert figures["lost"] == 0 and figures["error"] > 0.5 and figures["lips"] > 0.5


@pytest.fixture
def store(samples: FaceSamples, tmp_path: Path) -> Path:
    """Store of four subjects with three frames each."""
    for i in range(4):
        part = slice(3 * i, 3 * i + 3)
        mesh, zeros = samples.meshes[part], np.zeros((3, 6), np.float32)
        track = FaceTrack(zeros[:, :4], mesh, mesh[:, :68], zeros, 1.0, np.ones(3, np.float32), (256, 256), "made up")
        with StoreWriter(tmp_path / "data").clip(ClipMeta(f"s{i}", f"s{i}", "train", 3)) as folder:
            save_track(folder / TRACK, track)
            with VideoWriter(folder / CROP, (256, 256), None, 3) as video:
                for frame in samples.images[part]:
                    video.write(frame)
    write_index(tmp_path / "data")
    return tmp_path / "data"


def test_train_unprojection_exports_the_same_network_resumed_and_repeated(store: Path, tmp_path: Path) -> None:
    config, out = load_config("tiny"), tmp_path / "run"
    result = train_unprojection(store, out, config)
    assert read_header(result.checkpoint).data == {"frames": 9, "subjects": 3}
    assert load_config(out / "config.yaml") == config
    assert {"unprojection.onnx", "unprojection.safetensors"} <= set(read_manifest(out))
    first = (out / "unprojection.onnx").read_bytes()
    (out / MANIFEST).unlink()
    train_unprojection(store, out, config, RunOptions(resume=True))
    assert (out / MANIFEST).is_file() and (out / "unprojection.onnx").read_bytes() == first
    train_unprojection(store, tmp_path / "again", config)
    assert (tmp_path / "again" / "unprojection.onnx").read_bytes() == first
