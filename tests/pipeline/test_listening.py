"""A recording of any length is heard as a whole would be, in memory that grows with its samples alone."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.pipeline import listening
from thcli.pipeline.listening import Heard, listen
from thcli.pipeline.models import Models, load_models
from thcli.records import Speech


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture(scope="module")
def speech(speech_wav: Path) -> Speech:
    """Nineteen seconds of speech."""
    once = read_speech(speech_wav)
    return replace(once, samples=np.tile(once.samples, 2))


@pytest.fixture(scope="module")
def whole(models: Models, speech: Speech) -> Heard:
    return listen(models, speech)


def test_a_recording_in_pieces_is_heard_as_the_whole_is(models, speech, whole, monkeypatch):
    monkeypatch.setattr(listening, "PIECE", 100)
    monkeypatch.setattr(listening, "AROUND", 125)
    pieces = listen(models, speech)
    assert len(pieces.moved) == len(pieces.closure) == len(pieces.activity) == speech.n_frames
    gap = models.face_model.lip_gap
    assert np.corrcoef(pieces.moved @ gap, whole.moved @ gap)[0, 1] > 0.99
    assert (pieces.activity != whole.activity).mean() < 0.05


def test_memory_grows_with_the_samples_alone(models, speech, monkeypatch):
    monkeypatch.setattr(listening, "PIECE", 100)
    monkeypatch.setattr(listening, "AROUND", 25)
    most = []
    for times in (1, 4):
        longer = replace(speech, samples=np.tile(speech.samples, times))
        listen(models, longer)
        tracemalloc.start()
        listen(models, longer)
        most.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # In pieces, what is heard of a frame takes 88 bytes; as a whole, some 15,000.
    assert most[1] - most[0] < 600 * 3 * speech.n_frames, most
