"""``installation`` finds the faults of a machine or an installation and says what to do; none stops other checks."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from thcli import checkpoints
from thcli.clips import ffmpeg
from thcli.doctor import installation as module
from thcli.doctor.check import Check
from thcli.weights import catalogue
from thcli.weights.catalogue import ENTRIES


@pytest.fixture(autouse=True)
def nothing_added(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide networks that whoever runs the tests has added."""
    monkeypatch.setattr(catalogue, "user_folder", lambda: tmp_path / "nowhere")


def checks(device: str = "cpu", weights: Path | None = None) -> dict[str, Check]:
    """Return the checks by name; those with a fault, and no others, say what to do."""
    found = list(module.installation(device, weights))
    assert all(check.found and check.ok == (not check.fix) for check in found)
    return {check.name: check for check in found}


def test_installation_finds_no_fault_in_this_environment() -> None:
    found = checks()
    assert [name for name, check in found.items() if not check.ok] == []
    assert list(found)[:5] == ["python", "torch", "onnxruntime", "device", "ffmpeg"]
    assert [entry.name for entry in ENTRIES] == list(found)[5:-2] and list(found)[-2:] == ["space", "memory"]
    assert found["device"].found.startswith("cpu; CUDA ") and "AMX" in found["device"].found
    assert "writes H.264 by " in found["ffmpeg"].found and found["ffmpeg"].found.endswith("aac")
    digest = checkpoints.sha256(checkpoints.shipped_weights() / "expression.safetensors")
    assert found["expression.safetensors"].found.startswith(f"{digest[:12]}…, shipped, ")
    assert "does without it" in found["syncnet.onnx"].found


def test_installation_finds_a_python_that_is_too_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    assert checks()["python"].fix == "install thgen with Python 3.10 to 3.12"


def test_installation_finds_a_library_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> object:
        raise OSError(f"{name}.so: undefined symbol")

    monkeypatch.setattr(module, "import_module", broken)
    found = checks()
    assert found["torch"].found == "cannot be imported (torch.so: undefined symbol)"
    assert found["torch"].fix == "install it again: pip install --force torch"
    assert found["device"].ok  # The other checks run all the same.


def test_installation_finds_a_missing_device() -> None:
    check = checks("cuda:99")["device"]
    assert (check.found, check.fix) == ("--device cuda:99: no such device here", "use --device cpu")


def test_installation_finds_a_missing_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ffmpeg, "candidates", lambda: ())
    check = checks()["ffmpeg"]
    assert not check.ok and "install one of them" in check.fix


def test_installation_finds_another_program_named_ffmpeg(monkeypatch: pytest.MonkeyPatch) -> None:
    from thcli.clips import capabilities

    monkeypatch.setattr(capabilities, "executable", lambda: shutil.which("true"))
    assert "does not answer as ffmpeg does" in checks()["ffmpeg"].found


def test_installation_finds_an_ffmpeg_without_aac(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from thcli.clips import capabilities

    poor = tmp_path / "ffmpeg"
    poor.write_text("#!/bin/sh\necho ffmpeg version 1 of mine; echo ' V....D libx264 H.264'\n")
    poor.chmod(0o755)
    monkeypatch.setattr(capabilities, "executable", lambda: str(poor))
    monkeypatch.setattr(capabilities, "h264_encoder", lambda: ffmpeg.VideoEncoder(str(poor), "libx264", ()))
    check = checks()["ffmpeg"]
    assert (check.found, check.fix) == (f"{poor}: has no encoder for AAC", "install another ffmpeg, or imageio-ffmpeg")


def test_installation_finds_damaged_and_missing_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in checkpoints.shipped_weights().iterdir():
        if path.name != "detection.onnx":
            (tmp_path / path.name).symlink_to(path)
    (tmp_path / "head_motion.safetensors").unlink()
    (tmp_path / "head_motion.safetensors").write_bytes(b"damaged")
    monkeypatch.setattr(checkpoints, "shipped_weights", lambda: tmp_path)
    found = checks()
    assert [name for name, check in found.items() if not check.ok] == ["detection.onnx", "head_motion.safetensors"]
    assert found["detection.onnx"].found == "not there"
    assert "SHA-256 differs from SHA256SUMS" in found["head_motion.safetensors"].found


def test_installation_finds_too_little_space_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(".")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1 << 20))
    monkeypatch.setattr(module, "free_memory", lambda: 1 << 29)
    found = checks()
    assert found["space"].fix.startswith("free some: 0.25 GiB") and found["memory"].found == "0.5 GiB free"
    monkeypatch.setattr(module, "free_memory", lambda: None)
    assert checks()["memory"].ok


def test_installation_reports_a_check_that_raises_as_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> int:
        raise ZeroDivisionError("by zero\nand more")

    monkeypatch.setattr(module, "free_memory", fail)
    assert checks()["memory"].found == "ZeroDivisionError: by zero"
