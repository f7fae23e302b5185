"""Exported networks equal those of PyTorch; a file that differs is refused, and then nothing is written."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx.numpy_helper import from_array, to_array

from thcli.checkpoints import Header, read_manifest, save_checkpoint, sha256, shipped_weights
from thcli.errors import MediaError, UsageError, WeightsError
from thcli.export.check import BOUND, difference, open_session
from thcli.export.exporters import export_generator
from thcli.export.restored import restored
from thcli.export.run import export_all
from thcli.pipeline.models import load_models
from thgen_models.expression import ExpressionDims, make_expression_learner
from thgen_models.generator import Generator

FILES = {
    "expression.onnx", "head_motion.onnx", "detection.onnx", "unprojection.onnx", "matting.onnx", "generator.onnx",
    "generator_embedding.onnx", "manifest.json", "SHA256SUMS",
}  # fmt: skip


def test_export_all_writes_the_shipped_networks_with_hashes(tmp_path: Path) -> None:
    folder, models = tmp_path / "onnx", load_models(device="cpu")
    written = export_all(folder, models)
    assert {path.name for path in folder.iterdir()} == FILES and list(tmp_path.iterdir()) == [folder]
    assert all(one.difference <= BOUND for one in written)
    listing = json.loads((folder / "manifest.json").read_text())
    hashes = {one["file"]: one["sha256"] for one in listing["files"]}
    assert read_manifest(folder) == hashes == {name: sha256(folder / name) for name in hashes}
    sources = {one["source"]["file"]: one["source"]["sha256"] for one in listing["files"]}
    assert all(read_manifest(shipped_weights())[name] == digest for name, digest in sources.items())
    assert {one["file"] for one in listing["files"] if one["copied"]} == FILES - {
        "expression.onnx", "head_motion.onnx", "generator.onnx", "generator_embedding.onnx", "manifest.json",
        "SHA256SUMS",
    }  # fmt: skip
    check_other_lengths(folder / "expression.onnx")
    with pytest.raises(UsageError, match=r"expression\.onnx: exists already; add --overwrite"):
        export_all(folder, models)


def check_other_lengths(path: Path) -> None:
    """Compare the exported Ψ with PyTorch on speech of lengths other than those that the export checks."""
    network, session = load_models(device="cpu").expression_learner, open_session(path)
    for frames in (1, 23):
        shape = (1, frames + 2 * network.dims.reach, 4, network.dims.values)
        sound = np.random.default_rng(frames).normal(-3, 2, shape).astype(np.float32)
        reference = np.zeros((1, 20), np.float32)
        (found,) = session.run(None, {"sound": sound, "reference": reference})
        with torch.no_grad():
            wanted = network(torch.from_numpy(sound), torch.from_numpy(reference)).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_export_all_converts_an_expression_network_of_other_dims(tmp_path: Path) -> None:
    source = tmp_path / "weights" / "expression.safetensors"
    torch.manual_seed(0)
    network = make_expression_learner(ExpressionDims(width=8, dilations=(1, 2), reference=4))
    header = Header("expression", {"width": 8, "dilations": [1, 2], "reference": 4})
    save_checkpoint(source, header, network.state_dict())
    made = export_all(tmp_path / "onnx", load_models(source.parent, device="cpu"))
    (one,) = (one for one in made if one.file == "expression.onnx")
    assert one.source == (source.name, sha256(source)) and not one.copied
    assert one.inputs == {"sound": [1, "frames", 4, 80], "reference": [1, 20]} and one.difference <= BOUND


def test_export_all_refuses_a_network_of_raw_samples(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    network = make_expression_learner(ExpressionDims(front_end="raw", convolutions=(2,) * 7, width=4))
    header = Header("expression", {"front_end": "raw", "convolutions": [2] * 7, "width": 4})
    save_checkpoint(weights / "expression.safetensors", header, network.state_dict())
    with pytest.raises(UsageError, match=r"expression\.safetensors: hears raw samples"):
        export_all(tmp_path / "onnx", load_models(weights, device="cpu"))
    assert list(tmp_path.iterdir()) == [weights]


@pytest.mark.parametrize("name", ["detection.onnx", "unprojection.onnx", "matting.onnx"])
def test_difference_refuses_a_copied_network_with_a_changed_weight(tmp_path: Path, name: str) -> None:
    """PyTorch is rebuilt from one file and compared with another, in which one bias has moved."""
    network, random = restored(shipped_weights() / name)
    assert difference(shipped_weights() / name, network, [random]) < 1e-5
    model = onnx.load(shipped_weights() / name)
    bias = next(one for one in model.graph.initializer if one.name.endswith("bias"))
    bias.CopyFrom(from_array(to_array(bias) + np.float32(0.1), bias.name))
    onnx.save(model, tmp_path / name)
    with pytest.raises(WeightsError, match=f"{name}: differs from PyTorch by "):
        difference(tmp_path / name, network, [random])


def test_restored_refuses_another_network_under_its_name(tmp_path: Path) -> None:
    shutil.copyfile(shipped_weights() / "unprojection.onnx", tmp_path / "detection.onnx")
    with pytest.raises(WeightsError, match="convolutions, not those of its network"):
        restored(tmp_path / "detection.onnx")


def test_export_all_leaves_nothing_where_the_last_network_differs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The exporter writes Θ with one bias moved."""

    def moved(network: Generator, folder: Path) -> None:
        other = copy.deepcopy(network)
        with torch.no_grad():
            other.composition.layers[0].up.bias.add_(0.5)
        export_generator(other, folder)

    monkeypatch.setattr("thcli.export.run.export_generator", moved)
    with pytest.raises(WeightsError, match=r"generator\.onnx: differs from PyTorch by "):
        export_all(tmp_path / "onnx", load_models(device="cpu"))
    assert list(tmp_path.iterdir()) == []


def test_export_all_is_refused_at_once_without_the_exporter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "onnxscript" else object())
    with pytest.raises(UsageError, match=r"needs onnxscript; install .* 'thgen\[train\]'"):
        export_all(tmp_path / "onnx", load_models(device="cpu"))
    assert list(tmp_path.iterdir()) == []


def test_export_all_refuses_a_folder_in_no_folder(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=f"{tmp_path / 'no'}: no such folder to make onnx in; make it first"):
        export_all(tmp_path / "no" / "onnx", load_models(device="cpu"))
