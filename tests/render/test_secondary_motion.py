"""Secondary motion: what hair and shoulders do beside the head is learned from frames of the clip."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.images import blur, resized
from thcli.records import CROP_SIZE, CropBox, ReferenceWeights
from thcli.render.flows import Flows, pairs_of
from thcli.render.head_weights import prior_head_weights
from thcli.render.layers import References
from thcli.render.rasterize import rasterize
from thcli.render.secondary_motion import (
    FARTHEST,
    MOVEMENTS,
    SecondaryMotion,
    learn_secondary_motion,
    movement,
)
from thcli.render.small_frames import SIZE, small_frames
from thcli.render.warp import sample
from thcli.render.warped import ReferenceWarper

SHIFTS = ((0, 0), (4, 0), (-4, 1), (0, 5), (2, -4), (-3, -3), (5, 3), (-5, 4))
"""Where the head is in each frame, px of the crop; the first three are references."""
LOWER_LIP = 17
"""Vertex below the lower lip."""
SHARE = 0.5
"""Share of the head's shift that hair and shoulders follow in the made-up clip."""


def texture() -> torch.Tensor:
    """Return a picture [1, 3, 256, 256] with detail of several sizes."""
    noise = torch.rand(1, 3, CROP_SIZE, CROP_SIZE, generator=torch.Generator().manual_seed(1))
    return (0.5 + sum((blur(noise, sigma) - 0.5) * sigma for sigma in (3.0, 6.0, 12.0))).clamp(0, 1)


def moved(picture: torch.Tensor, shift: tuple[float, float]) -> torch.Tensor:
    """Return a picture [1, 3, 256, 256] moved right and down by px of the crop."""
    return sample(picture, -torch.tensor(shift).view(1, 2, 1, 1).expand(1, 2, CROP_SIZE, CROP_SIZE))


class MadeUpClip:
    """A clip in which all but the face follows the head by ``SHARE``, while nothing is known of how it moves."""

    def __init__(self, faces) -> None:
        picture = texture()
        images = [moved(picture, (SHARE * x, SHARE * y)) for x, y in SHIFTS]
        self.meshes = torch.cat([faces.mesh(shift=shift) for shift in SHIFTS])
        self.references, self.reference_meshes = References(torch.cat(images[:3])), self.meshes[:3]
        grey = torch.cat([resized(image, SIZE) for image in images]).mean(1)
        self.frames = (grey * 255).round().byte().numpy()

    @staticmethod
    def rigid_flows(target, used, size):
        pairs = pairs_of(used)
        return Flows(pairs, torch.zeros(len(pairs), 2, size, size)), torch.ones(len(target), 1, size, size)

    def learn(self) -> SecondaryMotion:
        own = np.arange(3)
        given = (self.frames, self.meshes, own, self.references, self.reference_meshes, self.rigid_flows)
        learned = learn_secondary_motion(*given)
        assert learned is not None
        return learned


@pytest.fixture(scope="module")
def clip(faces):
    return MadeUpClip(faces)


@pytest.fixture(scope="module")
def learned(clip):
    return clip.learn()


def everywhere(count: int = 1) -> torch.Tensor:
    return torch.ones(count, 1, SIZE, SIZE)


@pytest.mark.parametrize(
    ("change", "measure", "sign"),
    [
        ({"turn": (0, 0.2, 0)}, 0, -1),
        ({"turn": (0.2, 0, 0)}, 1, 1),
        ({"shift": (7, 0)}, 2, 1),
        ({"shift": (0, 7)}, 3, 1),
        ({"turn": (0, 0, 0.2)}, 5, -1),
    ],
)
def test_each_movement_of_the_head_has_a_measure_of_its_own(faces, change, measure, sign):
    measures, height = movement(faces.mesh(), faces.mesh(**change))
    largest = int(measures[0].abs().argmax())
    assert largest == measure and float(measures[0, measure]) * sign > 0.02
    assert float(height) == pytest.approx(0.57 * CROP_SIZE, rel=0.1)


def test_a_dropped_jaw_has_a_measure_of_its_own(faces, face_model):
    lower = faces.mesh()
    lower[:, face_model.canonical[:, 1] > face_model.canonical[LOWER_LIP, 1], 1] += 8
    measures = movement(faces.mesh(), lower)[0][0]
    assert int(measures.abs().argmax()) == MOVEMENTS - 1 and float(measures[-1]) > 0.02


def test_growth_has_a_measure_and_sizes_are_in_face_heights(faces):
    small, large = faces.mesh() - CROP_SIZE / 2, 1.2 * (faces.mesh() - CROP_SIZE / 2)
    assert float(movement(small, large)[0][0, 4]) == pytest.approx(0.1, abs=0.01)
    shifted = faces.mesh(shift=(10, 0))
    measures, height = movement(faces.mesh(), shifted)
    twice, twice_height = movement(2 * faces.mesh(), 2 * shifted)
    assert torch.allclose(measures, twice, atol=1e-4) and torch.allclose(2 * height, twice_height)


def test_learned_flow_is_that_of_the_clip_for_movements_that_it_does_not_show(learned, faces):
    target, source = faces.mesh(shift=(3, 2)), faces.mesh(shift=(-1, 1))
    flow = learned.flow(target, source, everywhere())
    inner = flow[..., 12:-12, 12:-12].mean((0, 2, 3))
    assert inner.tolist() == pytest.approx([-4 * SHARE, -1 * SHARE], abs=0.25)


def test_nothing_moves_where_it_must_not_or_where_the_head_rests(learned, faces):
    target, source = faces.mesh(shift=(3, 2)), faces.mesh(shift=(-1, 1))
    assert not learned.flow(target, source, 0 * everywhere()).any()
    assert learned.flow(target, target, everywhere()).abs().max() < 1e-3


def test_a_movement_beyond_the_clips_moves_things_no_further_than_its_own(learned, faces):
    far, further = (learned.flow(faces.mesh(shift=(x, 0)), faces.mesh(), everywhere()) for x in (60, 90))
    assert torch.allclose(far, further, atol=1e-3) and far.abs().max() <= FARTHEST


def test_a_still_clip_teaches_that_nothing_moves(clip, faces):
    still = torch.cat([faces.mesh()] * 4)
    frames = np.repeat(clip.frames[:1], 4, axis=0)
    given = (frames, still, np.array([0]), References(clip.references.images[:1]), still[:1], clip.rigid_flows)
    learned = learn_secondary_motion(*given)
    assert learned.flow(faces.mesh(shift=(9, 0)), still[:1], everywhere()).abs().max() < 1e-5


def test_a_clip_of_its_reference_alone_teaches_nothing(clip):
    given = (clip.frames[:1], clip.meshes[:1], np.array([0]), References(clip.references.images[:1]))
    assert learn_secondary_motion(*given, clip.meshes[:1], clip.rigid_flows) is None


def test_one_reference_is_enough(clip, face_model, faces):
    references, meshes = References(clip.references.images[:1]), clip.reference_meshes[:1]
    warper = ReferenceWarper(references, meshes, face_model, prior_head_weights())
    given = (clip.frames, clip.meshes, np.array([0]), references, meshes, warper.rigid_flows)
    learned = learn_secondary_motion(*given)
    assert learned is not None
    target = faces.mesh(shift=(4, 0))
    rigid, free = warper.rigid_flows(target, np.ones((1, 1), bool), SIZE)
    below = (rigid.flow + learned.flow(target, meshes, free))[0, :, 52:56, 10:-10].mean((1, 2))
    assert below.tolist() == pytest.approx([-4 * SHARE, 0], abs=0.4)


def test_learning_is_the_same_on_one_thread_and_on_two(clip, learned):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        again = clip.learn()
    finally:
        torch.set_num_threads(before)
    assert torch.equal(learned.response, again.response) and torch.equal(learned.most, again.most)


def test_the_part_in_a_box_moves_as_the_whole_does_there():
    ramp = torch.linspace(-1, 1, SIZE).expand(2 * MOVEMENTS, SIZE, SIZE)
    whole = SecondaryMotion(ramp, torch.full((MOVEMENTS,), 9.0))
    part = whole.part(CropBox(10, 20, 400), CropBox(110, 120, 200))
    assert torch.allclose(part.response[0, 5], torch.linspace(-0.5, 0.5, SIZE), atol=0.02)
    assert torch.equal(
        whole.part(CropBox(0, 0, 9), CropBox(0, 0, 9)).response.round(decimals=4), ramp.round(decimals=4)
    )


def test_small_frames_are_every_other_frame_of_the_canvas_in_grey():
    frames = np.zeros((5, 100, 120, 3), np.uint8)
    frames[2, :, :60] = (30, 60, 90)
    small = small_frames(frames, CropBox(20, 0, 80))
    assert small.shape == (3, SIZE, SIZE) and small.dtype == np.uint8
    assert small[1, :, : SIZE // 2 - 1].min() == small[1, :, : SIZE // 2 - 1].max() == 60 and not small[[0, 2]].any()


def test_the_warper_adds_it_beside_the_face_alone(face_model, triangles, faces):
    meshes = torch.cat([faces.mesh(), faces.mesh(shift=(6, 0))])
    weights = ReferenceWeights(*[np.array([[0, 1]], np.float32)] * 3)
    warper = ReferenceWarper(References(texture().repeat(2, 1, 1, 1)), meshes, face_model, prior_head_weights())
    before = warper.warp(meshes[:1], weights)[0]
    response = torch.zeros(2, MOVEMENTS, SIZE, SIZE)
    response[1, 2] = 1.0  # where the head goes right, all else goes down
    warper.secondary = SecondaryMotion(response.flatten(0, 1), torch.ones(MOVEMENTS))
    change = (warper.warp(meshes[:1], weights)[0] - before).abs().amax(1)[0]
    face = rasterize(meshes[:1], triangles, CROP_SIZE, CROP_SIZE).mask[0]
    inside = -torch.nn.functional.max_pool2d(-face[None].float(), 25, 1, 12)[0] > 0
    assert inside.sum() > 5000 and change[inside].max() < 0.01
    assert change[~face][change[~face] > 0.05].numel() > 5000
