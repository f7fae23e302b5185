"""Θ fine-tuned to the clip itself: what it learns from, when it is kept, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from thcli.clips.probe import MediaInfo
from thcli.errors import UsageError
from thcli.faces.crop import CropBox
from thcli.generate import fine_tune as adapting
from thcli.generate.fine_tune import LEAST_FRAMES, PARTS, Tailored, adapt, check_reference
from thcli.pipeline.options import GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.records import Clip, FaceTrack
from thcli.render.generator import FrameGenerator, load_generator
from thgen_models.generator import Frames

FRAMES, BOX = LEAST_FRAMES + 4, CropBox(0, 0, 256)
CLIP = Path("clip.mp4")


@pytest.fixture(scope="module")
def pictures(portrait_png: Path) -> np.ndarray:
    """A clip that becomes brighter, so that every frame is known by its light."""
    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    return (portrait * np.linspace(0.6, 1, FRAMES)[:, None, None, None]).astype(np.uint8)


@pytest.fixture(scope="module")
def track(talking: Callable[[int, int], FaceTrack]) -> FaceTrack:
    """It slips to the right, so that no two frames are the same."""
    track = talking(0, FRAMES)
    slip = np.linspace(0, 2, FRAMES, dtype=np.float32)[:, None, None] * np.float32([1, 0, 0])
    return dataclasses.replace(track, mesh=track.mesh + slip, landmarks=track.landmarks + slip)


@pytest.fixture(scope="module")
def person(pictures: np.ndarray, track: FaceTrack) -> Person:
    return person_of(Clip(pictures, CLIP), track, BOX, None, GenerateOptions(references=3))


@pytest.fixture(autouse=True)
def read(pictures: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """The clip, without a file."""

    def stream(path: Path, start: float, seconds: float) -> list[np.ndarray]:
        assert (path, start) == (CLIP, 1.5)
        return list(pictures[: round(seconds * 25)])

    monkeypatch.setattr(adapting, "stream_frames", stream)


@pytest.fixture(scope="module")
def theta(theta_weights: Path) -> FrameGenerator:
    return load_generator(theta_weights)


def options(theta_weights: Path, steps: int = 4, **changes: object) -> GenerateOptions:
    given: dict[str, object] = {"references": 2, "start": 1.5} | changes
    return GenerateOptions(renderer="network", adapt=steps, weights=theta_weights, **given)  # type: ignore[arg-type]


def drawn(theta: FrameGenerator) -> np.ndarray:
    """What Θ makes of something."""
    random = torch.Generator().manual_seed(3)
    images = torch.rand(4, 3, 64, 64, generator=random) * 2 - 1
    maps = torch.rand(4, 1, 64, 64, generator=random)
    frames = Frames(images[:1], images[1:2], images[2:3], maps[:1], maps[1:2])
    return theta.draw(frames, theta.embed(images[2:], maps[2:])).numpy()


@pytest.fixture(scope="module")
def stage(person: Person, theta_weights: Path, pictures: np.ndarray) -> adapting.GeneratorStage:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(adapting, "stream_frames", lambda path, start, seconds: list(pictures))
        return adapting._stage(CLIP, person, options(theta_weights), "cpu", {})


def test_a_part_is_drawn_from_the_others(stage: adapting.GeneratorStage, track: FaceTrack) -> None:
    parts = [list(range(18)), list(range(18, 36)), list(range(36, 54))]
    assert len(parts) == PARTS and len(stage.takes) == 2
    apart = np.concatenate([take.landmarks for take in stage.held_out])
    landmarks = [*(take.landmarks for take in stage.takes), apart]
    for part, shown in zip(parts, landmarks, strict=True):
        np.testing.assert_array_equal(shown, track.landmarks[part, :, :2])
    for part, take in zip(parts, [*stage.takes, stage.held_out[0]], strict=True):
        known = [int(np.abs(track.landmarks[..., :2] - one).sum((1, 2)).argmin()) for one in take.reference_landmarks]
        assert len(known) == 2 and not set(known) & set(part)


def test_what_is_learnt_from_is_the_clip(stage: adapting.GeneratorStage, pictures: np.ndarray) -> None:
    take = stage.takes[1]
    real = take.pictures("real", list(range(18)))
    assert np.abs(real.astype(int) - pictures[18:36]).mean() < 2
    geometric = take.pictures("geometric", list(range(18)))
    assert 0.5 < np.abs(real.astype(int) - geometric).mean() < 30
    assert {take.meta.split for take in stage.takes} == {"train"}
    batch = stage.batch(np.random.default_rng(0))
    assert batch.real.shape == (4, 3, 256, 256) and batch.references.shape == (2, 2, 3, 256, 256)
    seen = ((batch.real[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert min(np.abs(seen - picture).mean() for picture in pictures) < 2  # as it is, neither cut nor coloured


def test_faces_that_were_not_found_are_not_learnt_from(
    person: Person, theta_weights: Path, track: FaceTrack, monkeypatch: pytest.MonkeyPatch
) -> None:
    confidence = np.ones(FRAMES, np.float32)
    confidence[[3, 40]] = 0
    seen = dataclasses.replace(person, track=dataclasses.replace(track, confidence=confidence))
    stage = adapting._stage(CLIP, seen, options(theta_weights), "cpu", {})
    shown = np.concatenate([take.landmarks for take in (*stage.takes, *stage.held_out)])
    left = [t for t in range(FRAMES) if t not in (2, 3, 40, 41)]
    np.testing.assert_array_equal(shown, track.landmarks[left, :, :2])
    confidence[22:36] = 0
    with pytest.raises(UsageError) as caught:
        adapting._stage(CLIP, seen, options(theta_weights), "cpu", {})
    assert str(caught.value) == (
        "--adapt: clip.mp4 shows the face in 4 of the frames 18 to 35, expected 12 or more; "
        "choose another part with --start, or leave out --adapt"
    )


@pytest.fixture
def adapted(
    stage: adapting.GeneratorStage, person: Person, theta: FrameGenerator, theta_weights: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., tuple[Tailored, int]]:  # fmt: skip
    """adapted(rate, steps, seed): what comes out, and how many steps were heard of; from a few frames, drawn before."""
    drawn = iter(())
    monkeypatch.setattr(adapting, "LOOKS", 1)
    monkeypatch.setattr(adapting, "_take", lambda *_: next(drawn).part(range(4)))

    def run(rate: float, steps: int = 3, seed: int = 1) -> tuple[Tailored, int]:
        nonlocal drawn
        drawn, heard = iter([*stage.takes, stage.held_out[0]]), list[int]()
        monkeypatch.setattr(adapting, "LEARNING_RATE", rate)
        chosen = options(theta_weights, steps, seed=seed)
        return adapt(theta, CLIP, person, chosen, "cpu", lambda: heard.append(1)), len(heard)

    return run


def test_it_learns_the_clip_and_always_alike(
    adapted: Callable[..., tuple[Tailored, int]], theta: FrameGenerator
) -> None:
    before = drawn(theta)
    (first, heard), (again, _), (other, _) = (adapted(0.01, seed=seed) for seed in (1, 1, 2))
    record = first.record
    assert (record.steps, record.kept, heard) == (3, "adapted", 3)
    assert record.after["score"] < record.before["score"] and record.after["mouth"] < record.before["mouth"]
    assert set(record.before) == set(record.after) == {"ssim", "mouth", "sharpness", "score"}
    assert np.abs(drawn(first.theta) - before).max() > 0.01
    assert drawn(first.theta).tobytes() == drawn(again.theta).tobytes() and again.record == record
    assert drawn(first.theta).tobytes() != drawn(other.theta).tobytes()
    np.testing.assert_array_equal(drawn(theta), before)


def test_where_it_becomes_no_better_it_stays_as_it_was(
    adapted: Callable[..., tuple[Tailored, int]], theta: FrameGenerator
) -> None:
    for rate, steps in ((0.0, 1), (0.3, 2)):
        tailored, heard = adapted(rate, steps)
        assert tailored.theta is theta and heard == steps
        assert (tailored.record.steps, tailored.record.kept) == (steps, "original")
        assert tailored.record.after["score"] >= tailored.record.before["score"]


def test_sharper_is_not_better_where_it_is_further_off(
    adapted: Callable[..., tuple[Tailored, int]], theta: FrameGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = iter([(0.9, 5.0, 0.6), (0.899, 5.1, 0.9), (0.9, 5.0, 0.6), (0.91, 5.1, 0.9)])

    def evaluate(self: object, network: object) -> dict[str, float]:
        ssim, mouth, sharpness = next(looks)
        return {"ssim": ssim, "mouth": mouth, "sharpness": sharpness, "score": 1 - ssim - sharpness}

    monkeypatch.setattr(adapting.GeneratorStage, "evaluate", evaluate)
    assert [adapted(0.001, 1)[0].record.kept for _ in range(2)] == ["original", "adapted"]


@pytest.mark.parametrize(("frames", "image", "message"), [
    (None, True, "--adapt: clip.mp4 is a photo, expected a clip to learn from; leave out --adapt"),
    (LEAST_FRAMES - 1, False, "--adapt: clip.mp4 has 49 frames to learn from, expected 50 or more (2 s); "
                              "give a longer clip, or leave out --adapt"),
    (-10, False, "--adapt: clip.mp4 has 0 frames to learn from, expected 50 or more (2 s); "
                 "give a longer clip, or leave out --adapt"),
])  # fmt: skip
def test_what_is_too_little_is_said_at_once(
    frames: int | None, image: bool, message: str, monkeypatch: pytest.MonkeyPatch, theta_weights: Path
) -> None:
    duration = None if frames is None else 1.5 + frames / 25
    info = MediaInfo(256, 256, 25, duration, video=not image, audio=False, image=image, format="mp4")
    monkeypatch.setattr(adapting, "probe", lambda path: info)
    with pytest.raises(UsageError) as caught:
        check_reference(CLIP, options(theta_weights))
    assert str(caught.value) == message
    monkeypatch.setattr(adapting, "probe", lambda path: dataclasses.replace(info, image=False, duration=3.5))
    check_reference(CLIP, options(theta_weights))


def test_less_than_the_file_promised(person: Person, theta_weights: Path, track: FaceTrack) -> None:
    short = dataclasses.replace(person, track=track.select(slice(LEAST_FRAMES - 1)))
    with pytest.raises(UsageError, match=r"^--adapt: clip\.mp4 has 49 frames to learn from"):
        adapting._stage(CLIP, short, options(theta_weights), "cpu", {})


def test_one_picture_all_the_time(person: Person, theta_weights: Path, track: FaceTrack) -> None:
    frozen = dataclasses.replace(person, track=track.select(np.zeros(FRAMES, np.intp)))
    with pytest.raises(UsageError, match=r"^--adapt: clip\.mp4 shows one picture all the time; leave out --adapt$"):
        adapting._stage(CLIP, frozen, options(theta_weights), "cpu", {})
