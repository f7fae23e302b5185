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

from thcli.clips.audio import local_audio, measure_levels, read_speech
from thcli.clips.probe import probe
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


@pytest.mark.filterwarnings("error")
def test_read_speech_refuses_samples_beyond_all_measure_and_scales_those_of_integers(write_wav):
    samples = np.zeros(SAMPLE_RATE)
    samples[700:720] = 30_000.0
    assert read_speech(write_wav("integers.wav", samples)).samples.max() == 1
    samples[700] = 1e30
    refuses(write_wav("a.wav", samples), r"a sample of 1e\+30, expected -1 to 1; export the recording again")


BEEP = "aevalsrc='gte(t,{0})*lt(t,{0}+0.2)*0.8*sin(2*PI*1000*t)':s=48000:d={1}"


def beep_at(samples: np.ndarray) -> float:
    """Second of the first loud sample."""
    return float(np.flatnonzero(np.abs(samples) > 0.3)[0] / SAMPLE_RATE)


@pytest.mark.parametrize("gap", [-0.09, -0.02, 0.004, 0.012, 0.03, 0.09, 0.5])
def test_read_speech_follows_time_stamps_across_gaps_and_overlaps_of_any_size(make, gap):
    shift = f"asetnsamples=960,asetpts='PTS+gte(T,1)*{gap}/TB'"
    path = make("a.mkv", *SINE, BEEP.format(2.5, 3), "-af", shift, "-c:a", "pcm_s16le")
    assert beep_at(read_speech(path).samples) == pytest.approx(2.5 + gap, abs=0.006)


def test_read_speech_is_not_late_after_many_small_gaps(make):
    """Twenty gaps of 5 ms, as between joined clips: each alone is too small to be heard."""
    shift = "asetnsamples=960,asetpts='PTS+floor(T)*0.005/TB'"
    path = make("a.mkv", *SINE, BEEP.format(20.5, 21), "-af", shift, "-c:a", "pcm_s16le")
    assert beep_at(read_speech(path).samples) == pytest.approx(20.6, abs=0.006)


def test_read_speech_cuts_nothing_out_where_time_stamps_jitter(make):
    jitter = "asetnsamples=960,asetpts='PTS+gt(N,0)*0.008*(random(1)-0.5)/TB'"
    path = make("a.mkv", *SINE, "sine=f=300:r=48000:d=5", "-af", jitter, "-c:a", "pcm_s16le")
    bends = np.abs(np.diff(read_speech(path).samples, 2))[800:-800]
    assert bends.max() < 2 * np.median(bends)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libopus"), ("a.m4a", "aac"), ("a.mp4", "libmp3lame")])
def test_read_speech_leaves_out_what_an_encoder_added_to_its_last_frame(make, name, codec):
    """Opus in MP4 is the one whose padding every ffmpeg gives out; that of AAC comes with ffmpeg 7 and older."""
    path = make(name, *SINE, "sine=f=440:r=48000:d=1", "-c:a", codec, "-strict", -2)
    assert (len(read_speech(path).samples), read_speech(path).n_frames) == (SAMPLE_RATE, 25)


def test_read_speech_keeps_the_sound_behind_a_header_that_states_too_little(make):
    path = make("a.mkv", *SINE, "sine=d=3", "-c:a", "pcm_s16le")
    data = bytearray(path.read_bytes())
    duration = data.index(b"\x44\x89\x88") + 3  # the element Duration, eight bytes long
    data[duration : duration + 8] = np.array([1000.0], ">f8").tobytes()
    path.write_bytes(data)
    assert abs(read_speech(path).seconds - 3) < 0.01


def test_read_speech_hears_channels_of_opposite_phase_as_the_louder_one(write_wav):
    wave = 0.4 * np.random.default_rng(0).standard_normal(SAMPLE_RATE).clip(-2, 2)
    mono = read_speech(write_wav("mono.wav", wave)).samples
    for channels in ([wave, -wave], [-0.8 * wave, wave]):
        stereo = np.stack(channels, axis=1)
        np.testing.assert_allclose(read_speech(write_wav("stereo.wav", stereo)).samples, mono, atol=1e-6)


@pytest.mark.parametrize("second", [1.0, 0.3, 0.0, -0.2])
def test_read_speech_mixes_channels_that_do_not_cancel_each_other(make, second):
    mix = f"pan=stereo|c0=c0|c1={second}*c0"
    samples = read_speech(make("a.wav", *SINE, "sine=f=300:r=16000:d=1", "-af", mix)).samples
    assert np.abs(samples).max() == pytest.approx((1 + second) / 2**0.5 / 8, abs=1e-3)  # peak of ffmpeg's sine: 1/8


def test_read_speech_reads_the_default_of_several_tracks(make):
    sounds = (*SINE, "sine=f=300:d=1", *SINE, "sine=f=700:d=1", "-map", 0, "-map", 1, "-c:a", "pcm_s16le")
    titles = ("-metadata:s:a:0", "title=Desktop", "-metadata:s:a:1", "title=Mic")
    for default, hz, name in ((0, 300, "1 (Desktop)"), (1, 700, "2 (Mic)")):
        marks = (f"-disposition:a:{1 - default}", 0, f"-disposition:a:{default}", "default")
        info = probe(make("a.mkv", *sounds, *titles, *marks))
        assert abs(peak_hz(read_speech(info).samples) - hz) < 2
        (note,) = info.sound.note("a.mkv")
        assert note.startswith(f"a.mkv: 2 tracks of sound; number {name} is taken, ")
    assert probe(make("b.wav", *SINE, "sine=d=1")).sound.note("b.wav") == ()


def test_measure_levels_does_not_take_floats_beyond_full_scale_for_clipped(make, write_wav):
    tone = np.sin(np.arange(SAMPLE_RATE) * 0.1)
    hot = measure_levels(write_wav("hot.wav", 3 * tone))
    assert hot.peak == pytest.approx(3, abs=0.01)
    assert hot.clipped < 0.05  # a sine stays near its peak for so long
    cut = measure_levels(write_wav("cut.wav", np.clip(6 * tone, -3, 3)))
    assert cut.clipped > 0.5
    assert measure_levels(make("a.wav", "-i", write_wav("again.wav", 3 * tone), "-c:a", "pcm_s16le")).clipped > 0.5
