"""The neural renderer gives Θ what it was trained for, and neither chunks nor an untrained Θ spoil the frames."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import astronaut
from torch import Tensor

from thcli.face_model import LANDMARKS_68, FaceModel
from thcli.images import blur, resized
from thcli.pipeline.models import Models, load_models
from thcli.pipeline.options import ReferenceOptions
from thcli.pipeline.person import person_from_track
from thcli.pipeline.target import TrackedTarget
from thcli.records import Clip, CropBox, FaceTrack, Image, Person
from thcli.render.frames import TargetRenderer
from thcli.render.generator import FrameGenerator, TorchGenerator
from thcli.render.geometric import GeometricRenderer
from thcli.render.landmark_maps import draw_for, draw_landmarks
from thcli.render.matcher import costs
from thcli.rotations import apply_pose, placement, to_pixels
from thgen_models.blocks import reduced
from thgen_models.embedding import Embedding
from thgen_models.generator import Frames, Generator, GeneratorDims

FRAMES, SCALE = 9, 1 / 56
BOX = CropBox(12, 4, 300)
MakePerson = Callable[..., Person]
Rendered = Callable[..., np.ndarray]


def moving(model: FaceModel, seed: int, loudness: float = 1.0) -> FaceTrack:
    """Return the track of a face in a crop of 256² that turns and talks, each seed in its own way."""
    random = np.random.default_rng(seed)
    time = np.arange(FRAMES)[:, None] / FRAMES * 2 * np.pi
    turns = np.sin(time + random.uniform(0, 6, 6)) * [0.06, 0.1, 0.03, 0.04, 0.04, 0]
    says = np.sin(2 * time + random.uniform(0, 6, 20)) * random.uniform(0.2, 0.8, 20) * loudness
    pose = placement(turns).astype(np.float32)
    faces = model.canonical + model.displacement(says.astype(np.float32))
    mesh = to_pixels(apply_pose(faces, pose), SCALE, (256, 256)).astype(np.float32)
    box, ones = np.tile(np.float32([60, 60, 200, 200]), (FRAMES, 1)), np.ones(FRAMES, np.float32)
    return FaceTrack(box, mesh, mesh[:, LANDMARKS_68], pose, SCALE, ones, (256, 256), "made up")


def sharp_photo() -> Image:
    """Return a photo [320, 340, 3] of head and shoulders."""
    return astronaut()[:320, 60:400]


def smooth_photo() -> Image:
    """Return the same photo without any fine detail."""
    image = blur(torch.from_numpy(sharp_photo()).permute(2, 0, 1)[None].float(), 8.0)
    return image[0].permute(1, 2, 0).round().byte().numpy()


@pytest.fixture
def make_person(face_model: FaceModel) -> MakePerson:
    """make_person(K, ...): a person whose frames differ in brightness, so that references can be told apart.

    Their picture rests while the face moves. Secondary motion would undo that around the face, in folds; so nothing is
    learned from the frames but where it is asked for.
    """

    def make(
        references: int = 3,
        frame: str = "crop",
        photo: Image | None = None,
        loudness: float = 1.0,
        secondary: bool = False,
    ) -> Person:
        photo = sharp_photo() if photo is None else photo
        frames = [np.round(photo * (n / 10)).astype(np.uint8) for n in range(2, 2 + FRAMES)]
        options = ReferenceOptions(references=references, frame=frame, size="256" if frame == "crop" else "auto")
        clip = Clip(np.stack(frames), Path("made up"))
        person = person_from_track(face_model, clip, moving(face_model, 0, loudness), BOX, None, options)
        return person if secondary else replace(person, small_frames=None)

    return make


@pytest.fixture(scope="module")
def target(face_model: FaceModel) -> TrackedTarget:
    """Another face than the person's, which moves otherwise."""
    return TrackedTarget(moving(face_model, 1))


@pytest.fixture(scope="module")
def theta(theta_weights: Path) -> FrameGenerator:
    """A tiny Θ that changes images."""
    return load_models(theta_weights, "cpu").theta


@pytest.fixture
def rendered(models: Models, target: TrackedTarget) -> Rendered:
    """rendered(person, theta): all frames of the target, or of another, as integers that can be subtracted."""

    def render(person: Person, theta: FrameGenerator | None, shown: TrackedTarget = target, **options) -> np.ndarray:
        return np.stack(list(TargetRenderer(models, person, shown, theta=theta, **options).frames())).astype(int)

    return render


class RecordingTheta:
    """Θ that records what it is given."""

    def __init__(self, theta: FrameGenerator) -> None:
        self.theta, self.frames = theta, list[Frames]()
        self.embedded = list[tuple[Tensor, Tensor]]()
        self.size, self.reduction = theta.size, theta.reduction

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        self.embedded.append((images, maps))
        return self.theta.embed(images, maps)

    def render(self, frames: Frames, embedding: Embedding) -> Tensor:
        self.frames.append(frames)
        return self.theta.render(frames, embedding)

    def all(self, field: str) -> Tensor:
        return torch.cat([getattr(frames, field) for frames in self.frames])


@pytest.mark.parametrize(("references", "frame", "shape"), [(3, "crop", (256, 256)), (1, "full", (320, 340))])
def test_target_renderer_with_an_untrained_theta_gives_the_geometric_image(
    face_model: FaceModel,
    make_person: MakePerson,
    rendered: Rendered,
    references: int,
    frame: str,
    shape: tuple[int, int],
) -> None:
    """Neither the smooth photo nor the closed mouth has fine detail, which is raised whatever Θ does."""
    dims = GeneratorDims(widths=(8, 12, 16), level=1, activation=4, grid=2, hidden=8, flow_width=4)
    person, target = make_person(references, frame, smooth_photo(), 0.0), TrackedTarget(moving(face_model, 1, 0.0))
    made, geometric = rendered(person, TorchGenerator(Generator(dims)), target), rendered(person, None, target)
    assert made.shape == geometric.shape == (FRAMES, *shape, 3)
    assert np.abs(made - geometric).max() <= 1


def test_target_renderer_with_theta_changes_the_image_alike_for_any_batch_size(
    make_person: MakePerson, rendered: Rendered, theta: FrameGenerator
) -> None:
    person = make_person()
    made = rendered(person, theta)
    assert np.abs(made - rendered(person, None)).mean() > 2
    assert made.tobytes() == rendered(person, theta).tobytes()
    difference = np.abs(made - rendered(person, theta, batch_size=1))
    # Sums in bfloat16 are computed in another order in other batches, which a few pixels show.
    assert difference.max() <= 4 and difference.mean() < 0.05 and (difference > 2).mean() < 1e-5


def test_neural_renderer_gives_theta_references_maps_and_both_geometric_images(
    models: Models, make_person: MakePerson, target: TrackedTarget, rendered: Rendered, theta: FrameGenerator
) -> None:
    person, recording = make_person(8), RecordingTheta(theta)
    rendered(person, recording)
    ((images, maps),) = recording.embedded
    assert recording.reduction == 2
    size = theta.size
    references = resized(torch.from_numpy(person.reference_images).permute(0, 3, 1, 2) / 255, size) * 2 - 1
    assert (images - reduced(references, 2)).abs().max() < 1e-5
    landmarks = torch.from_numpy(person.track.landmarks[person.reference_indices])
    assert torch.equal(maps, reduced(resized(draw_landmarks(landmarks, 256, 256), size), 2))
    match, blend = costs(person, target).match(), costs(person, target).blend()
    matched = torch.from_numpy(match.base.argmax(1))
    assert len(set(matched.tolist())) > 1
    assert not np.array_equal(matched, blend.base.argmax(1))
    assert (recording.all("matched") - references[matched]).abs().max() < 1e-5
    assert torch.equal(recording.all("matched_map"), maps[matched])
    wanted = torch.from_numpy(target.meshes(slice(None))[:, LANDMARKS_68])
    assert torch.equal(recording.all("target_map"), draw_for(theta, wanted))
    renderer, meshes = GeometricRenderer(models, person), torch.from_numpy(target.meshes(slice(None)))
    for field, weights in (("geometric", match), ("projected", blend)):
        alone = [renderer.render(meshes[t : t + 1], weights.select(slice(t, t + 1))) for t in range(FRAMES)]
        wanted = 2 * resized(torch.cat(alone), size) - 1
        if field == "geometric":
            assert (recording.all(field) - wanted).abs().max() < 2 / 255
        else:  # ỹ_t is warped at the smaller size
            assert (recording.all(field) - reduced(wanted, 2)).abs().mean() < 0.01


def test_neural_renderer_gives_theta_two_equal_images_for_one_reference(
    make_person: MakePerson, rendered: Rendered, theta: FrameGenerator
) -> None:
    recording = RecordingTheta(theta)
    rendered(make_person(1), recording)
    assert (recording.all("projected") - reduced(recording.all("geometric"), 2)).abs().mean() < 0.01
    assert recording.embedded[0][0].shape == (1, 3, theta.size // 2, theta.size // 2)


def test_secondary_motion_is_learned_from_a_clip_on_the_canvas_and_serves_for_the_crop_too(
    models: Models, make_person: MakePerson, theta: FrameGenerator, target: TrackedTarget
) -> None:
    person = make_person(3, "full", secondary=True)
    renderer = TargetRenderer(models, person, target, theta=theta)
    whole, neural = renderer.geometric.warper.secondary, renderer.neural
    assert whole is not None and neural is not None and neural.small is not renderer.geometric
    part = neural.small.warper.secondary
    assert part is not None and torch.equal(part.response, whole.part(person.canvas, person.box).response)
    assert GeometricRenderer(models, replace(person, small_frames=None)).warper.secondary is None


def test_render_each_equals_render_with_each_of_the_weights(
    models: Models, make_person: MakePerson, target: TrackedTarget
) -> None:
    person = make_person(4)
    renderer, meshes = GeometricRenderer(models, person), torch.from_numpy(target.meshes(slice(None)))
    weights = [costs(person, target).match(), costs(person, target).blend()]
    together = renderer.render_each(meshes, [(renderer.references, one) for one in weights])
    for one, image in zip(weights, together, strict=True):
        assert (renderer.render(meshes, one) - image).abs().max() < 1e-4
    assert (together[0] - together[1]).abs().max() > 0.05
