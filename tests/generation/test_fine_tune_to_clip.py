"""Θ fine-tuned to the clip itself: what it learns from, when it is kept, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.probe import MediaInfo, probe
from thcli.errors import UsageError
from thcli.generation import fine_tune as tuning
from thcli.generation.checks import LEAST_FRAMES, check_clip_to_learn_from
from thcli.generation.fine_tune import PARTS, fine_tune_to_clip
from thcli.generation.result import FineTuneReport
from thcli.images import resized
from thcli.pipeline.episodes import render_episode
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.records import Clip, CropBox, FaceTrack, Person
from thcli.render.generator import FrameGenerator
from thcli.training.generator import GeneratorStage
from thgen_models.blocks import reduced
from thgen_models.generator import Frames

FRAMES, BOX = LEAST_FRAMES + 4, CropBox(0, 0, 256)
START = 0.4
OPTIONS = ReferenceOptions(references=2)

FineTune = Callable[..., tuple[FrameGenerator, FineTuneReport, int]]


@pytest.fixture(scope="module")
def clip(portrait_png: Path, tmp_path_factory: pytest.TempPathFactory) -> MediaInfo:
    """A clip that becomes brighter, so that every frame is known by its light; what is before ``START`` is black."""
    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    before = round(START * 25)
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    with VideoWriter(path, (256, 256), None, before + FRAMES) as writer:
        for light in [*np.zeros(before), *np.linspace(0.6, 1, FRAMES)]:
            writer.write((portrait * light).astype(np.uint8))
    return probe(path)


@pytest.fixture(scope="module")
def images(clip: MediaInfo) -> np.ndarray:
    """The frames of the clip from ``START`` on."""
    return read_clip(clip, START, FRAMES / 25).frames


@pytest.fixture(scope="module")
def track(talking: Callable[[int, int], FaceTrack]) -> FaceTrack:
    """It slips to the right, so that no two frames are the same."""
    track = talking(0, FRAMES)
    slip = np.linspace(0, 2, FRAMES, dtype=np.float32)[:, None, None] * np.float32([1, 0, 0])
    return dataclasses.replace(track, mesh=track.mesh + slip, landmarks=track.landmarks + slip)


@pytest.fixture(scope="module")
def models(theta_weights: Path) -> Models:
    """All networks, with a tiny Θ."""
    return load_models(theta_weights, "cpu")


@pytest.fixture(scope="module")
def person(models: Models, clip: MediaInfo, images: np.ndarray, track: FaceTrack) -> Person:
    options = ReferenceOptions(references=3)
    person = person_from_track(models.face_model, Clip(images, clip.path), track, BOX, None, options)
    return dataclasses.replace(person, start=START)


class Made(Exception):
    """Ends the work once the stage is made, and holds it."""


def stage_of(models: Models, clip: MediaInfo, person: Person) -> GeneratorStage:
    """The stage that would be trained."""

    def stop(stage: GeneratorStage, *_: object) -> None:
        raise Made(stage)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tuning, "fine_tune", stop)
        with pytest.raises(Made) as made:
            fine_tune_to_clip(models, clip, person, OPTIONS, 4, 0, lambda: None)
    return made.value.args[0]


@pytest.fixture(scope="module")
def stage(models: Models, clip: MediaInfo, person: Person) -> GeneratorStage:
    return stage_of(models, clip, person)


def refusal(models: Models, clip: MediaInfo, person: Person) -> str:
    """The message of a person that cannot be learnt from."""
    with pytest.raises(UsageError) as caught:
        fine_tune_to_clip(models, clip, person, OPTIONS, 4, 0, lambda: None)
    return str(caught.value)


def rendered(theta: FrameGenerator) -> np.ndarray:
    """What Θ makes of noise."""
    random = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, 64, 64, generator=random) * 2 - 1
    small = reduced(images, theta.reduction)
    maps = torch.rand(4, 1, *small.shape[-2:], generator=random)
    frames = Frames(images[:1], small[1:2], images[2:3], maps[:1], maps[1:2])
    return theta.render(frames, theta.embed(small[2:], maps[2:])).numpy()


def test_each_part_is_rendered_from_references_in_the_others(stage: GeneratorStage, track: FaceTrack) -> None:
    parts = [list(range(18)), list(range(18, 36)), list(range(36, 54))]
    assert len(parts) == PARTS and len(stage.episodes) == 2
    apart = np.concatenate([episode.landmarks for episode in stage.held_out])
    landmarks = [*(episode.landmarks for episode in stage.episodes), apart]
    for part, shown in zip(parts, landmarks, strict=True):
        np.testing.assert_array_equal(shown, track.landmarks[part, :, :2])
    for part, episode in zip(parts, [*stage.episodes, stage.held_out[0]], strict=True):
        of_references = episode.reference_landmarks
        known = [int(np.abs(track.landmarks[..., :2] - one).sum((1, 2)).argmin()) for one in of_references]
        assert len(known) == 2 and not set(known) & set(part)


def test_episodes_show_the_clip_from_its_start_as_it_is(stage: GeneratorStage, images: np.ndarray) -> None:
    episode = stage.episodes[1]
    real = episode.images("real", list(range(18)))
    assert np.abs(real.astype(int) - images[18:36]).mean() < 2
    geometric = episode.images("geometric", list(range(18)))
    assert 0.5 < np.abs(real.astype(int) - geometric).mean() < 30
    assert {episode.meta.split for episode in stage.episodes} == {"train"}
    batch = stage.batch(np.random.default_rng(0))
    assert batch.real.shape == (4, 3, 192, 192) and batch.references.shape == (2, 2, 3, 192, 192)
    shown, clip = (batch.real[:1] + 1) * 127.5, resized(torch.from_numpy(images).permute(0, 3, 1, 2).float(), 192)
    assert (clip - shown).abs().mean((1, 2, 3)).min() < 2  # neither cut nor coloured


def test_frames_without_a_face_are_not_learnt_from(
    models: Models, clip: MediaInfo, person: Person, track: FaceTrack
) -> None:
    confidence = np.ones(FRAMES, np.float32)
    confidence[[3, 40]] = 0
    seen = dataclasses.replace(person, track=dataclasses.replace(track, confidence=confidence))
    stage = stage_of(models, clip, seen)
    shown = np.concatenate([episode.landmarks for episode in (*stage.episodes, *stage.held_out)])
    left = [t for t in range(FRAMES) if t not in (2, 3, 40, 41)]
    np.testing.assert_array_equal(shown, track.landmarks[left, :, :2])


def test_part_with_too_few_faces_is_refused(models: Models, clip: MediaInfo, person: Person, track: FaceTrack) -> None:
    confidence = np.ones(FRAMES, np.float32)
    confidence[22:36] = 0
    seen = dataclasses.replace(person, track=dataclasses.replace(track, confidence=confidence))
    assert refusal(models, clip, seen) == (
        f"--adapt: {clip.path} shows the face in 4 of the frames 18 to 35, expected 12 or more; "
        "choose another part with --start, or leave out --adapt"
    )


@pytest.fixture
def fine_tune(models: Models, clip: MediaInfo, person: Person, monkeypatch: pytest.MonkeyPatch) -> FineTune:
    """fine_tune(rate, steps, seed): Θ, the outcome, and how many steps were told of; on two windows of each part."""

    def render_two(*given: object) -> object:
        *whom, windows, random = given
        return render_episode(*whom, windows[:2], random)  # type: ignore[arg-type,index]

    monkeypatch.setattr(tuning, "VALIDATIONS", 1)
    monkeypatch.setattr(tuning, "render_episode", render_two)

    def run(rate: float, steps: int = 3, seed: int = 1) -> tuple[FrameGenerator, FineTuneReport, int]:
        told: list[int] = []
        monkeypatch.setattr(tuning, "LEARNING_RATE", rate)
        tuned = fine_tune_to_clip(models, clip, person, OPTIONS, steps, seed, lambda: told.append(1))
        return *tuned, len(told)

    return run


def test_fine_tuning_learns_the_clip_and_does_so_alike_from_the_same_seed(fine_tune: FineTune, models: Models) -> None:
    before = rendered(models.theta)
    (first, report, told), (again, report_again, _), (other, _, _) = (fine_tune(0.01, seed=seed) for seed in (1, 1, 2))
    assert (report.steps, report.kept, told) == (3, "adapted", 3)
    assert report.after["score"] < report.before["score"] and report.after["mouth"] < report.before["mouth"]
    assert set(report.before) == set(report.after) == {"ssim", "mouth", "sharpness", "score"}
    assert np.abs(rendered(first) - before).max() > 0.01
    assert rendered(first).tobytes() == rendered(again).tobytes() and report_again == report
    assert rendered(first).tobytes() != rendered(other).tobytes()
    np.testing.assert_array_equal(rendered(models.theta), before)


def test_theta_stays_as_it_was_where_it_becomes_no_better(fine_tune: FineTune, models: Models) -> None:
    for rate, steps in ((0.0, 1), (0.3, 2)):
        theta, report, told = fine_tune(rate, steps)
        assert theta is models.theta and told == steps
        assert (report.steps, report.kept) == (steps, "original")
        assert report.after["score"] >= report.before["score"]


def test_theta_that_is_sharper_but_further_off_is_not_kept(
    fine_tune: FineTune, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = iter([(0.9, 5.0, 0.6), (0.899, 5.1, 0.9), (0.9, 5.0, 0.6), (0.91, 5.1, 0.9)])

    def evaluate(self: object, network: object) -> dict[str, float]:
        ssim, mouth, sharpness = next(figures)
        return {"ssim": ssim, "mouth": mouth, "sharpness": sharpness, "score": 1 - ssim - sharpness}

    monkeypatch.setattr(GeneratorStage, "evaluate", evaluate)
    assert [fine_tune(0.001, 1)[1].kept for _ in range(2)] == ["original", "adapted"]


@pytest.mark.parametrize(("frames", "image", "reason"), [
    (None, True, "is a photo, expected a clip to learn from; leave out --adapt"),
    (LEAST_FRAMES - 1, False, "has 49 frames to learn from, expected 50 or more (2 s); "
                              "give a longer clip, or leave out --adapt"),
    (-10, False, "has 0 frames to learn from, expected 50 or more (2 s); "
                 "give a longer clip, or leave out --adapt"),
])  # fmt: skip
def test_photos_and_short_clips_are_refused_before_any_work(
    clip: MediaInfo, frames: int | None, image: bool, reason: str
) -> None:
    duration = None if frames is None else START + frames / 25
    given = dataclasses.replace(clip, path=Path("clip.mp4"), duration=duration, video=not image, image=image)
    with pytest.raises(UsageError) as caught:
        check_clip_to_learn_from(given, START)
    assert str(caught.value) == f"--adapt: clip.mp4 {reason}"


def test_clips_of_two_seconds_and_of_unknown_length_are_not_refused(clip: MediaInfo) -> None:
    for duration in (START + 2, None):
        check_clip_to_learn_from(dataclasses.replace(clip, duration=duration), START)


def test_clip_shorter_than_its_file_promised_is_refused(models: Models, clip: MediaInfo, person: Person) -> None:
    short = dataclasses.replace(person, track=person.track.select(slice(LEAST_FRAMES - 1)))
    assert refusal(models, clip, short).startswith(f"--adapt: {clip.path} has 49 frames to learn from")


def test_clip_that_shows_one_picture_all_the_time_is_refused(models: Models, clip: MediaInfo, person: Person) -> None:
    frozen = dataclasses.replace(person, track=person.track.select(np.zeros(FRAMES, np.intp)))
    message = refusal(models, clip, frozen)
    assert message == f"--adapt: {clip.path} shows one picture all the time; leave out --adapt"
