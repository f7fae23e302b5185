"""What is kept between videos: Θ, persons and Θs fine-tuned to them, by all that they depend on, within bounds."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from thcli.generate import fine_tune as adapting
from thcli.generate import session as studio
from thcli.generate.session import Studio
from thcli.pipeline.options import GenerateOptions, Quiet

Prepare = Callable[..., object]


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The clips that were read, and ``prepare`` that does nothing else of its work."""
    clips: list[Path] = []

    def read_person(path: Path, options: GenerateOptions, tracks: object) -> SimpleNamespace:
        clips.append(path)
        picture = np.zeros((1, 100, 1000, 3), np.uint8)
        nothing = np.zeros(0, np.float32)
        return SimpleNamespace(crops=picture, frames=picture, track=SimpleNamespace(mesh=nothing), faces=nothing)

    monkeypatch.setattr(studio, "read_person", read_person)
    monkeypatch.setattr(studio, "read_speech", lambda path: None)
    monkeypatch.setattr(studio, "make_drive", lambda *_: None)
    monkeypatch.setattr(studio, "sources_of", lambda *_: None)
    return clips


@pytest.fixture
def clip(tmp_path: Path) -> Callable[[str, str], Path]:
    def make(name: str, content: str) -> Path:
        (tmp_path / name).write_text(content)
        return tmp_path / name

    return make


def prepare(studio: Studio, reference: Path, **options: object) -> object:
    given = GenerateOptions(device="cpu", **{"renderer": "warp", **options})
    return studio.prepare(reference, Path("speech.wav"), given, Quiet())


def test_a_person_is_read_once_whatever_the_file_s_name(read: list[Path], clip: Callable[[str, str], Path]) -> None:
    shared = Studio(batch=True)
    first, copy, other = clip("a", "one"), clip("b", "one"), clip("c", "two")
    for reference in (first, copy, other, first):
        prepare(shared, reference, seed=len(read))
    assert read == [first, other]
    changes = (
        {"start": 1.0},
        {"face": "1"},
        {"references": 2},
        {"frame": "full"},
        {"size": "512"},
        {"tracker": "mediapipe"},
    )
    for count, change in enumerate(changes, 3):
        prepare(shared, first, **change)
        prepare(shared, first, **change, motion_scale=0.5)
        assert len(read) == count
    clip("a", "three")
    prepare(shared, first)
    assert len(read) == 9


def test_a_large_clip_that_is_trained_on_is_another_person(
    read: list[Path], clip: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "load_generator", lambda *_: object())
    monkeypatch.setattr(adapting, "adapt", lambda *_: SimpleNamespace(theta=object(), record="record"))
    shared, a = Studio(batch=True), clip("a", "a")
    for steps in (0, 5, 6, 0):
        prepare(shared, a, renderer="network", adapt=steps)
    assert read == [a, a]


def test_persons_are_kept_within_bounds_and_only_for_a_batch(
    read: list[Path], clip: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(studio, "KEPT_BYTES", 2 * 600_000)
    shared = Studio(batch=True)
    a, b, c = (clip(name, name) for name in "abc")
    for reference in (a, b, a, c, a, b):
        prepare(shared, reference)
    assert read == [a, b, c, b]
    monkeypatch.setattr(studio, "KEPT_BYTES", 1)
    alone = Studio(batch=True)
    prepare(alone, a), prepare(alone, a)
    assert read[4:] == [a, a]
    once = Studio()
    prepare(once, a), prepare(once, a)
    assert read[6:] == [a, a]


def test_networks_are_loaded_and_tuned_once(
    read: list[Path], clip: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, tuned = [], []

    def adapt(theta: object, reference: Path, person: object, options: GenerateOptions, *_: object) -> SimpleNamespace:
        tuned.append((reference.name, options.adapt, options.seed))
        return SimpleNamespace(theta=object(), record="record")

    monkeypatch.setattr(studio, "load_generator", lambda weights, device, _: loaded.append(device) or object())
    monkeypatch.setattr(adapting, "adapt", adapt)
    shared, (a, b) = Studio(batch=True), (clip(name, name) for name in "ab")
    plain = prepare(shared, a, renderer="network")
    first = prepare(shared, a, renderer="network", adapt=5)
    again = prepare(shared, a, renderer="network", adapt=5, motion_scale=2.0)
    for reference, change in ((a, {"seed": 1}), (a, {"adapt": 6}), (b, {})):
        prepare(shared, reference, **{"renderer": "network", "adapt": 5, **change})
    assert loaded == ["cpu"]
    assert tuned == [("a", 5, 0), ("a", 5, 1), ("a", 6, 0), ("b", 5, 0)]
    assert first.theta is again.theta is not plain.theta
    assert (plain.adapted, again.adapted) == (None, "record")
    assert prepare(shared, a).theta is None
