"""Faulty, unusual and hostile inputs through the command line, and what must not be left behind by them."""

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
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Scene:
    """Pictures of the face that the repository's tests have."""

    def whole(self) -> Pictures:
        """The photograph of which the portrait is a part: [512, 512, 3]."""
        from skimage import data

        return np.asarray(data.astronaut(), np.uint8)

    def portrait(self, shift: int = 0) -> Pictures:
        """The portrait [256, 256, 3], its face moved to the right by so many pixels."""
        return self.whole()[:SIDE, 96 - shift : 96 - shift + SIDE]

    def moving(self, frames: int, pixels: float = 6.0) -> Pictures:
        """The portrait [T, 256, 256, 3] moving to and fro."""
        return np.stack([self.portrait(round(pixels * np.sin(t / 3))) for t in range(frames)])


GENERATE = ("generate", "--renderer", "warp", "--device", "cpu")


@pytest.fixture(scope="session")
def encode(ffmpeg: Callable[..., None]) -> Callable[..., None]:
    """encode(path, pictures [T, H, W, 3], *options, rate=25): a video of them.

    Options are those of ffmpeg's command line after its input.
    """

    def run(path: Path, pictures: Pictures, *options: object, rate: object = 25) -> None:
        raw = path.with_suffix(".raw")
        raw.write_bytes(pictures.tobytes())
        size = f"{pictures.shape[2]}x{pictures.shape[1]}"
        pixels = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
        ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", raw, *options, *pixels, path)
        raw.unlink()

    return run


@pytest.fixture(scope="session")
def kit(
    tmp_path_factory: pytest.TempPathFactory, portrait_png: Path, speech_wav: Path, encode: Callable[..., None]
) -> Path:
    """A folder with photo.png, speech.wav of 0.2 s, and clip.mp4: 1 s of the portrait moving to and fro, with sound."""
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
    """The current folder, with the kit in it; temporary files lie beside it."""
    for path in kit.iterdir():
        (folder / path.name).symlink_to(path)
    temporary = folder.with_name("temporary")
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return folder


@pytest.fixture
def listing(folder: Path) -> Callable[[], set[str]]:
    """listing(): all that is in the current or the temporary folder now, hidden files and folders too."""
    root = folder.parent
    return lambda: {str(path.relative_to(root)).removeprefix("here/") for path in root.rglob("*")}


@pytest.fixture
def generate(thgen: Callable[..., Any]) -> Callable[..., Any]:
    """generate(ref, audio, *options): make out.mp4 by the fastest way."""

    def run(ref: object = "photo.png", audio: object = "speech.wav", *options: object) -> Any:
        named = () if "-o" in options else ("-o", "out.mp4")
        return thgen(*GENERATE, "--ref", ref, "--audio", audio, *named, *options)

    return run


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Pictures of a face."""
    return Scene()


@pytest.fixture
def film(folder: Path, encode: Callable[..., None]) -> Callable[..., str]:
    """film(name, pictures [T, H, W, 3], *options, rate=25): as ``encode``, in the current folder; its name."""

    def run(name: str, pictures: Pictures, *options: object, rate: object = 25) -> str:
        encode(folder / name, pictures, *options, rate=rate)
        return name

    return run
