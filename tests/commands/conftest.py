"""The command line as a person meets it: an exit code, what was said, and which files lie there afterwards."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from thcli.clips.ffmpeg import executable
from thcli.commands.main import main
from thcli.face_model import FaceModel
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes


@dataclass(frozen=True)
class Said:
    """What a call of thgen came to; ``new`` are the files that were not there before."""

    code: int
    out: str
    err: str
    new: tuple[str, ...]


Thgen = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder of the call, empty."""
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture
def thgen(folder: Path) -> Thgen:
    """thgen(*arguments): run a command in ``folder``."""

    def run(*arguments: object, stdin: bytes | None = None) -> Said:
        before = files(folder)
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
        return Said(result.exit_code, result.stdout, result.stderr, tuple(sorted(files(folder) - before)))

    return run


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def media(folder: Path) -> Callable[..., Path]:
    """media(name, *arguments): a file made by ffmpeg from its own sources."""

    def make(name: str, *arguments: object) -> Path:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        command = [executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments), str(folder / name)]
        subprocess.run(command, check=True)
        return Path(name)

    return make


@pytest.fixture
def faceless_clip(media: Callable[..., Path]) -> Path:
    """Two seconds of a test picture with a tone."""
    picture, tone = "testsrc=size=160x120:rate=25:duration=2", "sine=frequency=200:duration=2"
    return media("bars.mp4", "-f", "lavfi", "-i", picture, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p")


class NoddingTracker:
    """Finds the same face in every frame, a little higher or lower each time."""

    name = "nodding 1"

    def __init__(self, model: FaceModel) -> None:
        self.model, self.calls = model, 0

    def detect(self, frame: np.ndarray) -> list[Detection]:
        return [Detection(face_boxes(self._mesh(frame)), 0.9)]

    def mesh(self, frame: np.ndarray, prior: np.ndarray) -> tuple[np.ndarray, float]:
        self.calls += 1
        return self._mesh(frame), 0.9

    def _mesh(self, frame: np.ndarray) -> np.ndarray:
        height, width = frame.shape[:2]
        middle = np.array([width / 2, height / 2 + np.sin(self.calls / 9), 0], np.float32)
        return (self.model.canonical * np.float32(0.22 * height) + middle).astype(np.float32)


@pytest.fixture
def nodding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every tracker is one that finds a face everywhere, so that a command's own work is tested."""
    from thcli.faces import backends

    monkeypatch.setattr(
        backends, "cached_tracker", lambda name, weights: NoddingTracker(backends.load_face_model(weights))
    )
