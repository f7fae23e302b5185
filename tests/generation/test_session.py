"""What a session keeps between videos: persons and fine-tuned Θs, by all that they depend on, within bounds."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from thcli.clips.encode import VideoWriter
from thcli.generation import fine_tune as tuning
from thcli.generation import session as sessions
from thcli.generation.result import FineTuneReport
from thcli.generation.session import Session, VideoJob
from thcli.motion.curves import write_curves
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import GenerateOptions, ReferenceOptions
from thcli.pipeline.person import person_key, read_person
from thcli.pipeline.progress import Quiet
from thcli.pipeline.track_cache import TrackCache
from thcli.records import N_EXPRESSION, MotionCurves

Prepare = Callable[..., VideoJob]
CopyOf = Callable[[str, str], Path]


@pytest.fixture(scope="module")
def still_clip(portrait_png: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The portrait for two seconds, the least that Θ is fine-tuned to."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, (256, 256), None, 50) as writer:
        for _ in range(50):
            writer.write(np.asarray(Image.open(portrait_png)))
    return path


@pytest.fixture
def photo(portrait_png: Path, tmp_path: Path) -> CopyOf:
    """photo(name, content): a photo whose file has content of its own; it always shows the same."""

    def make(name: str, content: str) -> Path:
        path = tmp_path / f"{name}.png"
        path.write_bytes(portrait_png.read_bytes() + content.encode())  # what follows the image is not read
        return path

    return make


@pytest.fixture
def clip(still_clip: Path, tmp_path: Path) -> CopyOf:
    """clip(name, content): the same for a clip."""

    def make(name: str, content: str) -> Path:
        path = tmp_path / f"{name}.mp4"
        free = struct.pack(">I4s", 8 + len(content), b"free") + content.encode()
        path.write_bytes(still_clip.read_bytes() + free)
        return path

    return make


@pytest.fixture(scope="module")
def tracks(tmp_path_factory: pytest.TempPathFactory) -> TrackCache:
    """Tracks on disk, so that a person who is read again is read quickly."""
    return TrackCache(tmp_path_factory.mktemp("tracks"))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the references that were read so far, in order."""
    names: list[str] = []

    def counted(models, info, options, tracks):
        names.append(info.path.stem)
        return read_person(models, info, options, tracks)

    monkeypatch.setattr(sessions, "read_person", counted)
    return names


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Reference, steps and seed of every fine-tuning, which is over at once and gives a Θ of its own every time."""
    runs: list[tuple[str, int, int]] = []

    def fine_tune_to_clip(models, info, person, options, steps, seed, advance):
        runs.append((info.path.stem, steps, seed))
        return SimpleNamespace(size=256, reduction=1, embed=lambda images, maps: None), FineTuneReport(
            steps, "adapted", {}, {}
        )

    monkeypatch.setattr(tuning, "fine_tune_to_clip", fine_tune_to_clip)
    return runs


@pytest.fixture
def prepare(inputs: Path, theta_weights: Path, tmp_path: Path) -> Prepare:
    """prepare(session, reference, **options): a job of a word, whose head and face stand still unless they are told."""
    at_rest = MotionCurves(np.zeros((1, 6)), np.zeros((1, N_EXPRESSION), np.float32), np.zeros(1, np.float32))
    curves = tmp_path / "still.csv"
    write_curves(curves, at_rest)
    usual = {"renderer": "warp", "motion": "still", "expression": str(curves), "weights": theta_weights}

    def run(session: Session, reference: Path, **options: object) -> VideoJob:
        chosen = GenerateOptions(device="cpu", **{**usual, **options})
        return session.prepare(reference, inputs / "word.wav", chosen, Quiet())

    return run


def theta_of(job: VideoJob) -> object:
    return job.renderer.neural and job.renderer.neural.theta


def test_session_reads_a_person_once_whatever_the_file_is_called(
    read: list[str], photo: CopyOf, prepare: Prepare, tracks: TrackCache
) -> None:
    session = Session(tracks, batch=True)
    first, copy, other = photo("a", "one"), photo("b", "one"), photo("c", "two")
    persons = [prepare(session, path, seed=seed).person for seed, path in enumerate((first, copy, other, first))]
    assert read == ["a", "c"]
    assert persons[0] is persons[1] is persons[3] is not persons[2]
    photo("a", "three")
    prepare(session, first)
    assert read == ["a", "c", "a"]


@pytest.mark.parametrize(
    "change",
    [{"start": 1.0}, {"face": "0"}, {"references": 2}, {"frame": "full"}, {"size": "512"}, {"learn_from": "9"}],
    ids=str,
)
def test_session_reads_another_person_for_every_option_of_the_reference(
    change: dict[str, object], read: list[str], photo: CopyOf, prepare: Prepare, tracks: TrackCache
) -> None:
    session, a = Session(tracks, batch=True), photo("a", "one")
    for given in ({}, change, {**change, "motion_scale": 0.5}, {"blink": "none"}):
        prepare(session, a, **given)
    assert read == ["a", "a"]


def test_session_reads_another_person_for_another_tracker(
    read: list[str], photo: CopyOf, prepare: Prepare, tracks: TrackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    builtin = load_models().tracker
    monkeypatch.setattr(Models, "tracker", property(lambda models: builtin))  # the other one may not be installed
    session, a = Session(tracks, batch=True), photo("a", "one")
    for tracker in ("builtin", "mediapipe", "builtin", "mediapipe"):
        prepare(session, a, tracker=tracker)
    assert read == ["a", "a"]


def test_session_reads_a_person_once_with_and_without_fine_tuning(
    read: list[str], tuned: list[object], clip: CopyOf, prepare: Prepare, tracks: TrackCache
) -> None:
    session, a = Session(tracks, batch=True), clip("a", "a")
    for steps in (0, 5, 6, 0):
        prepare(session, a, renderer="network", adapt=steps)
    assert read == ["a"]


def test_session_keeps_persons_within_bounds(
    read: list[str], photo: CopyOf, prepare: Prepare, tracks: TrackCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = (photo(name, name) for name in "abc")
    bytes_of_one = prepare(Session(tracks), a).person.nbytes
    monkeypatch.setattr(sessions, "KEPT_BYTES", 2 * bytes_of_one)
    read.clear()
    session = Session(tracks, batch=True)
    for reference in (a, b, a, c, a, b):
        prepare(session, reference)
    assert read == ["a", "b", "c", "b"]
    monkeypatch.setattr(sessions, "KEPT_BYTES", 1)
    session = Session(tracks, batch=True)
    prepare(session, a), prepare(session, a)
    assert read[4:] == ["a", "a"]


def test_session_that_is_no_batch_keeps_no_person(
    read: list[str], photo: CopyOf, prepare: Prepare, tracks: TrackCache
) -> None:
    session, a = Session(tracks), photo("a", "a")
    prepare(session, a, workers=1), prepare(session, a, workers=1)  # more would read it where the test does not see it
    assert read == ["a", "a"]


def test_session_fine_tunes_once_for_each_clip_steps_and_seed(
    tuned: list[tuple[str, int, int]], clip: CopyOf, prepare: Prepare, tracks: TrackCache
) -> None:
    session, (a, b) = Session(tracks, batch=True), (clip(name, name) for name in "ab")
    plain = prepare(session, a, renderer="network")
    first = prepare(session, a, renderer="network", adapt=5)
    again = prepare(session, a, renderer="network", adapt=5, motion_scale=2.0)
    for reference, change in ((a, {"seed": 1}), (a, {"adapt": 6}), (b, {})):
        prepare(session, reference, **{"renderer": "network", "adapt": 5, **change})
    assert tuned == [("a", 5, 0), ("a", 5, 1), ("a", 6, 0), ("b", 5, 0)]
    assert theta_of(first) is theta_of(again) is not theta_of(plain)
    assert plain.fine_tuned is None and again.fine_tuned == FineTuneReport(5, "adapted", {}, {})


def test_session_loads_theta_only_where_it_draws(photo: CopyOf, prepare: Prepare, tracks: TrackCache) -> None:
    session, a = Session(tracks), photo("a", "a")
    assert theta_of(prepare(session, a)) is None
    first, second = (prepare(session, a, renderer="network") for _ in range(2))
    assert theta_of(first) is theta_of(second) is not None


@dataclass(frozen=True)
class MoreOptions(ReferenceOptions):
    """Options of a reference as they may be one day, with one more."""

    zoom: float = 1.0


def test_person_key_changes_with_an_option_that_is_added(portrait_png: Path) -> None:
    models = load_models(device="cpu")
    near, far = MoreOptions(zoom=2.0), MoreOptions(zoom=0.5)
    assert person_key(models, portrait_png, near) == person_key(models, portrait_png, replace(near))
    assert person_key(models, portrait_png, near) != person_key(models, portrait_png, far)


def test_person_key_changes_with_tracker_and_weights(portrait_png: Path, theta_weights: Path) -> None:
    several = (load_models(), load_models(tracker="mediapipe"), load_models(theta_weights), load_models())
    assert len({person_key(models, portrait_png, ReferenceOptions()) for models in several}) == 3
