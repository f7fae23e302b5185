"""Log-mel features, samples by frame, and speech activity."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.features import (
    HIGH_HZ,
    LOW_HZ,
    N_FFT,
    N_MELS,
    WINDOW,
    framed,
    log_mel,
    mel_bank,
    openness,
    speech_activity,
)
from thcli.records import LOG_MEL_SILENCE, SAMPLE_RATE, SAMPLES_PER_FRAME, Speech


def speech(samples: np.ndarray) -> Speech:
    return Speech(samples.astype(np.float32), Path("made.wav"))


def syllables(bursts: list[tuple[float, float]], seconds: float, noise: float = 1e-4, seed: int = 0) -> np.ndarray:
    """A buzz of 120 Hz with its overtones in the given intervals, over white noise."""
    random = np.random.default_rng(seed)
    time = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    voice = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 30))
    gate = np.zeros_like(time)
    for begin, end in bursts:
        gate[int(begin * SAMPLE_RATE) : int(end * SAMPLE_RATE)] = 1
    return 0.1 * voice * gate + noise * random.standard_normal(len(time))


TALK = [(0.5, 1.1), (1.4, 2.2), (2.6, 3.0)]


@pytest.mark.parametrize("samples", [1600, 6400, 6401, 7039, 7040, 16000])
def test_features_have_as_many_frames_as_the_speech(samples):
    sound = speech(np.random.default_rng(0).standard_normal(samples) * 0.1)
    assert log_mel(sound).shape == (sound.n_frames, 4, 80)
    assert log_mel(sound).dtype == np.float32
    assert speech_activity(sound).shape == (sound.n_frames,)


@pytest.mark.parametrize("chunk", [1, 7, 100, 399])
def test_log_mel_gives_the_same_in_chunks(chunk):
    sound = speech(syllables(TALK, 4.0))
    np.testing.assert_allclose(log_mel(sound, chunk), log_mel(sound), atol=2e-4)


def test_mel_bank_equals_the_one_of_librosa():
    filters = pytest.importorskip("librosa.filters")
    bank = filters.mel(sr=SAMPLE_RATE, n_fft=N_FFT, n_mels=N_MELS, fmin=LOW_HZ, fmax=HIGH_HZ, norm=None)
    np.testing.assert_allclose(mel_bank() * (WINDOW / 2) ** 2, bank.T, rtol=0, atol=1e-7)


def test_log_mel_needs_neither_librosa_nor_numba():
    script = (
        "import sys, numpy, pathlib\n"
        "from thcli.clips.features import log_mel\n"
        "from thcli.records import Speech\n"
        "log_mel(Speech(numpy.zeros(640, numpy.float32), pathlib.Path('a.wav')))\n"
        "print(sorted({'librosa', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_four_steps_of_log_mel_cover_their_frame():
    samples = np.zeros(SAMPLES_PER_FRAME * 20)
    centre = SAMPLES_PER_FRAME * 9 + SAMPLES_PER_FRAME // 2
    samples[centre - 4 : centre + 4] = [0.5, -0.5] * 4
    loudness = log_mel(speech(samples)).max(axis=-1)
    assert np.unravel_index(loudness.argmax(), loudness.shape)[0] == 9
    np.testing.assert_allclose(loudness[9], loudness[9, ::-1], atol=0.5)
    assert (loudness[[8, 10]] < loudness[9].max() - 1).all()


def test_log_mel_of_a_tone_is_highest_in_its_band():
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    bands = [int(log_mel(speech(np.sin(2 * np.pi * hz * time)))[12].mean(axis=0).argmax()) for hz in (100, 1000, 6000)]
    assert bands[0] < 3 and 20 < bands[1] < 40 and bands[2] > 65


@pytest.mark.parametrize("gain", [0.01, 0.1, 5.0])
def test_log_mel_ignores_the_loudness_of_the_recording(gain):
    samples = syllables(TALK, 4.0)
    np.testing.assert_allclose(log_mel(speech(samples * gain)), log_mel(speech(samples)), atol=0.02)


def test_log_mel_ignores_clicks_and_pauses_in_the_level():
    samples = syllables(TALK, 4.0)
    plain = log_mel(speech(samples))
    clicked = samples.copy()
    clicked[100] = 1.0
    np.testing.assert_allclose(log_mel(speech(clicked))[12:], plain[12:], atol=0.1)
    longer = np.concatenate([samples, syllables([], 8.0, seed=1)])
    np.testing.assert_allclose(log_mel(speech(longer))[12:70], plain[12:70], atol=0.3)


def test_log_mel_of_silence_is_the_lowest_value():
    features = log_mel(speech(np.zeros(SAMPLE_RATE)))
    assert np.isfinite(features).all()
    loud = log_mel(speech(syllables(TALK, 4.0, noise=0)))
    assert loud.min() == LOG_MEL_SILENCE and (loud[:10] == LOG_MEL_SILENCE).all()


@pytest.mark.parametrize("noise", [1e-4, 3e-3])
@pytest.mark.parametrize("gain", [0.05, 1.0])
def test_speech_activity_follows_the_voice(noise, gain):
    active = speech_activity(speech(syllables(TALK, 4.0, noise) * gain))
    time = (np.arange(len(active)) + 0.5) / 25
    inside = np.any([(time > a + 0.04) & (time < b - 0.04) for a, b in TALK], axis=0)
    outside = np.all([(time < a - 0.06) | (time > b + 0.06) for a, b in TALK], axis=0)
    assert (active[inside] == 1).all() and (active[outside] == 0).all()


def test_speech_activity_of_silence_and_of_steady_noise_is_none():
    assert not speech_activity(speech(np.zeros(SAMPLE_RATE))).any()
    random = np.random.default_rng(0)
    assert not speech_activity(speech(random.standard_normal(SAMPLE_RATE * 3) * 0.05)).any()
    assert not speech_activity(speech(syllables(TALK, 4.0, 0) * 1e-4)).any()


def test_speech_activity_bridges_short_stops_and_ignores_clicks():
    active = speech_activity(speech(syllables([(0.5, 0.9), (0.97, 1.5)], 2.0)))
    assert (active[13:37] == 1).all()
    clicked = syllables(TALK, 4.0)
    clicked[int(3.6 * SAMPLE_RATE)] = 0.9
    assert not speech_activity(speech(clicked))[80:].any()


def test_speech_activity_adapts_to_a_change_of_the_noise():
    bursts = [(t, t + 0.5) for t in np.arange(0.5, 15.5, 1.0)]
    samples = syllables(bursts, 16.0)
    samples[8 * SAMPLE_RATE :] += 3e-3 * np.random.default_rng(1).standard_normal(8 * SAMPLE_RATE)
    active = speech_activity(speech(samples))
    assert 0.4 < active[: 8 * 25].mean() < 0.6 and 0.4 < active[8 * 25 :].mean() < 0.6


def test_openness_is_high_for_vowels_and_low_for_a_hum():
    time = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    hum = 0.2 * np.sin(2 * np.pi * 150 * time)
    vowel = hum + sum(0.03 * np.sin(2 * np.pi * hz * time) for hz in range(1600, 4000, 150))
    sounds = [hum, vowel, 0.1 * vowel, vowel + 2 * hum]
    heard = openness(log_mel(speech(np.concatenate(sounds))))
    assert heard.shape == (100,)
    closed, opened, quiet, hummed = (part[2:-2].mean() for part in heard.reshape(4, 25))
    assert opened > quiet > closed + 1
    assert opened > hummed + 0.2


@pytest.mark.parametrize("length", [640 * 3, 640 * 3 + 1])
def test_framed_gives_the_samples_frame_by_frame(length: int) -> None:
    sound = speech(np.arange(length) / length)
    frames = framed(sound)
    assert frames.shape == (sound.n_frames, 640) and frames.dtype == np.float32
    np.testing.assert_array_equal(frames.ravel()[:length], sound.samples)
    assert not frames.ravel()[length:].any()
