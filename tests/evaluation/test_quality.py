"""Advice on clips and recordings, and the figures of a report, for input that is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thcli.evaluation.metric import Figure, not_computed
from thcli.evaluation.report.measured import PIECE, pieces, pooled
from thcli.evaluation.report.normal import HEAD_RATIO, NORMAL, Normal
from thcli.evaluation.report.quality import KINDS, Quality, correlation, head_motion, normal_of, outside_range
from thcli.inspection.advice import ClipStats, on_reference, on_speech
from thcli.inspection.measure import SILENT, measure_speech
from thcli.records import FPS, SAMPLE_RATE, Speech

TIME = np.arange(100) / FPS


@pytest.fixture
def clip_stats() -> ClipStats:
    """Figures of a clip that is good as a reference."""
    rotation = np.stack([4 * np.sin(TIME), 6 * np.cos(2 * TIME), 2 * np.sin(3 * TIME)], axis=1)
    mouth, eyes = 0.1 + 0.1 * np.sin(7 * TIME), np.full(100, 0.3)
    return ClipStats(
        4.0, 1.0, 140.0, 0.0, rotation.astype(np.float32), mouth.astype(np.float32), eyes.astype(np.float32)
    )


def keys(advice) -> list[str]:
    assert all("\n" not in found.text and found.text.strip() for found in advice)
    return [found.key for found in advice]


def test_on_reference_says_nothing_of_a_good_clip(clip_stats):
    assert keys(on_reference(clip_stats)) == []


@pytest.mark.parametrize(
    ("key", "change"),
    [
        ("reference_short", {"seconds": 1.2}),
        ("face_small", {"face_height": 40.0}),
        ("face_cut", {"outside": 0.1}),
        ("face_lost", {"tracked": 0.8}),
        ("reference_still", {"rotation": np.full((100, 3), 3.0, np.float32)}),
        ("face_turned", {"rotation": np.array([[0, 40 + 3 * s, 0] for s in np.sin(TIME)], np.float32)}),
        ("mouth_closed", {"mouth": np.full(100, 0.01, np.float32)}),
        ("eyes_closed", {"eyes": np.full(100, 0.05, np.float32)}),
    ],
)
def test_on_reference_says_what_a_clip_lacks(clip_stats, key, change):
    assert keys(on_reference(replace(clip_stats, **change))) == [key]


def test_on_reference_does_not_blame_a_photo_for_being_short_and_still(clip_stats):
    photo = ClipStats(0.0, 1.0, 140.0, 0.0, clip_stats.rotation[:1], clip_stats.mouth[:1], clip_stats.eyes[:1])
    assert keys(on_reference(photo)) == []
    assert keys(on_reference(replace(photo, mouth=np.zeros(1, np.float32)))) == ["mouth_closed"]


def voice(seconds: float = 4.0, level: float = 0.2, noise: float = 0.0005) -> Speech:
    """A buzz that comes and goes three times in two seconds, over noise."""
    time = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    buzz = sum(np.sin(2 * np.pi * 150 * n * time) / n for n in range(1, 12))
    gate = np.sin(2 * np.pi * 1.5 * time) > -0.3
    random = np.random.default_rng(0).standard_normal(len(time))
    return Speech((level * buzz * gate / 1.9 + noise * random).astype(np.float32), Path("voice.wav"))


def test_on_speech_says_nothing_of_a_clear_voice():
    sound = measure_speech(voice(), clipped=0.0)
    assert keys(on_speech(sound)) == []
    assert -30 < sound.level < 0 and sound.noise < -50
    assert len(sound.loudness) == len(sound.activity) == 100


def test_on_speech_says_what_a_recording_lacks():
    clear = voice()
    assert keys(on_speech(measure_speech(clear, clipped=0.01))) == ["clipped"]
    assert keys(on_speech(measure_speech(voice(level=0.004, noise=1e-5), clipped=0.0))) == ["quiet"]
    stats = measure_speech(clear, clipped=0.0)
    assert keys(on_speech(replace(stats, noise=stats.level - 8))) == ["noisy"]
    silence = replace(clear, samples=np.zeros_like(clear.samples))
    assert keys(on_speech(measure_speech(silence, clipped=0.0))) == ["no_speech"]
    assert (measure_speech(silence, 0.0).loudness == SILENT).all()


def test_on_speech_finds_a_long_pause_where_it_is():
    speech = voice(12.0)
    speech.samples[3 * SAMPLE_RATE : 10 * SAMPLE_RATE] *= 0.001
    found = on_speech(measure_speech(speech, clipped=0.0))
    assert keys(found) == ["long_pause"]
    begin, end = measure_speech(speech, clipped=0.0).pause
    assert (begin, end) == pytest.approx((3.0, 10.0), abs=0.5)


def test_correlation_is_pearson_s_over_the_frames_that_were_seen():
    asked = (0.1 + 0.1 * np.sin(TIME * 9)).astype(np.float32)
    seen = asked * 0.5 + 0.01
    assert correlation(seen, asked).value == pytest.approx(1, abs=1e-6)
    assert correlation(-seen, asked).value == pytest.approx(-1, abs=1e-6)
    seen[10:40] = np.nan
    assert correlation(seen, asked) == Figure(pytest.approx(1, abs=1e-6), 70)
    assert correlation(np.full_like(seen, np.nan), asked).value is None
    assert correlation(seen, np.full_like(asked, 0.2)).why == "the mouth hardly moves"


def poses(degrees: float, frames: int = 200) -> np.ndarray:
    """A head that turns to and fro by so many degrees to either side."""
    pose = np.zeros((frames, 6), np.float32)
    pose[:, 1] = np.radians(degrees) * np.sin(np.arange(frames) * 2 * np.pi / 50)
    return pose


def test_head_motion_is_the_deviation_in_degrees():
    nod, turn, tilt = (figure.value for figure in head_motion(poses(10)))
    assert turn == pytest.approx(10 / np.sqrt(2), rel=0.05)
    assert abs(nod) < 1e-6 and abs(tilt) < 1e-6
    assert head_motion(np.full((30, 6), np.nan, np.float32))[0].value is None


def test_outside_range_counts_motion_of_three_times_the_reference_s_size():
    past = poses(10, 100)
    assert outside_range(past, poses(10)).value == 0
    assert outside_range(past, poses(3 * 10)).value > 0.3
    # A photo supports a few degrees, not many.
    assert outside_range(past[:1], poses(5)).value == 0
    assert outside_range(past[:1], poses(25)).value > 0.5


def test_normal_of_lies_around_the_person_s_own_motion():
    assert normal_of("head_nod", None) == NORMAL["head_nod"]
    own = normal_of("head_nod", 2.0)
    assert (own.low, own.high) == (2 * HEAD_RATIO[0], 2 * HEAD_RATIO[1])


def test_verdict_is_a_note_outside_the_range_and_none_without_a_value():
    def verdict(value, low, high):
        return Quality(
            KINDS[0], Figure(value) if value is not None else not_computed("why"), Normal(low, high, "")
        ).verdict

    assert [verdict(v, 1, 2) for v in (0.9, 1, 2, 2.1, None)] == ["note", "ok", "ok", "note", "none"]
    assert [verdict(v, None, 2) for v in (-9, 3)] == ["ok", "note"]
    assert [verdict(v, 1, None) for v in (0, 9)] == ["note", "ok"]


def test_normal_has_a_range_for_every_kind():
    assert {kind.name for kind in KINDS} == set(NORMAL)
    for normal in NORMAL.values():
        assert normal.source and (normal.low, normal.high) != (None, None)


@pytest.mark.parametrize("frames", [1, 25, PIECE, PIECE + 1, 7 * PIECE + 13])
def test_pieces_cover_every_frame_once(frames):
    parts = pieces(frames)
    assert np.concatenate([np.arange(frames)[part] for part in parts]).tolist() == list(range(frames))
    lengths = [part.stop - part.start for part in parts]
    assert max(lengths) <= PIECE and max(lengths) - min(lengths) <= 1


def test_pooled_weights_figures_by_their_counts():
    parts = [{"a": Figure(1.0, 10)}, {"a": not_computed("no face found")}, {"a": Figure(4.0, 20)}]
    assert pooled(parts)["a"] == Figure(3.0, 30)
    assert pooled([{"a": not_computed("no face found")}])["a"].why == "no face found"
