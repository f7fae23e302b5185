"""Media made on the spot from ffmpeg's own sources."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path, ffmpeg: Callable[..., None]) -> Make:
    """make(name, *arguments): run ffmpeg with the arguments to write tmp_path/name."""

    def run(name: str, *arguments: object) -> Path:
        target = tmp_path / name
        ffmpeg(*arguments, target)
        return target

    return run


@pytest.fixture
def counter(make: Make, tmp_path: Path) -> Callable[..., Path]:
    """counter(name, levels, fps, *options): a video whose nth frame is grey of the nth level."""

    def run(name: str, levels: NDArray[np.uint8], fps: object, *options: object) -> Path:
        raw = tmp_path / "levels.rgb"
        raw.write_bytes(b"".join(bytes([level]) * (64 * 48 * 3) for level in levels))
        source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "64x48", "-r", fps, "-i", raw)
        return make(name, *source, "-c:v", "libx264", "-qp", 0, "-pix_fmt", "yuv444p", *options)

    return run


@pytest.fixture
def write_wav(tmp_path: Path) -> Callable[..., Path]:
    """write_wav(name, samples [S] or [S, C], rate): 32-bit float WAV, NaN and all."""

    def run(name: str, samples: NDArray[np.floating], rate: int = 16_000) -> Path:
        data = np.atleast_2d(np.asarray(samples, "<f4").T).T
        raw = data.tobytes()
        channels = data.shape[1]
        head = np.array([3 | channels << 16, rate, rate * 4 * channels, 4 * channels | 32 << 16], "<u4").tobytes()
        body = b"WAVEfmt " + len(head).to_bytes(4, "little") + head + b"data" + len(raw).to_bytes(4, "little") + raw
        target = tmp_path / name
        target.write_bytes(b"RIFF" + len(body).to_bytes(4, "little") + body)
        return target

    return run


@pytest.fixture
def open_descriptors() -> Callable[[], int]:
    """How many files this process has open (Linux and macOS)."""
    return lambda: sum(1 for _ in Path("/dev/fd").iterdir())
