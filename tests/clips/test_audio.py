"""Sound of any kind to 16 kHz mono."""

from __future__ import annotations

import io
import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thcli.clips.audio import local_audio, read_speech
from thcli.errors import MediaError
from thcli.records import SAMPLE_RATE

SINE = ("-f", "lavfi", "-i")


def peak_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * SAMPLE_RATE / len(samples))


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
@pytest.mark.parametrize("name", ["a.wav", "a.mp3", "a.m4a", "a.flac", "a.opus", "a.ogg", "a.mkv"])
def test_read_speech_reads_any_format_and_rate(make, name, rate):
    if rate == 44100 and name == "a.opus":
        pytest.skip("Opus has no 44.1 kHz")
    speech = read_speech(make(name, *SINE, f"sine=f=440:r={rate}:d=1.5"))
    assert speech.samples.dtype == np.float32 and speech.samples.ndim == 1
    assert abs(speech.seconds - 1.5) < 0.06
    assert abs(peak_hz(speech.samples) - 440) < 2
    assert 0.02 < np.abs(speech.samples).max() <= 1


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
def test_read_speech_mixes_channels(make, layout):
    path = make("a.wav", *SINE, "sine=f=300:d=1", "-af", f"aformat=channel_layouts={layout}")
    assert abs(peak_hz(read_speech(path).samples) - 300) < 2


def test_read_speech_reads_the_sound_of_a_video_and_the_centre_of_surround(make):
    pan = "pan=5.1|FC=c0"
    path = make("a.mp4", *SINE, "testsrc=s=64x48:d=1", *SINE, "sine=f=500:d=1", "-af", pan)
    assert abs(peak_hz(read_speech(path).samples) - 500) < 2


def test_read_speech_reads_parts_to_the_sample(write_wav):
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, SAMPLE_RATE * 2)
    path = write_wav("a.wav", noise)
    whole = read_speech(path).samples
    np.testing.assert_allclose(whole, noise, atol=1e-6)
    np.testing.assert_array_equal(read_speech(path, start=0.44, seconds=0.8).samples, whole[7040:19840])


def test_read_speech_pads_sound_that_begins_late(make):
    path = make(
        "a.mkv", *SINE, "testsrc=s=64x48:d=1.2", "-itsoffset", 0.4, *SINE, "sine=f=440:d=0.8",
        "-map", 0, "-map", 1, "-c:a", "pcm_s16le",
    )  # fmt: skip
    samples = read_speech(path).samples
    assert np.abs(samples[: int(0.39 * SAMPLE_RATE)]).max() < 1e-3
    assert np.abs(samples[int(0.41 * SAMPLE_RATE) :]).max() > 0.02


def test_read_speech_scales_floats_that_are_too_loud(write_wav):
    tone = 3 * np.sin(np.arange(SAMPLE_RATE) * 0.1)
    np.testing.assert_allclose(read_speech(write_wav("a.wav", tone)).samples, tone / np.abs(tone).max(), atol=1e-5)


def test_read_speech_reads_standard_input(make, monkeypatch):
    path = make("a.m4a", *SINE, "sine=d=1")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(path.read_bytes())))
    speech = read_speech("-")
    assert speech.path == Path("-")
    np.testing.assert_array_equal(speech.samples, read_speech(path).samples)


def test_read_speech_names_standard_input_in_messages(monkeypatch):
    for data in (b"", b"no sound at all\n" * 20):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        with pytest.raises(MediaError, match=r"^standard input: "):
            read_speech("-")


def test_local_audio_copies_a_named_pipe_and_removes_the_copy(make, tmp_path):
    path, fifo = make("a.wav", *SINE, "sine=d=1"), tmp_path / "fifo"
    os.mkfifo(fifo)
    feeder = threading.Thread(target=lambda: fifo.write_bytes(path.read_bytes()))
    feeder.start()
    with local_audio(fifo) as local:
        feeder.join()
        assert local.is_file()
        np.testing.assert_array_equal(read_speech(local).samples, read_speech(path).samples)
    assert not local.exists()
    with local_audio(path) as same:
        assert same == path


def refuses(path: Path, words: str) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        read_speech(path)
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_read_speech_refuses_missing_empty_and_short_sound(make, write_wav, tmp_path):
    refuses(make("a.mp4", *SINE, "testsrc=s=64x48:d=1"), "no audio stream")
    refuses(tmp_path / "none.wav", "no such file")
    (tmp_path / "empty.wav").touch()
    refuses(tmp_path / "empty.wav", "empty")
    refuses(write_wav("zero.wav", np.zeros(0)), "expected at least 0.1 s")
    refuses(write_wav("short.wav", np.zeros(1500)), "expected at least 0.1 s")
    assert read_speech(write_wav("enough.wav", np.zeros(1600))).n_frames == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_read_speech_refuses_samples_that_are_not_numbers(write_wav, bad):
    samples = np.zeros(SAMPLE_RATE)
    samples[700] = bad
    refuses(write_wav("a.wav", samples), "not numbers")
