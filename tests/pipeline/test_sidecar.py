"""The sidecar: hashes that other tools can make too, and a hash of its own that an edit breaks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from thcli.errors import MediaError
from thcli.generate.sidecar import (
    SEAL,
    hash_of_all,
    read_sidecar,
    rewrite_sidecar,
    seal,
    sidecar_path,
    sources_of,
    write_sidecar,
)
from thcli.pipeline import GenerateOptions, Result


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("ref.png", "speech.wav", "out.mp4", "motion.csv", "audio"):
        (tmp_path / name).write_text(name)
    return tmp_path


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sources_are_all_that_the_video_is_made_from(files: Path) -> None:
    options = GenerateOptions(motion=str(files / "motion.csv"), renderer="warp")  # a file called audio is no expression
    sources = sources_of(files / "ref.png", files / "speech.wav", options, "cpu")
    roles = {"ref": "ref.png", "audio": "speech.wav", "motion": "motion.csv"}
    assert sources.inputs == {role: (files / name, digest(files / name)) for role, name in roles.items()}
    assert set(sources.hashes) == {*roles, "weights"}
    assert not any(name.startswith("generator") for name in sources.weights)


def test_the_hash_of_all_weights_is_that_of_their_list() -> None:
    listing = f"{'0' * 64}  a.onnx\n{'1' * 64}  b.onnx\n"
    assert hash_of_all({"b.onnx": "1" * 64, "a.onnx": "0" * 64}) == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize(
    ("options", "precision"),
    [
        (GenerateOptions(renderer="warp"), None),
        (GenerateOptions(precision="fp32"), "fp32"),
        (GenerateOptions(precision="bf16"), "bf16"),
    ],
)
def test_it_says_what_theta_computed_in(files: Path, options: GenerateOptions, precision: str | None) -> None:
    sources = sources_of(files / "ref.png", files / "speech.wav", options, "cpu")
    result = Result(files / "out.mp4", 5, (8, 8), {"draw": 2.0}, "cpu")
    assert write_sidecar(sources, files / "out.mp4", options, result)["precision"] == precision
    checkpoint, exported = ("generator.safetensors" in sources.weights, "generator.onnx" in sources.weights)
    assert (checkpoint, exported) == (precision == "bf16", precision == "fp32")


def test_it_holds_the_hash_of_its_video_and_of_itself(files: Path) -> None:
    options = GenerateOptions(renderer="warp")
    sources = sources_of(files / "ref.png", files / "speech.wav", options, "cpu")
    record = write_sidecar(
        sources, files / "out.mp4", options, Result(files / "out.mp4", 5, (8, 8), {"draw": 2.0}, "cpu")
    )
    assert record["output"] == {"sha256": digest(files / "out.mp4"), "bytes": 7}
    assert record["weights"] == dict(sources.weights)
    read = read_sidecar(files / "out.mp4")
    assert read is not None and read[SEAL] == seal(read) == seal(record)


def test_an_edit_breaks_the_seal_and_a_rewrite_makes_it_anew(files: Path) -> None:
    rewrite_sidecar(files / "out.mp4", {"thgen": "1", "size": (8, 8), "seconds": {"draw": 0.1}})
    record = read_sidecar(files / "out.mp4")
    assert record is not None
    record["seconds"]["draw"] = 0.2
    assert seal(record) != record[SEAL]
    rewrite_sidecar(files / "out.mp4", record)
    again = read_sidecar(files / "out.mp4")
    assert again is not None and again[SEAL] == seal(again) == seal(record)


def test_there_may_be_none_or_something_else(files: Path) -> None:
    assert read_sidecar(files / "out.mp4") is None
    for content in (b"", b"{", b"\xff\xfe", b"[1]", json.dumps({"size": 1}).encode()):
        sidecar_path(files / "out.mp4").write_bytes(content)
        with pytest.raises(MediaError, match=r"out\.mp4\.json: not a sidecar of thgen; expected"):
            read_sidecar(files / "out.mp4")
