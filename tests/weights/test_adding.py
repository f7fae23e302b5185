"""``add_files`` copies weights to the user's folder; it refuses what does not fit, and leaves the folder as it was."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from thcli import checkpoints
from thcli.checkpoints import MANIFEST, read_manifest, sha256, shipped_weights
from thcli.errors import MediaError, ThgenError, UsageError, WeightsError
from thcli.weights import adding, catalogue
from thcli.weights.adding import add_files

SHIPPED = shipped_weights()


@pytest.fixture
def user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the user's folder of weights, which does not exist yet."""
    folder = tmp_path / "cache" / "models"
    for module in (checkpoints, catalogue, adding):
        monkeypatch.setattr(module, "user_folder", lambda: folder)
    return folder


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a folder by name; none where there is no folder."""
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


def test_add_files_lists_files_so_that_they_are_found(user: Path) -> None:
    names = ["head_motion.safetensors", "expression.safetensors", "detection.onnx", "face_model.safetensors"]
    assert add_files([SHIPPED / name for name in names]) == [user / name for name in names]
    assert read_manifest(user) == {name: sha256(SHIPPED / name) for name in names}
    assert set(content(user)) == {*names, MANIFEST}
    assert checkpoints.find_weights("expression.safetensors") == user / "expression.safetensors"


def test_add_files_keeps_the_hashes_listed_before(user: Path) -> None:
    user.mkdir(parents=True)
    (user / "syncnet.onnx").write_bytes(b"tampered")
    (user / MANIFEST).write_text(f"{'0' * 64}  syncnet.onnx\n")
    add_files([SHIPPED / "head_motion.safetensors"])
    assert read_manifest(user)["syncnet.onnx"] == "0" * 64


@pytest.mark.parametrize(
    ("name", "source", "error", "message"),
    [
        (
            "head_motion.safetensors",
            "expression.safetensors",
            WeightsError,
            "of 'expression', expected one of 'head_motion'",
        ),
        ("speech_adapter.safetensors", "speech_encoder.safetensors", WeightsError, "expected one of 'speech_adapter'"),
        ("expression.safetensors", "mouth_interior.safetensors", WeightsError, "not a thgen checkpoint"),
        ("detection.onnx", "unprojection.onnx", WeightsError, "not a network of this tracker"),
        ("unprojection.onnx", "detection.onnx", WeightsError, "not a network of this tracker"),
        ("face_model.safetensors", "mouth_interior.safetensors", WeightsError, "holds lower, upper, not what"),
        ("mouth_interior.safetensors", "detection.onnx", WeightsError, "not safetensors"),
        ("matting.onnx", "detection.onnx", WeightsError, "not the matting network"),
        ("identity.onnx", "detection.onnx", WeightsError, "no network for --identity"),
        ("other.safetensors", "expression.safetensors", UsageError, "thgen uses no file of this name"),
    ],
)
def test_add_files_refuses_a_file_that_is_not_what_its_name_says(
    user: Path, tmp_path: Path, name: str, source: str, error: type[ThgenError], message: str
) -> None:
    shutil.copyfile(SHIPPED / source, tmp_path / name)
    good = next(file for file in ("head_motion.safetensors", "mouth_interior.safetensors") if file != name)
    with pytest.raises(error, match=message) as caught:
        add_files([SHIPPED / good, tmp_path / name])
    assert str(tmp_path / name) in str(caught.value) or name in str(caught.value)
    assert ".adding" not in str(caught.value) and "\n" not in str(caught.value)
    assert content(user) == {}


def test_add_files_refuses_a_file_with_another_hash(user: Path, tmp_path: Path) -> None:
    file = tmp_path / "head_motion.safetensors"
    shutil.copyfile(SHIPPED / file.name, file)
    with pytest.raises(WeightsError, match=f"SHA-256 is {sha256(file)}, expected 00; get the file again"):
        add_files([file], "00")
    with pytest.raises(UsageError, match="is that of one file, and 2 are given"):
        add_files([file, SHIPPED / "detection.onnx"], sha256(file))
    (tmp_path / MANIFEST).write_text(f"{'0' * 64}  {file.name}\n")
    with pytest.raises(WeightsError, match="SHA256SUMS lists 000000000000…"):
        add_files([file])
    assert content(user) == {}
    (tmp_path / MANIFEST).write_text(f"{'0' * 64}  another.onnx\n")
    add_files([file], sha256(file).upper())
    assert set(content(user)) == {file.name, MANIFEST}


def test_add_files_replaces_a_file_only_with_overwrite(user: Path) -> None:
    file = SHIPPED / "head_motion.safetensors"
    add_files([file])
    with pytest.raises(UsageError, match="exists already; add --overwrite to replace it"):
        add_files([file])
    add_files([file], overwrite=True)
    with pytest.raises(UsageError, match="given twice"):
        add_files([file, file], overwrite=True)


def test_add_files_names_a_folder_that_cannot_be_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(adding, "user_folder", lambda: tmp_path / "file" / "models")
    message = r"file/models: cannot be made \(Not a directory\); let XDG_CACHE_HOME name a folder that can be"
    with pytest.raises(MediaError, match=message):
        add_files([shipped_weights() / "expression.safetensors"])
