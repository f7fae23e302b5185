"""A short list of jobs that run in seconds."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import pytest


@pytest.fixture
def listed(tmp_path: Path, portrait_png: Path, speech_wav: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """jobs.jsonl: three videos of ten frames, rendered without Θ; the cache of tracks is the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with wave.open(str(speech_wav)) as whole, wave.open(str(tmp_path / "word.wav"), "wb") as word:
        word.setparams(whole.getparams())
        word.writeframes(whole.readframes(6400))
    lines = [
        {"id": name, "ref": str(portrait_png), "audio": "word.wav", "renderer": "warp", "seed": seed, "device": "cpu"}
        for seed, name in enumerate(("one", "two", "three"))
    ]
    source = tmp_path / "jobs.jsonl"
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return source
