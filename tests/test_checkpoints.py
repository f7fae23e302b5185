"""Weights on disk: checkpoints, manifests, and where they are looked for."""

import hashlib
import os
from pathlib import Path

import pytest
import torch

from thcli.checkpoints import (
    EXPRESSION,
    MANIFEST,
    NO_HOME,
    SHIPPED,
    Header,
    find_weights,
    load_checkpoint,
    load_weights,
    read_header,
    read_manifest,
    save_checkpoint,
    shipped_weights,
    user_folder,
    write_atomic,
    write_manifest,
)
from thcli.errors import WeightsError

HEADER = Header("toy", {"width": 2}, step=5, config={"lr": 0.1}, data={"clips": 3}, metrics={"score": 0.5})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "toy.safetensors"
    save_checkpoint(path, HEADER, torch.nn.Linear(2, 3).state_dict())
    return path


def test_load_checkpoint_returns_what_was_saved(saved: Path) -> None:
    checkpoint = load_checkpoint(saved, "toy")
    assert checkpoint.header == HEADER == read_header(saved)
    assert checkpoint.tensors["weight"].shape == (3, 2)


def test_save_checkpoint_writes_the_same_bytes_for_the_same_content(saved: Path) -> None:
    again = saved.with_name("again.safetensors")
    save_checkpoint(again, HEADER, load_checkpoint(saved, "toy").tensors)
    assert again.read_bytes() == saved.read_bytes()


def test_manifest_is_that_of_sha256sum_and_guards_the_files(saved: Path) -> None:
    write_manifest(saved.parent)
    assert read_manifest(saved.parent) == {saved.name: hashlib.sha256(saved.read_bytes()).hexdigest()}
    assert find_weights(saved.name, saved.parent) == saved
    with saved.open("ab") as file:
        file.write(b"x")
    with pytest.raises(WeightsError, match="SHA-256"):
        find_weights(saved.name, saved.parent)


def test_find_weights_refuses_a_file_that_the_manifest_does_not_list(saved: Path) -> None:
    (saved.parent / MANIFEST).write_text("")
    with pytest.raises(WeightsError, match="not listed"):
        find_weights(saved.name, saved.parent)


def test_find_weights_names_the_folders_where_a_file_is_missing(tmp_path: Path) -> None:
    (tmp_path / EXPRESSION).touch()
    with pytest.raises(WeightsError, match=r"none.safetensors: no such weights in .*--weights"):
        find_weights("none.safetensors", tmp_path)
    with pytest.raises(WeightsError, match="no such folder"):
        find_weights("none.safetensors", tmp_path / "nowhere")


def test_find_weights_refuses_a_folder_that_holds_none_of_what_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "README.md").touch()
    names = rf"holds none of the weights looked for \({', '.join(SHIPPED)}\); give --weights a folder that holds some"
    with pytest.raises(WeightsError, match=names):
        find_weights(SHIPPED[0], tmp_path)


@pytest.mark.skipif(os.name != "posix", reason="has no users without a name")
def test_user_folder_is_in_no_folder_for_a_user_without_home_and_name(monkeypatch: pytest.MonkeyPatch) -> None:
    import pwd

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert user_folder() == NO_HOME / ".cache" / "thgen" / "models"


def test_user_folder_is_in_no_folder_where_none_can_be_made(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "/" + "x" * 300)
    assert user_folder() == NO_HOME / ".cache" / "thgen" / "models"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert user_folder() == tmp_path / ".cache" / "thgen" / "models"


def test_load_checkpoint_and_load_weights_refuse_another_stage_and_other_shapes(saved: Path) -> None:
    with pytest.raises(WeightsError, match="a checkpoint of 'toy', expected one of 'expression'"):
        load_checkpoint(saved, "expression")
    with pytest.raises(WeightsError, match="does not fit"):
        load_weights(torch.nn.Linear(4, 3), load_checkpoint(saved, "toy"), saved)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 pickled", b"\x80\x02}q\x00.", b'\x08\0\0\0\0\0\0\0{"a": 1}'])
def test_load_checkpoint_refuses_foreign_files_in_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a thgen checkpoint") as error:
        load_checkpoint(path, "toy")
    assert "\n" not in str(error.value)


def test_load_checkpoint_refuses_a_truncated_file(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-4])
    with pytest.raises(WeightsError, match="damaged"):
        load_checkpoint(saved, "toy")


def test_write_atomic_leaves_the_old_file_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomic(path, b"new")
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_read_header_names_what_checkpoints_of_earlier_versions_do_not(tmp_path: Path) -> None:
    for dims in ({"stem": 2}, {"stem": 2, "reduction": 4, "subpixel": 2}):
        save_checkpoint(tmp_path / "generator.safetensors", Header("generator", dims), {"a": torch.zeros(1)})
        found = read_header(tmp_path / "generator.safetensors").dims
        assert found == {"stem": 2, "side": 256, "reduction": 1, "subpixel": 1} | dims


def test_read_header_of_a_shipped_checkpoint_describes_it() -> None:
    header = read_header(shipped_weights() / "expression.safetensors")
    assert header.stage == "expression" and header.step > 0
    assert {"clips", "subjects", "face_model"} <= set(header.data) and "correlation" in header.metrics
