"""Articulation, blinks and range of motion are learned from more of the shot than the references, or from these."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.face_model import eye_opening
from thcli.faces.protocol import Detection
from thcli.faces.track import face_boxes
from thcli.motion.expression import predict_expression
from thcli.pipeline import curves, listening
from thcli.pipeline.curves import predict_curves
from thcli.pipeline.learning import EVERY, HELD, ShotFrames, learn_warnings
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import read_person
from thcli.pipeline.track_cache import TrackCache
from thcli.records import FPS, Image, Person

Film = Callable[..., Path]
Read = Callable[..., Person]
SIZE = 96


class NoddingTracker:
    """It finds one face, which nods, in the frames up to ``last``, and counts the frames in memory at a time.

    seen: number of the frames since the person was begun to be read
    """

    name = "nodding 1"

    def __init__(self, models: Models, last: int) -> None:
        self.last, self.seen, self.alive, self.most = last, 0, 0, 0
        self.frame: Callable[[], Image | None] = lambda: None
        self.face = (models.face_model.canonical * np.float32(SIZE / 6)).astype(np.float32)

    def detect(self, frame: Image) -> list[Detection]:
        return [Detection(face_boxes(self._now()), 0.9)]

    def mesh(self, frame: Image, prior: np.ndarray) -> tuple[np.ndarray, float]:
        if self.frame() is not frame:  # the first one is looked at several times
            self.frame, self.seen, self.alive = weakref.ref(frame), self.seen + 1, self.alive + 1
            self.most = max(self.most, self.alive)
            weakref.finalize(frame, self._gone)
        return self._now(), 0.9 if self.seen <= self.last else 0.0

    def _now(self) -> np.ndarray:
        middle = np.array([SIZE / 2, SIZE / 2 + np.sin(self.seen / 9), 0], np.float32)
        return (self.face + middle).astype(np.float32)

    def _gone(self) -> None:
        self.alive -= 1


@pytest.fixture(scope="module")
def models() -> Models:
    return load_models(device="cpu")


@pytest.fixture
def tracker(models: Models, monkeypatch: pytest.MonkeyPatch) -> NoddingTracker:
    """The tracker of all models from now on."""
    nodding = NoddingTracker(models, 10_000)
    monkeypatch.setattr(Models, "tracker", property(lambda _: nodding))
    return nodding


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory, ffmpeg: Callable[..., None], say: Callable[..., Path]) -> Film:
    """film(*seconds, sound=True): a video of shots, each of another picture, with something like speech."""
    folder = tmp_path_factory.mktemp("films")

    def make(*seconds: float, sound: bool = True) -> Path:
        path = folder / f"{'-'.join(map(str, seconds))}-{sound}.mkv"
        if path.exists():
            return path
        pictures = [f"{name}=size={SIZE}x{SIZE}:rate={FPS}" for name in ("smptebars", "testsrc")]
        shots = zip(pictures, seconds, strict=False)
        shown = [part for shot, length in shots for part in ("-f", "lavfi", "-t", length, "-i", shot)]
        joined = ["-filter_complex", f"concat=n={len(seconds)}[v]", "-map", "[v]", "-pix_fmt", "yuv420p"]
        heard = ["-i", say(folder / "speech.wav", sum(seconds))] if sound else []
        ffmpeg(*shown, *heard, *joined, *(["-map", f"{len(seconds)}:a", "-c:a", "flac"] if sound else []), path)
        return path

    return make


@pytest.fixture
def read(models: Models, tracker: NoddingTracker) -> Read:
    """read(path, learn_from="60", start=0.0, tracks=None): the person of a video."""

    def run(path: Path, learn_from: str = "60", start: float = 0.0, tracks: TrackCache | None = None) -> Person:
        tracker.seen = 0
        return read_person(models, path, ReferenceOptions(start=start, learn_from=learn_from), tracks)

    return run


def part_of(person: Person) -> tuple[float, float, float]:
    """Beginning, length and length of the sound of what is learned from, s, to a tenth."""
    learned = person.learned
    return round(learned.start, 1), round(len(learned) / FPS, 1), round(len(learned.audio) / FPS, 1)


def test_read_person_learns_from_the_references_where_the_clip_has_no_more(models, film, read, tracker, say, tmp_path):
    path = film(4.4)
    person, few = read(path), read(path, "4")
    assert tracker.seen == 4 * FPS
    expression = models.face_model.expression(person.unposed_meshes)
    assert person.learned.every == 1
    np.testing.assert_array_equal(person.learned.audio.log_mel, person.audio.log_mel)
    np.testing.assert_array_equal(person.learned.expression, expression - person.median_expression)
    np.testing.assert_array_equal(person.learned.eye_opening, eye_opening(person.unposed_meshes))
    np.testing.assert_array_equal(person.learned.pose, person.track.pose)
    speech = read_speech(say(tmp_path / "word.wav", 0.4))
    curves, same = (predict_curves(models, one, speech) for one in (person, few))
    for name in ("pose", "expression", "blink"):
        np.testing.assert_array_equal(getattr(curves, name), getattr(same, name))


def test_read_person_learns_from_all_of_a_longer_shot_and_keeps_its_references(film, read):
    long, short = read(film(9)), read(film(9), "4")
    assert part_of(long) == (0.0, 9.0, 9.0) and part_of(short) == (0.0, 4.0, 4.0)
    assert long.learned.every == EVERY and long.learned.pose.shape == (9 * FPS, 6)
    np.testing.assert_array_equal(long.reference_images, short.reference_images)
    np.testing.assert_array_equal(long.neutral_mesh, short.neutral_mesh)
    np.testing.assert_array_equal(long.track.pose, short.track.pose)


@pytest.mark.parametrize(
    ("learn_from", "part"), [("6", (3.0, 6.0, 6.0)), ("whole", (0.0, 9.0, 9.0)), ("60", (0.0, 9.0, 9.0))]
)
def test_learn_motion_goes_on_to_the_end_of_the_shot_and_then_back(film, read, learn_from, part):
    wanted = read(film(9), learn_from, start=4.0)
    start, seconds, heard = part_of(wanted)
    assert (start, seconds, heard) == pytest.approx(part, abs=0.15)
    assert wanted.start == 4.0


@pytest.mark.parametrize(("learn_from", "heard"), [("0", 0.0), ("2", 2.0), ("3.96", 4.0)])
def test_learn_motion_takes_less_of_the_sound_where_less_is_asked_for(film, read, learn_from, heard):
    assert part_of(read(film(9), learn_from)) == (0.0, 4.0, heard)


def test_learn_motion_does_not_cross_a_cut(film, read):
    person = read(film(6, 7), start=0.5)
    assert part_of(person) == pytest.approx((0.0, 6.0, 6.0), abs=0.2)
    person = read(film(2, 7))
    assert part_of(person) == pytest.approx((2.0, 7.0, 7.0), abs=0.2)


def test_learn_motion_ends_where_the_face_is_lost(film, read, tracker):
    tracker.last = 4 * FPS + 2 * FPS
    assert 5.5 < part_of(read(film(12)))[1] < 6.5


def test_learn_motion_needs_sound(film, read):
    person = read(film(9, sound=False))
    assert part_of(person) == (0.0, 4.0, 0.0)
    options = ReferenceOptions(learn_from="9")
    assert learn_warnings(person, ReferenceOptions()) == ()
    assert learn_warnings(person, options) == ("--learn-from 9: 4.0 s are learned from, as the clip has no sound",)


def test_learn_warnings_tell_of_a_clip_with_less_than_was_asked_for(film, read):
    person = read(film(9), "20")
    said = "--learn-from 20: 9.0 s are learned from, as there is no more of one shot with this face"
    assert learn_warnings(person, ReferenceOptions(learn_from="20")) == (said,)
    for learn_from in ("9", "60", "whole"):
        assert learn_warnings(person, ReferenceOptions(learn_from=learn_from)) == ()


def test_learn_motion_finds_its_tracks_in_the_cache(film, read, tracker, tmp_path):
    tracks = TrackCache(tmp_path)
    first = read(film(9), start=2.0, tracks=tracks)
    assert tracker.seen > 0
    again = read(film(9), start=2.0, tracks=tracks)
    assert tracker.seen == 0 and len(list(tmp_path.iterdir())) == 3
    np.testing.assert_array_equal(first.learned.expression, again.learned.expression)


def test_learn_motion_holds_few_frames_at_a_time(film, read, tracker):
    read(film(12), start=7.0)
    assert tracker.most <= 5 * FPS + HELD // EVERY


def test_shot_frames_end_at_a_cut_far_into_the_frames(film):
    random = np.random.default_rng(0)
    one, other = (random.integers(0, 255, (48, 64, 3), np.uint8).repeat(4, 0).repeat(4, 1) for _ in range(2))
    frames = ShotFrames([one] * 310 + [other] * 100)
    assert len(list(frames)) < 410
    assert frames.end == 310
    steady = ShotFrames([one] * 20)
    assert len(list(steady)) == 20
    steady.search()
    assert steady.end is None


def test_predict_curves_hears_a_persons_own_speech_once_for_all(models, film, read, say, tmp_path, monkeypatch):
    person, word = read(film(4.4)), read_speech(say(tmp_path / "word.wav", 1.0))
    heard: list[int] = []

    def counted(network, audio, *given):
        heard.append(len(audio))
        return predict_expression(network, audio, *given)

    for module in (curves, listening):
        monkeypatch.setattr(module, "predict_expression", counted)
    first, second = (predict_curves(models, person, word) for _ in range(2))
    assert heard == [25, 100, 25]
    np.testing.assert_array_equal(first.expression, second.expression)
