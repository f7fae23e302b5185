"""The demonstration: a moving clip made from a public-domain portrait, and a talking video made from that clip."""

from __future__ import annotations

import tempfile
import wave
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from thcli.errors import UsageError
from thcli.generation import generate
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.progress import Progress

if TYPE_CHECKING:
    from thcli.records import Image

PORTRAIT, REFERENCE, VIDEO = "portrait.png", "reference.mp4", "demo.mp4"
CLIP_SECONDS = 3
"""Length in seconds of the moving clip."""


def make_demo(folder: Path, overwrite: bool = False, progress: Progress | None = None) -> Path:
    """Write the portrait, a moving clip made from it, and the talking video made from that clip; return its path.

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
    """Load NASA's portrait of Eileen Collins from scikit-image: [512, 512, 3] uint8, in the public domain."""
    import numpy as np
    from PIL import Image as Pillow

    # The file is read directly, because skimage.data needs a home folder.
    file = Path(str(resources.files("skimage"))) / "data" / "astronaut.png"
    return np.asarray(Pillow.open(file).convert("RGB"))


def write_png(path: Path, image: Image) -> None:
    """Write an image [H, W, 3] to a PNG file, which appears only once it is complete."""
    import io

    from PIL import Image as Pillow

    from thcli.checkpoints import write_atomic

    buffer = io.BytesIO()
    Pillow.fromarray(image).save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def copy_part(source: Path, target: Path, start: float, seconds: float) -> None:
    """Copy ``seconds`` of a WAV file from the second ``start`` on to another WAV file."""
    with wave.open(str(source), "rb") as audio, wave.open(str(target), "wb") as part:
        part.setparams(audio.getparams())
        audio.setpos(round(start * audio.getframerate()))
        part.writeframes(audio.readframes(round(seconds * audio.getframerate())))
