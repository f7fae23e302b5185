"""Faulty, unusual and hostile inputs through the command line, and what must not be left behind by them."""

from __future__ import annotations

import subprocess
import tempfile
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from thcli.clips.ffmpeg import executable

SIDE = 256
Pictures = NDArray[np.uint8]


@dataclass(frozen=True)
class Said:
    """What a call came to; ``new``: files that were not there before, in the current or the temporary folder."""

    code: int
    out: str
    err: str
    new: tuple[str, ...]

    @property
    def notes(self) -> list[str]:
        """What is said beside the last line."""
        return [line.removeprefix("thgen: note: ") for line in self.err.splitlines() if "note: " in line]

    def refused(self, code: int, message: str) -> None:
        """One line, that exit code, and nothing else."""
        assert self.err == f"thgen: error: {message}\n"
        assert (self.code, self.out, self.new) == (code, "", ())


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


Thgen = Callable[..., Said]
GENERATE = ("generate", "--renderer", "warp", "--device", "cpu")


@pytest.fixture(scope="session")
def kit(tmp_path_factory: pytest.TempPathFactory, portrait_png: Path, speech_wav: Path) -> Path:
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
def folder(tmp_path: Path, kit: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with the kit in it."""
    here, temporary = tmp_path / "here", tmp_path / "temporary"
    here.mkdir()
    temporary.mkdir()
    for path in kit.iterdir():
        (here / path.name).symlink_to(path)
    monkeypatch.chdir(here)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    return here


@pytest.fixture
def thgen(folder: Path) -> Thgen:
    """thgen(*arguments): run a command in ``folder``."""
    from thcli.commands.main import main

    def run(*arguments: object, stdin: bytes | None = None) -> Said:
        before = files(folder.parent)
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
        return Said(result.exit_code, result.stdout, result.stderr, tuple(sorted(files(folder.parent) - before)))

    return run


@pytest.fixture
def generate(thgen: Thgen) -> Thgen:
    """generate(ref, audio, *options): make out.mp4 by the fastest way."""

    def run(ref: object = "photo.png", audio: object = "speech.wav", *options: object) -> Said:
        named = () if "-o" in options else ("-o", "out.mp4")
        return thgen(*GENERATE, "--ref", ref, "--audio", audio, *named, *options)

    return run


@pytest.fixture(scope="session")
def scene() -> Scene:
    """Pictures of a face."""
    return Scene()


@pytest.fixture
def film(folder: Path) -> Callable[..., str]:
    """film(name, pictures [T, H, W, 3], *options, rate=25): a video of them; its name."""

    def run(name: str, pictures: Pictures, *options: object, rate: object = 25) -> str:
        encode(folder / name, pictures, *options, rate=rate)
        return name

    return run


@pytest.fixture
def make(folder: Path) -> Callable[..., str]:
    """make(name, *arguments): a file made by ffmpeg; its name."""

    def run(name: str, *arguments: object) -> str:
        ffmpeg(*arguments, folder / name)
        return name

    return run


def files(folder: Path) -> set[str]:
    """All that is in a folder, hidden files too, without the folder ``here`` in their names."""
    return {str(path.relative_to(folder)).removeprefix("here/") for path in folder.rglob("*")}


def ffmpeg(*arguments: object) -> None:
    subprocess.run([executable(), "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True)


def encode(path: Path, pictures: Pictures, *options: object, rate: object = 25) -> None:
    """Pictures [T, H, W, 3] to a video; options are those of ffmpeg's command line after its input."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(pictures.tobytes())
    size = f"{pictures.shape[2]}x{pictures.shape[1]}"
    pixels = () if "-pix_fmt" in options else ("-pix_fmt", "yuv420p")
    ffmpeg("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", size, "-r", rate, "-i", raw, *options, *pixels, path)
    raw.unlink()
