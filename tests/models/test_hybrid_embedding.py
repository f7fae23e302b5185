"""The embedding of the references, and the attention between them and a target frame."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from thgen_models.embedding import HybridEmbedding
from thgen_models.generator import Frames, GeneratorDims

MakeReferences = Callable[..., tuple[Tensor, Tensor]]
MakeFrames = Callable[..., Frames]


@pytest.fixture
def network(tiny: GeneratorDims) -> HybridEmbedding:
    torch.manual_seed(0)
    return HybridEmbedding(tiny.embedding).eval()


@pytest.mark.parametrize("count", [1, 3, 9])
def test_hybrid_embedding_takes_any_number_of_references(
    network: HybridEmbedding, references: MakeReferences, frames: MakeFrames, count: int
) -> None:
    target = frames(2).target_map
    embedding = network.embed(*references(1, count))
    attended = network.attend(embedding, target)
    assert attended.appearance.shape == (2, 16, 4, 4)
    above, widths = (8, 8, 12), (8, 12, 16)
    for theta, before, channels in zip(attended.theta, above, widths, strict=True):
        assert theta.landmarks.shape == (2, channels, before + 1)
        assert theta.gamma.shape == theta.beta.shape == (2, channels, channels + 1)
    alpha = network.attention(embedding, target)
    torch.testing.assert_close(alpha.sum(1), torch.ones(2, 4, 8, 8))


def test_attention_of_one_reference_is_one(
    network: HybridEmbedding, references: MakeReferences, frames: MakeFrames
) -> None:
    embedding, target = network.embed(*references(1, 1)), frames(2).target_map
    assert torch.equal(network.attention(embedding, target), torch.ones(2, 1, 4, 8, 8))
    e_y = network.image_tail(embedding.image[:, 0] + embedding.image_gate)
    torch.testing.assert_close(network.attend(embedding, target).appearance, e_y.expand(2, -1, -1, -1))


def test_attention_prefers_the_reference_whose_landmarks_are_like_the_targets(
    network: HybridEmbedding, references: MakeReferences, frames: MakeFrames
) -> None:
    embedding, target = network.embed(*references(1, 3)), frames(1).target_map
    query = network.activation(target)
    key = embedding.key.clone()
    key[:, 1] = 5 * query.sign()
    alpha = network.attention(dataclasses.replace(embedding, key=key), target)
    want = torch.softmax(key * query[:, None], dim=1)
    torch.testing.assert_close(alpha, want)
    assert alpha.mean((0, 2, 3, 4)).argmax() == 1


@pytest.mark.parametrize("hybrid", [True, False])
def test_attend_does_not_depend_on_the_order_of_references(
    tiny: GeneratorDims, references: MakeReferences, frames: MakeFrames, hybrid: bool
) -> None:
    torch.manual_seed(0)
    network = HybridEmbedding(dataclasses.replace(tiny, hybrid_attention=hybrid).embedding)
    images, maps = references(1, 4)
    order = torch.tensor([2, 0, 3, 1])
    target = frames(1).target_map
    one = network.attend(network.embed(images, maps), target)
    other = network.attend(network.embed(images[:, order], maps[:, order]), target)
    torch.testing.assert_close(one.appearance, other.appearance, atol=1e-5, rtol=1e-4)
    for a, b in zip(one.theta, other.theta, strict=True):
        torch.testing.assert_close(a.gamma, b.gamma, atol=1e-5, rtol=1e-4)


def test_attend_gives_every_person_and_frame_its_own_weights(
    network: HybridEmbedding, references: MakeReferences, frames: MakeFrames
) -> None:
    target = frames(2).target_map
    one = network.attend(network.embed(*references(seed=1)), target)
    other = network.attend(network.embed(*references(seed=5)), target)
    for a, b in zip(one.theta, other.theta, strict=True):
        for field in ("landmarks", "gamma", "beta"):
            assert (getattr(a, field) - getattr(b, field)).abs().max() > 1e-3
            assert (getattr(a, field)[0] - getattr(a, field)[1]).abs().max() > 1e-5


def test_attend_keeps_the_persons_of_a_batch_apart(
    network: HybridEmbedding, references: MakeReferences, frames: MakeFrames
) -> None:
    images, maps = references(2, 3)
    target = frames(4).target_map
    together = network.attend(network.embed(images, maps).repeat(2), target)
    for person in (0, 1):
        alone = network.attend(network.embed(images[person, None], maps[person, None]), target[2 * person :][:2])
        torch.testing.assert_close(together.appearance[2 * person :][:2], alone.appearance, atol=1e-5, rtol=1e-4)


def test_embed_averages_references_without_hybrid_attention(tiny: GeneratorDims, references: MakeReferences) -> None:
    network = HybridEmbedding(dataclasses.replace(tiny, hybrid_attention=False).embedding)
    images, maps = references(1, 3)
    each = [network.embed(images[:, k, None], maps[:, k, None]).image for k in range(3)]
    torch.testing.assert_close(network.embed(images, maps).image, torch.stack(each).mean(0))
