"""What is done once for a video, or for a batch: media are looked into, and networks are loaded."""

from __future__ import annotations

import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from thcli import GenerateOptions, generate
from thcli.checkpoints import shipped_weights
from thcli.face_model import FaceModel
from thcli.faces import backends
from thcli.generation.session import Session
from thcli.pipeline import models
from thcli.pipeline.progress import Quiet
from thcli.render.mouth_interior import MouthInterior

LOADERS = (
    (FaceModel, "load"),
    (MouthInterior, "load"),
    (backends, "load_tracker"),
    (models, "load_expression_learner"),
    (models, "load_head_motion_learner"),
    (models, "load_generator"),
)
"""The functions that load a network from its file, and where each is looked up."""


@pytest.fixture
def commands(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The arguments of every process that is started here; it runs all the same.

    With more workers than one, the clip would be read in a process of its own, whose commands are not seen here.
    """
    started: list[list[str]] = []

    class Recorded(subprocess.Popen):
        def __init__(self, arguments, *others, **options):
            started.append([arguments] if isinstance(arguments, str) else [str(part) for part in arguments])
            super().__init__(arguments, *others, **options)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


def on_file(commands: list[list[str]], path: Path) -> tuple[int, int]:
    """How many processes took a file, and how many of them only looked into it."""
    found = [command for command in commands if any(str(path) in part for part in command)]
    return len(found), sum(any("showinfo" in part for part in command) for command in found)


@pytest.mark.parametrize("report", [False, True])
def test_generate_starts_the_fewest_ffmpegs_on_a_clip_and_a_recording(
    inputs: Path, tmp_path: Path, commands: list[list[str]], report: bool
) -> None:
    """Of the clip, a probe, a look at its shots, and a decode of picture and sound; of the recording, a probe.

    The recording is also read as speech, for samples at full scale, and by the encoder of the video.
    """
    given = tmp_path / "report.json" if report else None
    options = GenerateOptions(device="cpu", workers=1, renderer="warp", motion="still", report=given)
    generate(inputs / "clip.mp4", inputs / "word.wav", tmp_path / "out.mp4", options)
    assert on_file(commands, inputs / "clip.mp4") == (4, 1)
    assert on_file(commands, inputs / "word.wav") == (4, 1)


def test_generate_starts_no_ffmpeg_on_a_photo(inputs: Path, tmp_path: Path, commands: list[list[str]]) -> None:
    options = GenerateOptions(device="cpu", workers=1, renderer="warp", motion="still")
    generate(inputs / "photo.png", inputs / "word.wav", tmp_path / "out.mp4", options)
    assert on_file(commands, inputs / "photo.png") == (0, 0)


@pytest.fixture
def unseen_weights(theta_weights: Path, tmp_path: Path) -> Path:
    """A folder of weights that no test has loaded: networks stay in memory by the content of their files."""
    folder = tmp_path / "weights"
    folder.mkdir()
    own = str(folder)
    # An adapter fits its own encoder alone.
    same = ("generator", "speech_encoder", "speech_adapter")
    shipped = [path for path in shipped_weights().glob("*.safetensors") if path.stem not in same]
    for path in (*shipped, theta_weights / "generator.safetensors"):
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
        save_file(load_file(path), folder / path.name, {**metadata, "folder": own})
    for name in ("detection.onnx", "unprojection.onnx", "matting.onnx"):
        documentation = b"\x32" + bytes([len(own)]) + own.encode()  # field 6 of an ONNX model, a text
        (folder / name).write_bytes((shipped_weights() / name).read_bytes() + documentation)
    return folder


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each loader was called; it loads all the same."""
    calls: Counter[str] = Counter()

    def counted(name: str, load: Callable[..., object]) -> Callable[..., object]:
        def run(*arguments, **options):
            calls[name] += 1
            return load(*arguments, **options)

        return run

    for owner, name in LOADERS:
        label = f"{owner.__name__}.{name}"
        monkeypatch.setattr(owner, name, counted(label, getattr(owner, name)))
    return calls


@pytest.mark.parametrize("batch", [False, True])
def test_session_loads_each_network_once_for_two_videos(
    inputs: Path, tmp_path: Path, unseen_weights: Path, loaded: Counter[str], batch: bool
) -> None:
    photo = np.asarray(Image.open(inputs / "photo.png"))
    Image.fromarray(photo[:, ::-1]).save(tmp_path / "mirrored.png")
    session = Session(batch=batch)
    options = GenerateOptions(device="cpu", workers=1, precision="fp32", weights=unseen_weights)
    for number, reference in enumerate((inputs / "photo.png", tmp_path / "mirrored.png")):
        job = session.prepare(reference, inputs / "word.wav", options, Quiet())
        session.finish(job, tmp_path / f"{number}.mp4", Quiet())
    assert loaded == {f"{owner.__name__}.{name}": 1 for owner, name in LOADERS}


def test_sessions_of_one_process_share_the_networks(
    inputs: Path, tmp_path: Path, unseen_weights: Path, loaded: Counter[str]
) -> None:
    options = GenerateOptions(device="cpu", workers=1, precision="fp32", weights=unseen_weights)
    jobs = [Session().prepare(inputs / "photo.png", inputs / "word.wav", options, Quiet()) for _ in range(2)]
    thetas = {id(job.renderer.neural.theta) for job in jobs if job.renderer.neural}
    assert len(thetas) == 1
    assert loaded == {f"{owner.__name__}.{name}": 1 for owner, name in LOADERS}
