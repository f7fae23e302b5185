"""What a wheel of thgen holds: every module, the weights with their cards, samples, configurations, pages."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
DATA = ("*.yaml", "*.html", "*.css", "*.js")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Built from a copy, in which the weights are empty: 40 MB would have to be packed."""
    copy = tmp_path_factory.mktemp("wheel") / "thgen"
    for name in ("thcli", "models", "samples"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "weights", ".*"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "thcli" / "weights").mkdir()
    for path in (ROOT / "thcli" / "weights").glob("*.py"):  # a package of that name, and no file of weights
        shutil.copy(path, copy / "thcli" / "weights")
    (copy / "models" / "weights").mkdir()
    for path in (ROOT / "models" / "weights").iterdir():
        (copy / "models" / "weights" / path.name).touch()
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    done = subprocess.run([sys.executable, "-c", build], cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(copy / done.stdout.splitlines()[-1])


def test_wheel_holds_everything_that_is_needed_at_run_time(wheel: zipfile.ZipFile) -> None:
    packages = {"thcli": "thcli", "models": "thgen_models", "samples": "thgen_samples"}
    expected = {
        f"{package}/{path.relative_to(ROOT / folder)}"
        for folder, package in packages.items()
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and (path.suffix == ".py" or any(path.match(kind) for kind in DATA))
    }
    expected |= {f"thgen_models/weights/{path.name}" for path in (ROOT / "models" / "weights").iterdir()}
    expected |= {f"thgen_samples/{name}" for name in ("speech.wav", "README.md")}
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert held == expected
    assert sum(name.endswith((".safetensors", ".onnx")) for name in held) >= 9


def test_wheel_states_its_command_and_requirements(wheel: zipfile.ZipFile) -> None:
    (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
    assert "thgen = thcli.commands.main:main" in wheel.read(f"{folder}/entry_points.txt").decode()
    metadata = wheel.read(f"{folder}/METADATA").decode()
    assert "Requires-Dist: torch>=2.10" in metadata and "Requires-Python: <3.13,>=3.10" in metadata
    assert any(name.endswith("/LICENSE") for name in wheel.namelist())
