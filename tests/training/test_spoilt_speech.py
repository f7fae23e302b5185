"""Speech is spoilt as much as was asked for, in kinds that differ."""

from __future__ import annotations

import numpy as np
import pytest

from thcli.configs.sections import SpeechSpoiling
from thcli.records import SAMPLE_RATE, Float
from thcli.training import spoilt_speech
from thcli.training.spoilt_speech import babble, music, spoilt, tilted, voice, white

SECONDS = 2
NOISES = (white, tilted, voice, babble, music)


@pytest.fixture(scope="module")
def speech() -> Float:
    """A buzz that swells four times a second."""
    time = np.arange(SECONDS * SAMPLE_RATE) / SAMPLE_RATE
    return (np.sign(np.sin(2 * np.pi * 120 * time)) * (1 + np.sin(8 * np.pi * time)) * 0.1).astype(np.float32)


@pytest.fixture(scope="module")
def voices() -> list[Float]:
    random = np.random.default_rng(1)
    return [random.normal(0, 0.1, size).astype(np.float32) for size in (8_000, 16_000, 64_000)]


def test_clean_speech_stays_as_it_is(speech: Float, voices: list[Float]) -> None:
    same = spoilt(speech, voices, SpeechSpoiling(clean=1.0), np.random.default_rng(0))
    np.testing.assert_array_equal(same, speech)


@pytest.mark.parametrize("seed", range(8))
def test_noise_is_as_loud_as_asked_for(speech: Float, voices: list[Float], seed: int) -> None:
    options = SpeechSpoiling(clean=0.0, room=0.0, noise=1.0, decibels=(9.0, 9.0), narrow=0.0)
    noise = spoilt(speech, voices, options, np.random.default_rng(seed)) - speech
    assert 20 * np.log10(speech.std() / noise.std()) == pytest.approx(9, abs=0.01)


def test_the_same_seed_spoils_alike_and_another_otherwise(speech: Float, voices: list[Float]) -> None:
    first, same, other = (spoilt(speech, voices, SpeechSpoiling(clean=0), np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first, same)
    assert first.dtype == np.float32 and first.shape == speech.shape
    assert np.abs(first - other).max() > 1e-3


@pytest.mark.parametrize("kind", NOISES)
@pytest.mark.parametrize("count", [500, 40_000])
def test_every_kind_of_noise_has_the_length_asked_for(kind, count: int, voices: list[Float]) -> None:
    made = kind(count, voices, np.random.default_rng(0))
    assert made.shape == (count,) and np.isfinite(made).all() and made.std() > 0


def test_noises_differ_in_their_spectrum() -> None:
    """White noise is as strong everywhere; the partials of music leave most of the spectrum empty."""
    flatness = {}
    for kind in (white, music):
        power = np.abs(np.fft.rfft(kind(32_000, [], np.random.default_rng(5)))) ** 2 + 1e-9
        flatness[kind] = np.exp(np.log(power).mean()) / power.mean()
    assert flatness[music] < 0.5 * flatness[white]


def test_a_narrow_line_passes_the_middle_of_the_spectrum(speech: Float, voices: list[Float]) -> None:
    options = SpeechSpoiling(clean=0.0, room=0.0, noise=1.0, decibels=(0.0, 0.0), narrow=1.0)
    hertz = np.fft.rfftfreq(len(speech), 1 / SAMPLE_RATE)
    for seed in range(5):
        power = np.abs(np.fft.rfft(spoilt(speech, voices, options, np.random.default_rng(seed)))) ** 2
        middle = power[(hertz > 600) & (hertz < 2000)].mean()
        assert power[hertz > 7_800].mean() < 0.1 * middle
        assert power[hertz < 20].mean() < 0.1 * middle


def test_a_room_goes_on_when_the_speech_has_stopped(speech: Float, voices: list[Float]) -> None:
    options = SpeechSpoiling(clean=0.0, room=1.0, noise=0.0, narrow=0.0)
    stopped = speech.copy()
    stopped[SAMPLE_RATE:] = 0
    heard = spoilt(stopped, voices, options, np.random.default_rng(0))
    assert np.abs(heard[SAMPLE_RATE : SAMPLE_RATE + 800]).max() > 1e-3


def test_the_shares_of_the_kinds_add_up() -> None:
    assert sum(spoilt_speech._SHARES) == pytest.approx(1)
    assert spoilt_speech._KINDS == NOISES
