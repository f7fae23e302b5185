"""The sidecar: hashes that other tools can make too, and a hash of its own that an edit breaks."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from thcli.errors import MediaError
from thcli.generation.result import FineTuneReport, Result
from thcli.generation.session import job_hashes
from thcli.generation.sidecar import (
    SEAL,
    Sources,
    hash_of_all,
    precision_name,
    read_sidecar,
    rewrite_sidecar,
    seal,
    sidecar_path,
    sources_of,
    write_sidecar,
)
from thcli.pipeline.models import load_models
from thcli.pipeline.options import GenerateOptions

WARP = GenerateOptions(renderer="warp")


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with files of one line; one of them has the name of a word that ``--expression`` takes."""
    monkeypatch.chdir(tmp_path)
    for name in ("ref.png", "speech.wav", "out.mp4", "motion.csv", "audio"):
        (tmp_path / name).write_text(name)
    return tmp_path


def sources(files: Path, options: GenerateOptions = WARP) -> Sources:
    """What a video of these files with the options is made from."""
    models = load_models(options.weights, "cpu", options.precision)
    hashes = job_hashes(models, options)
    return sources_of(files / "ref.png", files / "speech.wav", options.motion_options, hashes)


def result(files: Path, fine_tuned: FineTuneReport | None = None) -> Result:
    """A video of five frames."""
    return Result(files / "out.mp4", 5, (8, 8), {"draw": 2.0}, "cpu", fine_tuned=fine_tuned)


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_sources_are_all_files_that_the_video_is_made_from(files: Path) -> None:
    found = sources(files, GenerateOptions(motion=str(files / "motion.csv"), renderer="warp"))
    roles = {"ref": "ref.png", "audio": "speech.wav", "motion": "motion.csv"}
    assert found.inputs == {role: (files / name, digest(files / name)) for role, name in roles.items()}
    assert set(found.hashes) == {*roles, "weights"}
    assert not any(name.startswith("generator") for name in found.weights)


def test_hash_of_all_weights_is_that_of_their_list() -> None:
    listing = f"{'0' * 64}  a.onnx\n{'1' * 64}  b.onnx\n"
    assert hash_of_all({"b.onnx": "1" * 64, "a.onnx": "0" * 64}) == hashlib.sha256(listing.encode()).hexdigest()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_precision_name_and_job_hashes_tell_what_theta_computes_in(files: Path, precision: str) -> None:
    options = GenerateOptions(precision=precision)
    assert precision_name(load_models(device="cpu", precision=precision)) == precision
    assert "generator.safetensors" in sources(files, options).weights


@pytest.mark.parametrize("precision", [None, "fp32"])
def test_write_sidecar_records_the_precision(files: Path, precision: str | None) -> None:
    written = write_sidecar(sources(files), files / "out.mp4", WARP, result(files), precision)
    assert written["precision"] == precision


def test_write_sidecar_records_the_hash_of_its_video_and_of_itself(files: Path) -> None:
    known = sources(files)
    record = write_sidecar(known, files / "out.mp4", WARP, result(files), None)
    assert record["output"] == {"sha256": digest(files / "out.mp4"), "bytes": 7}
    assert record["weights"] == dict(known.weights)
    assert record["frames_per_second"] == 2.5 and "adapt" not in record
    read = read_sidecar(files / "out.mp4")
    assert read is not None and read[SEAL] == seal(read) == seal(record)


def test_write_sidecar_records_the_outcome_of_fine_tuning(files: Path) -> None:
    outcome = FineTuneReport(5, "adapted", {"ssim": 0.8}, {"ssim": 0.9})
    write_sidecar(sources(files), files / "out.mp4", WARP, result(files, outcome), "fp32")
    read = read_sidecar(files / "out.mp4")
    assert read is not None
    assert read["adapt"] == {"steps": 5, "kept": "adapted", "before": {"ssim": 0.8}, "after": {"ssim": 0.9}}


def test_an_edit_breaks_the_seal_and_rewrite_sidecar_makes_it_anew(files: Path) -> None:
    rewrite_sidecar(files / "out.mp4", {"thgen": "1", "size": (8, 8), "seconds": {"draw": 0.1}})
    record = read_sidecar(files / "out.mp4")
    assert record is not None
    record["seconds"]["draw"] = 0.2
    assert seal(record) != record[SEAL]
    rewrite_sidecar(files / "out.mp4", record)
    again = read_sidecar(files / "out.mp4")
    assert again is not None and again[SEAL] == seal(again) == seal(record)


def test_read_sidecar_gives_none_where_there_is_none_and_refuses_something_else(files: Path) -> None:
    assert read_sidecar(files / "out.mp4") is None
    for content in (b"", b"{", b"\xff\xfe", b"[1]", json.dumps({"size": 1}).encode()):
        sidecar_path(files / "out.mp4").write_bytes(content)
        with pytest.raises(MediaError, match=r"out\.mp4\.json: not a sidecar of thgen; expected"):
            read_sidecar(files / "out.mp4")
