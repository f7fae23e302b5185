"""The adapter of the speech encoder: no change at first, then changes of low rank that can be merged."""

from __future__ import annotations

import pytest
import torch

from thgen_models.speech_adapter import PLACES, SpeechAdapter, SpeechAdapterDims
from thgen_models.speech_encoder import SpeechEncoder

DIMS = SpeechAdapterDims(mels=5, width=8, heads=2, layers=2, positions=12, rank=2)


@pytest.fixture
def encoder() -> SpeechEncoder:
    torch.manual_seed(0)
    return SpeechEncoder(DIMS).eval()


@pytest.fixture
def adapter() -> SpeechAdapter:
    """An adapter as after training."""
    torch.manual_seed(1)
    adapter = SpeechAdapter(DIMS)
    with torch.no_grad():
        for value in adapter.parameters():
            value.normal_(0, 0.3)
    return adapter


def test_an_adapter_changes_nothing_before_it_is_trained(encoder: SpeechEncoder) -> None:
    steps = torch.randn(2, 10, 5)
    torch.testing.assert_close(SpeechAdapter(DIMS)(steps, encoder), encoder(steps))


def test_an_adapter_changes_every_weight_but_the_places(encoder: SpeechEncoder, adapter: SpeechAdapter) -> None:
    changed = adapter.changed(encoder)
    for name, value in encoder.named_parameters():
        if name == PLACES:
            assert name not in changed
        else:
            assert (changed[name] != value).any() and changed[name].shape == value.shape


def test_changes_of_matrices_have_the_rank_of_the_adapter(encoder: SpeechEncoder, adapter: SpeechAdapter) -> None:
    weights = dict(encoder.named_parameters())
    for name, value in adapter.changed(encoder).items():
        if value.dim() > 1:
            difference = (value - weights[name]).flatten(1)
            assert torch.linalg.matrix_rank(difference, rtol=1e-4) == min(DIMS.rank, *difference.shape)


def test_a_merged_adapter_gives_the_same_codes(encoder: SpeechEncoder, adapter: SpeechAdapter) -> None:
    steps = torch.randn(2, 10, 5)
    before, expected = encoder(steps), adapter(steps, encoder)
    adapter.merge_into(encoder)
    torch.testing.assert_close(encoder(steps), expected)
    assert (expected - before).abs().max() > 0.1


def test_gradients_reach_the_adapter_alone(encoder: SpeechEncoder) -> None:
    adapter = SpeechAdapter(DIMS)
    adapter(torch.randn(2, 10, 5), encoder.requires_grad_(False)).square().sum().backward()
    reached = [name for name, value in adapter.named_parameters() if value.grad is not None and value.grad.any()]
    assert all(value.grad is not None and value.grad.isfinite().all() for value in adapter.parameters())
    # While the second of the narrow matrices is zero, the first has no effect.
    assert not any(name.endswith("down") for name in reached) and any(name.endswith("up") for name in reached)
    assert all(value.grad is None for value in encoder.parameters())
