"""Input that tests of several packages share; everything else is made where it is used."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def speech_wav() -> Path:
    """The demo's speech: 9.3 s, 16 kHz mono."""
    return Path(__file__).parent.parent / "samples" / "speech.wav"


@pytest.fixture(scope="session")
def portrait_png(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's portrait, head and shoulders: 256x256."""
    from PIL import Image
    from skimage.data import astronaut

    path = tmp_path_factory.mktemp("portrait") / "portrait.png"
    Image.fromarray(astronaut()[:256, 96:352]).save(path)
    return path
