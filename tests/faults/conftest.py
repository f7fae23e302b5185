"""Fixtures that pass faulty, unusual and hostile input through the command line and list what it leaves behind."""

from __future__ import annotations

import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

SIDE = 256
Images = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Images of the face that the tests of this repository use."""

    def whole(self) -> Images:
        """Return the photograph of which the portrait is a part: [512, 512, 3]."""
        from skimage import data

        return np.asarray(data.astronaut(), np.uint8)

    def portrait(self, shift: int = 0) -> Images:
        """Return the portrait [256, 256, 3] with its face moved to the right by ``shift`` pixels."""
        return self.whole()[:SIDE, 96 - shift : 96 - shift + SIDE]

    def moving(self, frames: int, pixels: float = 6.0) -> Images:
        """Return the portrait [T, 256, 256, 3] moving to and fro."""
        return np.stack([self.portrait(round(pixels * np.sin(t / 3))) for t in range(frames)])


GENERATE = ("generate", "--renderer", "warp", "--device", "cpu")


@pytest.fixture(scope="session")
def encode(ffmpeg: Callable[..., None]) -> Callable[..., None]:
    """encode(path, images [T, H, W, 3], *options, rate=25) writes a video of images.

    Options are those of ffmpeg's command line after its input.
    """

    def run(path: Path, images: Images, *options: object, rate: object = 25) -> None:
        raw = path.with_suffix(".raw")
        raw.write_bytes(images.tobytes())
        size = f"{images.shape[2]}x{images.shape[1]}"
        pixels = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
        ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", raw, *options, *pixels, path)
        raw.unlink()

    return run


@pytest.fixture(scope="session")
def kit(
    tmp_path_factory: pytest.TempPathFactory, portrait_png: Path, speech_wav: Path, encode: Callable[..., None]
) -> Path:
    """Make photo.png, speech.wav of 0.2 s, and clip.mp4: 1 s of the portrait moving to and fro, with sound."""
    folder = tmp_path_factory.mktemp("kit")
    (folder / "photo.png").write_bytes(portrait_png.read_bytes())
    with wave.open(str(speech_wav), "rb") as whole, wave.open(str(folder / "speech.wav"), "wb") as part:
        part.setparams(whole.getparams())
        whole.setpos(16_000)
        part.writeframes(whole.readframes(3200))
    encode(folder / "clip.mp4", Scene().moving(25), "-i", speech_wav, "-shortest")
    return folder


@pytest.fixture
def folder(folder: Path, kit: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the kit into the current folder, and temporary files beside that."""
    for path in kit.iterdir():
        (folder / path.name).symlink_to(path)
    temporary = folder.with_name("temporary")
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder


@pytest.fixture
def listing(folder: Path) -> Callable[[], set[str]]:
    """listing() returns all that is in the current or the temporary folder now, hidden files and folders too."""
    root = folder.parent
    return lambda: {str(path.relative_to(root)).removeprefix("here/") for path in root.rglob("*")}


@pytest.fixture
def generate(thgen: Callable[..., Any]) -> Callable[..., Any]:
    """generate(ref, audio, *options) makes out.mp4 with the faster renderer."""

    def run(ref: object = "photo.png", audio: object = "speech.wav", *options: object) -> Any:
        named = () if "-o" in options else ("-o", "out.mp4")
        return thgen(*GENERATE, "--ref", ref, "--audio", audio, *named, *options)

    return run


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Images of a face."""
    return Scene()


@pytest.fixture
def film(folder: Path, encode: Callable[..., None]) -> Callable[..., str]:
    """film(name, images [T, H, W, 3], *options, rate=25) does as ``encode`` in the current folder; returns the name."""

    def run(name: str, images: Images, *options: object, rate: object = 25) -> str:
        encode(folder / name, images, *options, rate=rate)
        return name

    return run
