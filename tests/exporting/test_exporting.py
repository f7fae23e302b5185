"""Exported networks equal those of PyTorch; a file that does not is refused, and then nothing is written."""

from __future__ import annotations

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
from thcli.export import run
from thcli.export.check import BOUND, difference, open_session
from thcli.export.restored import restored
from thcli.export.run import export_all
from thcli.motion.expression import load_expression_learner
from thgen_models.expression import ExpressionDims, make_expression_learner

FILES = {
    "expression.onnx", "head_motion.onnx", "detection.onnx", "unprojection.onnx", "generator.onnx",
    "generator_embedding.onnx", "manifest.json", "SHA256SUMS",
}  # fmt: skip


def test_all_shipped_networks(tmp_path: Path) -> None:
    folder = tmp_path / "onnx"
    written = export_all(folder)
    assert {path.name for path in folder.iterdir()} == FILES and list(tmp_path.iterdir()) == [folder]
    assert all(one.difference <= BOUND for one in written)
    listing = json.loads((folder / "manifest.json").read_text())
    hashes = {one["file"]: one["sha256"] for one in listing["files"]}
    assert read_manifest(folder) == hashes == {name: sha256(folder / name) for name in hashes}
    sources = {one["source"]["file"]: one["source"]["sha256"] for one in listing["files"]}
    assert all(read_manifest(shipped_weights())[name] == digest for name, digest in sources.items())
    assert {one["file"] for one in listing["files"] if one["copied"]} == FILES - {
        "expression.onnx", "head_motion.onnx", "manifest.json", "SHA256SUMS",
    }  # fmt: skip
    hear_other_lengths(folder / "expression.onnx")
    with pytest.raises(UsageError, match=r"expression\.onnx: exists already; add --overwrite"):
        export_all(folder)


def hear_other_lengths(path: Path) -> None:
    """By numbers of this test's own: the exported Ψ beside PyTorch."""
    network, session = load_expression_learner(), open_session(path)
    for frames in (1, 23):
        sound = (
            np.random.default_rng(frames).normal(-3, 2, (1, frames + 2 * network.dims.reach, 4, 80)).astype(np.float32)
        )
        reference = np.zeros((1, 20), np.float32)
        (found,) = session.run(None, {"sound": sound, "reference": reference})
        with torch.no_grad():
            wanted = network(torch.from_numpy(sound), torch.from_numpy(reference)).numpy()
        np.testing.assert_allclose(found, wanted, atol=1e-4)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = make_expression_learner(ExpressionDims(width=8, dilations=(1, 2), reference=4))
    header = Header("expression", {"width": 8, "dilations": [1, 2], "reference": 4})
    save_checkpoint(tmp_path / "expression.safetensors", header, network.state_dict())
    made = run._psi(tmp_path, tmp_path)
    assert made.source == ("expression.safetensors", sha256(tmp_path / "expression.safetensors"))
    assert made.inputs == {"sound": [1, "frames", 4, 80], "reference": [1, 20]} and made.difference <= BOUND


def test_the_raw_front_end_is_refused(tmp_path: Path) -> None:
    network = make_expression_learner(ExpressionDims(front_end="raw", convolutions=(2,) * 7, width=4))
    header = Header("expression", {"front_end": "raw", "convolutions": [2] * 7, "width": 4})
    save_checkpoint(tmp_path / "expression.safetensors", header, network.state_dict())
    with pytest.raises(UsageError, match=r"expression\.safetensors: hears raw samples"):
        run._psi(tmp_path, tmp_path)


@pytest.mark.parametrize("name", ["detection.onnx", "unprojection.onnx"])
def test_a_tracker_with_a_changed_weight_is_not_its_network(tmp_path: Path, name: str) -> None:
    """PyTorch is rebuilt from one file and compared with another, in which one bias has moved."""
    network, random = restored(shipped_weights() / name)
    assert difference(shipped_weights() / name, network, [random]) < 1e-5
    model = onnx.load(shipped_weights() / name)
    bias = next(one for one in model.graph.initializer if one.name.endswith("bias"))
    bias.CopyFrom(from_array(to_array(bias) + np.float32(0.1), bias.name))
    onnx.save(model, tmp_path / name)
    with pytest.raises(WeightsError, match=f"{name}: differs from PyTorch by "):
        difference(tmp_path / name, network, [random])


def test_another_network_under_its_name(tmp_path: Path) -> None:
    shutil.copyfile(shipped_weights() / "unprojection.onnx", tmp_path / "detection.onnx")
    with pytest.raises(WeightsError, match="convolutions, not those of its network"):
        restored(tmp_path / "detection.onnx")


def test_nothing_is_left_where_one_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def differs(folder: Path, weights: Path | None) -> list[run.Exported]:
        raise WeightsError("generator.onnx: differs")

    monkeypatch.setattr(run, "_theta", differs)
    with pytest.raises(WeightsError, match="differs"):
        export_all(tmp_path / "onnx")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(MediaError, match=f"{tmp_path / 'no'}: no such folder to make onnx in; make it first"):
        export_all(tmp_path / "no" / "onnx")
