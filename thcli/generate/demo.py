"""The demonstration: from a public-domain portrait to a moving clip, and from that clip to a talking video."""

from __future__ import annotations

import tempfile
import wave
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from thcli.errors import UsageError
from thcli.pipeline import GenerateOptions, Progress, generate

if TYPE_CHECKING:
    from thcli.records import Image

PORTRAIT, REFERENCE, VIDEO = "portrait.png", "reference.mp4", "demo.mp4"
CLIP_SECONDS = 3


def make_demo(folder: Path, overwrite: bool = False, progress: Progress | None = None) -> Path:
    """Write the portrait, a moving clip made from it, and the talking video made from that clip, which is returned.

    Raises UsageError where one of them exists and is not to be overwritten, and whatever ``generate`` raises.
    """
    present = [folder / name for name in (PORTRAIT, REFERENCE, VIDEO) if (folder / name).exists()]
    if present and not overwrite:
        raise UsageError(f"{present[0]}: exists already; add --overwrite, or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_png(folder / PORTRAIT, portrait())
    speech = Path(str(resources.files("thgen_samples"))) / "speech.wav"
    options = GenerateOptions(overwrite=overwrite)
    with tempfile.TemporaryDirectory() as scratch:
        opening = Path(scratch) / "opening.wav"
        copy_part(speech, opening, 0, CLIP_SECONDS)
        generate(folder / PORTRAIT, opening, folder / REFERENCE, options, progress)
    generate(folder / REFERENCE, speech, folder / VIDEO, options, progress)
    return folder / VIDEO


def portrait() -> Image:
    """NASA's portrait of Eileen Collins, in the public domain, as scikit-image carries it: [512, 512, 3] uint8."""
    from skimage import data

    picture: Image = data.astronaut()
    return picture


def write_png(path: Path, picture: Image) -> None:
    """A picture as a file; beside it, then renamed."""
    import io

    from PIL import Image as Pillow

    from thcli.checkpoints import write_atomic

    buffer = io.BytesIO()
    Pillow.fromarray(picture).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def copy_part(source: Path, target: Path, start: float, seconds: float) -> None:
    """A part of a WAV file as another."""
    with wave.open(str(source), "rb") as sound, wave.open(str(target), "wb") as part:
        part.setparams(sound.getparams())
        sound.setpos(round(start * sound.getframerate()))
        part.writeframes(sound.readframes(round(seconds * sound.getframerate())))
