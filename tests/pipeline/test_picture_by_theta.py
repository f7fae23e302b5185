"""Frames that Θ draws: what it is given, and that neither chunks nor what it is not trained for spoil a picture."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from thcli.face_model import LANDMARKS_68
from thcli.faces.backends import load_face_model
from thcli.faces.crop import CropBox
from thcli.faces.pose import to_pixels
from thcli.pipeline import GenerateOptions
from thcli.pipeline.person import Person, person_of
from thcli.pipeline.target import Target, Tracked
from thcli.records import Clip, FaceTrack
from thcli.render.frames import draw_frames
from thcli.render.generator import FrameGenerator, TorchGenerator, load_generator
from thcli.render.geometric import Sketcher
from thcli.render.landmark_maps import draw_landmarks
from thcli.render.matching import costs
from thcli.rotations import apply_pose, placement
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames, Generator, GeneratorDims

FRAMES, SCALE = 9, 1 / 56
BOX = CropBox(12, 4, 300)
MakePerson = Callable[..., Person]


def moving(seed: int) -> FaceTrack:
    """A face in a crop of 256² that turns and talks, each seed in its own way."""
    model, random = load_face_model(None), np.random.default_rng(seed)
    time = np.arange(FRAMES)[:, None] / FRAMES * 2 * np.pi
    turns = np.sin(time + random.uniform(0, 6, 6)) * [0.06, 0.1, 0.03, 0.04, 0.04, 0]
    says = np.sin(2 * time + random.uniform(0, 6, 20)) * random.uniform(0.2, 0.8, 20)
    pose = placement(turns).astype(np.float32)
    faces = model.canonical + model.displacement(says.astype(np.float32))
    mesh = to_pixels(apply_pose(faces, pose), SCALE, (256, 256)).astype(np.float32)
    box, ones = np.tile(np.float32([60, 60, 200, 200]), (FRAMES, 1)), np.ones(FRAMES, np.float32)
    return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], pose, SCALE, ones, (256, 256), "made up")


@pytest.fixture
def make_person() -> MakePerson:
    """make_person(K, frame): somebody whose frames differ in light, so that references can be told apart."""

    def make(references: int = 3, frame: str = "crop") -> Person:
        photo = astronaut()[:320, 60:400]
        clip = Clip(np.stack([photo // 10 * n for n in range(2, 2 + FRAMES)]), Path("made up"))
        return person_of(clip, moving(0), BOX, None, GenerateOptions(references=references, frame=frame))

    return make


@pytest.fixture(scope="module")
def target() -> Target:
    return Tracked(moving(1))


@pytest.fixture(scope="module")
def theta(theta_weights: Path) -> FrameGenerator:
    return load_generator(theta_weights)


def drawn(
    person: Person, target: Target, theta: FrameGenerator | None, full: bool = False, most: int = 4
) -> np.ndarray:
    return np.stack(list(draw_frames(person, target, "cpu", full, theta=theta, most=most))).astype(int)


class Watched:
    """Θ that remembers what it is given."""

    def __init__(self, theta: FrameGenerator) -> None:
        self.theta, self.frames = theta, list[Frames]()
        self.embedded = list[tuple[Tensor, Tensor]]()

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        self.embedded.append((images, maps))
        return self.theta.embed(images, maps)

    def draw(self, frames: Frames, embedding: Embedding) -> Tensor:
        self.frames.append(frames)
        return self.theta.draw(frames, embedding)

    def all(self, field: str) -> Tensor:
        return torch.cat([getattr(frames, field) for frames in self.frames])


@pytest.mark.parametrize(("references", "frame"), [(3, "crop"), (1, "full")])
def test_untrained_it_gives_the_warp(
    make_person: MakePerson, target: Target, references: int, frame: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("thcli.render.detail.LOST", 0)  # what is made up for is no change of Θ's
    dims = GeneratorDims(widths=(8, 12, 16), level=1, activation=4, grid=2, hidden=8, flow_width=4)
    untrained = TorchGenerator(Generator(dims))
    person, full = make_person(references, frame), frame == "full"
    made, warp = drawn(person, target, untrained, full), drawn(person, target, None, full)
    assert made.shape == warp.shape == (FRAMES, *((320, 340) if full else (256, 256)), 3)
    assert np.abs(made - warp).max() <= 1


def test_trained_it_changes_the_picture_and_always_alike_whatever_the_chunks(
    make_person: MakePerson, target: Target, theta: FrameGenerator
) -> None:
    person = make_person()
    made = drawn(person, target, theta)
    assert np.abs(made - drawn(person, target, None)).mean() > 2
    assert made.tobytes() == drawn(person, target, theta).tobytes()
    difference = np.abs(made - drawn(person, target, theta, most=1))
    assert difference.max() <= 2 and difference.mean() < 0.05  # sums in bfloat16 have another order in other batches


def test_what_it_is_given(make_person: MakePerson, target: Target, theta: FrameGenerator) -> None:
    person, watched = make_person(8), Watched(theta)
    drawn(person, target, watched)
    ((images, maps),) = watched.embedded
    references = torch.from_numpy(person.crops).permute(0, 3, 1, 2) / 127.5 - 1
    assert (images - references).abs().max() < 1e-5
    landmarks = torch.from_numpy(person.track.landmarks[person.chosen])
    assert torch.equal(maps, draw_landmarks(landmarks, 256, 256))
    matched = torch.from_numpy(costs(person, target).match().base.argmax(1))
    assert len(set(matched.tolist())) > 1
    assert not np.array_equal(matched, costs(person, target).blend().base.argmax(1))
    assert (watched.all("matched") - references[matched]).abs().max() < 1e-5
    assert torch.equal(watched.all("matched_map"), maps[matched])
    wanted = torch.from_numpy(target.meshes(slice(None))[:, LANDMARKS_68])
    assert torch.equal(watched.all("target_map"), draw_landmarks(wanted, 256, 256))
    sketcher, meshes = Sketcher(person, "cpu"), torch.from_numpy(target.meshes(slice(None)))
    for field, shares in (("geometric", costs(person, target).match()), ("projected", costs(person, target).blend())):
        alone = torch.cat([sketcher.draw(meshes[t : t + 1], shares.part(slice(t, t + 1))) for t in range(FRAMES)])
        assert (watched.all(field) - (2 * alone - 1)).abs().max() < 2 / 255


def test_of_one_reference_both_pictures_are_the_same(
    make_person: MakePerson, target: Target, theta: FrameGenerator
) -> None:
    watched = Watched(theta)
    drawn(make_person(1), target, watched)
    assert torch.equal(watched.all("projected"), watched.all("geometric"))
    assert watched.embedded[0][0].shape == (1, 3, 256, 256)


def test_several_pictures_at_once_are_those_drawn_alone(make_person: MakePerson, target: Target) -> None:
    person = make_person(4)
    sketcher, meshes = Sketcher(person, "cpu"), torch.from_numpy(target.meshes(slice(None)))
    each = [costs(person, target).match(), costs(person, target).blend()]
    for shares, together in zip(each, sketcher.draw_each(meshes, each), strict=True):
        assert (sketcher.draw(meshes, shares) - together).abs().max() < 1e-4
    one, other = sketcher.draw_each(meshes, each)
    assert (one - other).abs().max() > 0.05
