"""Batches for Θ: augmentation keeps images, maps, masks and landmarks together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from thcli.configs.sections import PictureAugment
from thcli.data.episodes import Episode, PackedEpisode, pack_episode
from thcli.records import Float
from thcli.render.landmark_maps import draw_landmarks
from thcli.training.generator_batch import NO_CHANGE, GeneratorBatch, make_batch

VIEWS = replace(NO_CHANGE, zoom=0.6)
LIGHT = PictureAugment(zoom=1, occlusion=0)
SIZE = 128


def batch_of(
    episode: PackedEpisode, augment: PictureAugment = NO_CHANGE, seed: int = 0, count: int = 2, size: int = SIZE
) -> GeneratorBatch:
    return make_batch([episode], [0], count, size, augment, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def drawn(make_episode: Callable[..., PackedEpisode], face: Float) -> PackedEpisode:
    """An episode whose every image is the map of its own landmarks, with a large dot at the tip of the nose."""
    original = make_episode("a")
    random = np.random.default_rng(0)
    points = face + random.uniform(-25, 25, (6, 1, 2)).astype(np.float32)
    maps = draw_landmarks(torch.from_numpy(points), 256, 256)[:, 0].numpy()
    place = np.arange(256) + 0.5
    far = (place[None, :, None] - points[:, None, None, 30, 1]) ** 2 + (
        place[None, None, :] - points[:, None, None, 30, 0]
    ) ** 2
    shown = (np.stack([0.5 * maps, 0.5 * maps, np.maximum(0.5 * maps, far < 36)], -1) * 255).astype(np.uint8)
    episode = Episode(
        references=shown[4:], reference_landmarks=points[4:], geometric=shown[:4], projected=shown[:4],
        real=shown[:4], landmarks=points[:4], matched=np.array([0, 1, 1, 0]),
    )  # fmt: skip
    return pack_episode(original.meta, episode, 95)


def correlation(image: Tensor, drawing: Tensor) -> float:
    return float(np.corrcoef(image[:2].mean(0).flatten().numpy(), drawing[0].flatten().numpy())[0, 1])


@pytest.mark.parametrize("seed", range(6))
def test_make_batch_views_images_and_maps_alike(drawn: PackedEpisode, seed: int) -> None:
    batch = batch_of(drawn, VIEWS, seed)
    frames = batch.frames
    pairs = [
        (frames.geometric, frames.target_map), (frames.projected, frames.target_map), (batch.real, frames.target_map),
        (frames.matched, frames.matched_map), (batch.references[0], batch.maps[0]),
    ]  # fmt: skip
    for images, maps in pairs:
        assert images.shape[1:] == (3, SIZE, SIZE) and maps.shape[1:] == (1, SIZE, SIZE)
        for image, drawing in zip(images, maps, strict=True):
            assert correlation(image, drawing) > 0.8 > correlation(image, drawing.roll(4, -1))


@pytest.mark.parametrize("seed", range(6))
def test_make_batch_moves_landmarks_with_the_image(drawn: PackedEpisode, seed: int) -> None:
    batch = batch_of(drawn, VIEWS, seed)
    for image, points in zip(batch.real, batch.landmarks, strict=True):
        y, x = (index.float().mean() + 0.5 for index in torch.nonzero(image[2] > 0.5, as_tuple=True))
        assert abs(float(x) - float(points[30, 0])) < 1 and abs(float(y) - float(points[30, 1])) < 1


def test_make_batch_mirrors_some_views_and_not_others(drawn: PackedEpisode) -> None:
    jaw = [batch_of(drawn, VIEWS, seed).landmarks[0, [0, 16], 0] for seed in range(12)]
    turned = [bool(right > left) for right, left in jaw]
    assert any(turned) and not all(turned)


def test_make_batch_lays_masks_over_mouth_and_eyes(drawn: PackedEpisode) -> None:
    for seed in range(4):
        batch = batch_of(drawn, VIEWS, seed)
        for i, points in enumerate(batch.landmarks):
            for mask, part in ((batch.mouth, slice(48, 68)), (batch.eyes, slice(36, 48))):
                inside = [(int(y), int(x)) for x, y in points[part] if 0 <= x < SIZE and 0 <= y < SIZE]
                assert all(mask[i, 0, y, x] == 1 for y, x in inside)
            assert 0 < batch.mouth[i].mean() < 0.25 and not (batch.mouth[i] * batch.eyes[i]).any()


def test_make_batch_changes_the_light_of_all_images_of_a_person_alike(
    make_episode: Callable[..., PackedEpisode],
) -> None:
    episode = make_episode("a")
    plain, lit = batch_of(episode), batch_of(episode, LIGHT, 3)
    assert (plain.real - lit.real).abs().mean() > 0.05
    values = torch.cat([x.flatten() for x in (plain.real, plain.frames.projected, plain.frames.geometric)])
    changed = torch.cat([x.flatten() for x in (lit.real, lit.frames.projected, lit.frames.geometric)])
    # Each channel has one curve: equal values become equal values.
    channel = torch.cat([torch.arange(3).repeat_interleave(SIZE * SIZE).repeat(len(plain.real))] * 3)
    for number in range(3):
        own, other = values[channel == number], changed[channel == number]
        order = own.argsort()
        assert (other[order].diff() > -1e-3).all()


def test_make_batch_occludes_references_and_never_the_target(make_episode: Callable[..., PackedEpisode]) -> None:
    episode, covered = make_episode("a"), replace(NO_CHANGE, occlusion=1.0)
    plain, hidden = batch_of(episode), batch_of(episode, covered)
    for name in ("geometric", "projected", "target_map"):
        assert torch.equal(getattr(plain.frames, name), getattr(hidden.frames, name))
    assert torch.equal(plain.real, hidden.real)
    for own, other in ((plain.references[0], hidden.references[0]), (plain.frames.matched, hidden.frames.matched)):
        share = ((own - other).abs().amax(1) > 0).float().mean((1, 2))
        assert (share > 0.005).all() and (share < 0.25).all()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_make_batch_gives_any_number_of_references(make_episode: Callable[..., PackedEpisode], count: int) -> None:
    """Where an episode has fewer, some are given twice."""
    batch = make_batch([make_episode("a"), make_episode("b")], [0, 2], count, 64, NO_CHANGE, np.random.default_rng(0))
    assert batch.references.shape == (2, count, 3, 64, 64) and batch.maps.shape == (2, count, 1, 64, 64)
    assert batch.real.shape == (4, 3, 64, 64) and batch.landmarks.shape == (4, 68, 2)


def test_make_batch_takes_the_frames_of_the_window_asked_for(make_episode: Callable[..., PackedEpisode]) -> None:
    episode = make_episode("a")
    batch = make_batch([episode], [2], 1, 256, NO_CHANGE, np.random.default_rng(0))
    for i, frame in enumerate((2, 3)):
        expected = torch.from_numpy(episode.image("real", frame).copy()).permute(2, 0, 1) / 127.5 - 1
        assert torch.allclose(batch.real[i], expected, atol=1e-5)
        matched = torch.from_numpy(episode.image("references", int(episode.matched[frame])).copy()).permute(2, 0, 1)
        assert torch.allclose(batch.frames.matched[i], matched / 127.5 - 1, atol=1e-5)


def test_each_reaches_every_tensor_of_a_batch(make_episode: Callable[..., PackedEpisode]) -> None:
    batch = batch_of(make_episode("a"), size=64)
    nothing = batch.each(torch.zeros_like)
    parts = [*vars(nothing.frames).values(), *(x for name, x in vars(nothing).items() if name != "frames")]
    assert len(parts) == 11 and not any(part.any() for part in parts)
