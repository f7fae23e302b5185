"""Codes of speech: the same whichever part is asked for, smooth where windows join, and Whisper's log-mel steps."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest
import torch

from thcli.motion.speech_codes import (
    CODES_PER_FRAME,
    NOISY_DB,
    STRIDE,
    WINDOW,
    SpeechEncoders,
    code_reader,
    encode_speech,
    encoder_steps,
    loudness_range,
    whisper_mel,
)
from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims
from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

DIMS = SpeechEncoderDims(width=8, heads=2, layers=1, positions=WINDOW)


@pytest.fixture(scope="module")
def encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(DIMS).eval()


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    """Twelve seconds of noise whose loudness changes."""
    random = np.random.default_rng(0)
    loudness = np.repeat(random.uniform(0, 0.3, 300), 640)
    return (random.normal(size=192_000) * loudness).astype(np.float32).reshape(-1, 640)


def test_encode_speech_gives_two_codes_a_frame(encoder, samples) -> None:
    codes = encode_speech(encoder, samples)
    assert (codes.shape, codes.dtype) == ((300, CODES_PER_FRAME, 8), np.float32)
    assert np.isfinite(codes).all()


@pytest.mark.parametrize("frames", [0, 1, 3])
def test_encode_speech_takes_recordings_of_any_length(encoder, samples, frames: int) -> None:
    assert encode_speech(encoder, samples[:frames]).shape == (frames, CODES_PER_FRAME, 8)
    assert np.isfinite(encode_speech(encoder, np.zeros_like(samples[:frames]))).all()


@pytest.mark.parametrize("part", [40, 100])
def test_code_reader_gives_the_same_codes_in_parts(encoder, samples, part: int) -> None:
    read = code_reader(encoder, samples)
    parts = [read(first, min(first + part, 300)) for first in range(0, 300, part)]
    np.testing.assert_allclose(np.concatenate(parts), encode_speech(encoder, samples), atol=1e-5)


def test_codes_are_heard_by_four_windows_whose_weights_fade(encoder, samples) -> None:
    """Where a window begins or ends, codes change no more than elsewhere."""
    codes = encode_speech(encoder, samples).reshape(-1, 8)
    change = np.abs(np.diff(codes, axis=0)).mean(axis=1)
    joins = np.arange(STRIDE, len(change), STRIDE)
    assert change[joins - 1].mean() < 1.5 * change.mean()


def test_offset_moves_the_windows(encoder, samples) -> None:
    same, moved = (encode_speech(encoder, samples, offset) for offset in (0, STRIDE // 2))
    assert np.abs(same - moved).max() > 1e-3


def test_codes_do_not_depend_on_the_level_of_the_recording(encoder, samples) -> None:
    np.testing.assert_allclose(encode_speech(encoder, samples / 8), encode_speech(encoder, samples), atol=1e-3)


def voice(noise: float) -> np.ndarray:
    """Eight seconds of syllables and pauses in white noise."""
    random = np.random.default_rng(1)
    spoken = np.repeat(random.uniform(size=80) < 0.6, 1600) * 0.3
    return (random.normal(size=128_000) * np.hypot(spoken, noise)).astype(np.float32).reshape(-1, 640)


def test_noise_in_the_pauses_makes_the_range_of_loudness_small() -> None:
    ranges = [loudness_range(encoder_steps(voice(noise))) for noise in (0.0003, 0.003, 0.03, 0.1)]
    assert ranges == sorted(ranges, reverse=True)
    assert ranges[2] > NOISY_DB > ranges[3]


def test_loudness_range_of_a_long_recording_is_that_of_a_part() -> None:
    steps = encoder_steps(voice(0.01))
    assert loudness_range(np.tile(steps, (30, 1))) == pytest.approx(loudness_range(steps), abs=0.3)


@pytest.mark.parametrize(("noise", "noisy"), [(0.0003, False), (0.1, True)])
def test_noisy_recordings_are_heard_with_the_adapter(encoder, noise: float, noisy: bool) -> None:
    torch.manual_seed(1)
    adapter, samples = SpeechAdapter(SpeechAdapterDims(**asdict(DIMS), rank=2)), voice(noise)
    with torch.no_grad():
        for value in adapter.parameters():
            value.normal_(0, 0.3)
    encoders = SpeechEncoders(encoder, adapter)
    plain, adapted = encode_speech(encoder, samples), encode_speech(encoders.noisy, samples)
    assert np.abs(plain - adapted).max() > 0.1
    np.testing.assert_array_equal(encode_speech(encoders, samples), adapted if noisy else plain)


def test_whisper_mel_is_that_of_its_formula() -> None:
    """Against PyTorch's short-time Fourier transform and librosa's filters."""
    librosa = pytest.importorskip("librosa")
    samples = np.random.default_rng(0).normal(size=16_000).astype(np.float32) * 0.1
    window = torch.hann_window(400)
    spectrum = torch.stft(torch.from_numpy(samples), 400, 160, window=window, return_complex=True)[:, :-1].abs() ** 2
    power = librosa.filters.mel(sr=16_000, n_fft=400, n_mels=80) @ spectrum.numpy()
    expected = np.log10(np.maximum(power, 1e-10)).T
    expected = (np.maximum(expected, expected.max() - 8) + 4) / 4
    np.testing.assert_allclose(whisper_mel(samples), expected, atol=1e-4)
