"""The catalogue says which files of weights exist, where each was found, and what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from thcli import checkpoints
from thcli.checkpoints import read_manifest, sha256, shipped_weights, write_manifest
from thcli.errors import UsageError, WeightsError
from thcli.evaluation import metric_models
from thcli.weights import catalogue
from thcli.weights.catalogue import ENTRIES, card_of, entry_of, find, header_of, look, verify_folder


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the user's folder of weights, empty."""
    folder = tmp_path / "user"
    folder.mkdir()
    for module in (checkpoints, catalogue):
        monkeypatch.setattr(module, "user_folder", lambda: folder)
    return folder


def test_entries_are_the_files_that_ship(user: Path) -> None:
    listed = read_manifest(shipped_weights())
    assert {entry.name for entry in ENTRIES if not entry.metric} == set(listed)
    for entry in ENTRIES:
        file = find(entry)
        if not entry.metric:
            assert file is not None and (file.place, file.sha256, file.fault) == ("shipped", listed[entry.name], "")
            assert card_of(file.path).startswith("# ")


def test_find_prefers_a_file_of_the_user_which_must_be_listed(user: Path) -> None:
    (user / "syncnet.onnx").write_bytes(b"s")
    (user / "expression.safetensors").write_bytes(b"e")
    for name in ("syncnet.onnx", "expression.safetensors"):
        file = find(entry_of(name))
        assert file is not None and (file.place, file.fault) == ("yours", "not listed in SHA256SUMS")
    with pytest.raises(WeightsError, match="not listed in SHA256SUMS; add it with 'thgen weights add'"):
        checkpoints.find_weights("expression.safetensors")
    write_manifest(user)
    assert checkpoints.find_weights("expression.safetensors") == user / "expression.safetensors"
    (user / "expression.safetensors").write_bytes(b"changed")
    assert look(user / "expression.safetensors").fault == "SHA-256 differs from SHA256SUMS"


def test_find_accepts_a_known_file_of_a_metric_without_listing(user: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (user / "identity.onnx").write_bytes(b"known")
    known = metric_models.Known("a", metric_models.Pixels())
    monkeypatch.setattr(metric_models, "KNOWN", {sha256(user / "identity.onnx"): known})
    file = find(entry_of("identity"))
    assert file is not None and file.fault == ""


def test_find_refuses_a_weights_folder_that_is_missing(user: Path) -> None:
    with pytest.raises(WeightsError, match="gone: no such folder of weights; give --weights a folder"):
        find(entry_of("expression"), Path("gone"))


def test_find_prefers_the_weights_folder_given(user: Path, tmp_path: Path) -> None:
    given = tmp_path / "given"
    given.mkdir()
    for folder in (user, given):
        (folder / "expression.safetensors").write_bytes(folder.name.encode())
    write_manifest(user)
    assert checkpoints.find_weights("expression.safetensors", given) == given / "expression.safetensors"
    file = find(entry_of("expression"), given)
    assert file is not None and (file.place, file.size) == ("--weights", 5)


def test_verify_folder_reports_the_fault_of_each_file(tmp_path: Path) -> None:
    for name in ("a.onnx", "b.onnx", "c.safetensors"):
        (tmp_path / name).write_bytes(name.encode())
    write_manifest(tmp_path)
    (tmp_path / "a.onnx").unlink()
    (tmp_path / "b.onnx").write_bytes(b"changed")
    (tmp_path / "d.onnx").write_bytes(b"new")
    assert verify_folder(tmp_path) == [
        ("a.onnx", "missing"),
        ("b.onnx", "SHA-256 differs from SHA256SUMS"),
        ("c.safetensors", ""),
        ("d.onnx", "not listed in SHA256SUMS"),
    ]
    with pytest.raises(WeightsError, match=r"nowhere/SHA256SUMS: no such file"):
        verify_folder(tmp_path / "nowhere")


def test_entry_of_knows_names_with_and_without_suffix() -> None:
    assert entry_of("expression") is entry_of("expression.safetensors")
    assert entry_of("generator").name == "generator.safetensors"
    with pytest.raises(UsageError, match=r"vgg: no file that thgen uses; expected detection\.onnx, "):
        entry_of("vgg")


def test_header_of_reads_checkpoints_only() -> None:
    header = header_of(shipped_weights() / "head_motion.safetensors")
    assert header is not None and header["stage"] == "head_motion" and header["dims"]["mels"] == 80
    assert header_of(shipped_weights() / "face_model.safetensors") is None
    assert header_of(shipped_weights() / "detection.onnx") is None
    assert len(sha256(shipped_weights() / "detection.onnx")) == 64
