"""A photo, a clip made of it, and a synthetic voice: what videos are generated from in several files."""

from __future__ import annotations

import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

Say = Callable[..., Path]


@pytest.fixture(scope="session")
def say() -> Say:
    """say(path, seconds, loudness=0.4): a WAV of something like speech.

    A buzz whose formants and loudness change four times a second.
    """

    def write(path: Path, seconds: float, loudness: float = 0.4) -> Path:
        time = np.arange(round(seconds * 16_000)) / 16_000
        pitch = 2 * np.pi * np.cumsum(130 + 20 * np.sin(2 * np.pi * time)) / 16_000
        vowel = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
        voice = sum(np.sin(n * pitch) / n * np.exp(-((n * 130 - 500 - 600 * vowel) ** 2) / 4e5) for n in range(1, 20))
        samples = loudness * vowel * voice / max(float(np.abs(voice).max()), 1e-9)
        with wave.open(str(path), "wb") as file:
            file.setparams((1, 2, 16_000, 0, "NONE", ""))
            file.writeframes((samples * 32767).astype("<i2").tobytes())
        return path

    return write


@pytest.fixture(scope="session")
def inputs(tmp_path_factory: pytest.TempPathFactory, say: Say) -> Path:
    """photo.png of 301x257, second.wav of a second, word.wav of 0.4 s, clip.mp4 of 1.5 s made from the photo.

    The photo's sides are odd, so that those of its videos are one pixel longer.
    """
    from thcli.pipeline import GenerateOptions, generate

    folder = tmp_path_factory.mktemp("inputs")
    Image.fromarray(astronaut()[:257, 70:371]).save(folder / "photo.png")
    say(folder / "second.wav", 1.0)
    say(folder / "word.wav", 0.4)
    options = GenerateOptions(seed=7, blink="0.6", device="cpu")
    generate(folder / "photo.png", say(folder / "sentence.wav", 1.5), folder / "clip.mp4", options)
    return folder
