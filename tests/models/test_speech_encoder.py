"""The speech encoder: shapes, and attention as the formula has it."""

from __future__ import annotations

import math

import torch

from thgen_models.speech_encoder import EncoderLayer, SpeechEncoder, SpeechEncoderDims

DIMS = SpeechEncoderDims(mels=5, width=8, heads=2, layers=2, positions=12)


def test_speech_encoder_gives_a_code_for_two_steps() -> None:
    network = SpeechEncoder(DIMS).eval()
    steps = torch.randn(3, 10, 5)
    assert network(steps).shape == (3, 5, 8)
    torch.testing.assert_close(network(steps)[1:2], network(steps[1:2]))


def test_speech_encoder_hears_the_whole_window_at_any_moment() -> None:
    network = SpeechEncoder(DIMS).eval()
    steps = torch.randn(1, 24, 5, requires_grad=True)
    network(steps)[0, 0].square().sum().backward()
    assert steps.grad is not None and (steps.grad[0].abs().sum(dim=1) > 0).all()


def test_attention_of_a_layer_is_softmax_of_scaled_products() -> None:
    layer, x = EncoderLayer(8, 2).eval(), torch.randn(1, 6, 8)
    queries, keys, values = layer.queries_keys_values(layer.attention_norm(x))[0].split(8, dim=1)
    heads = []
    for part in (slice(0, 4), slice(4, 8)):
        weights = torch.softmax(queries[:, part] @ keys[:, part].T / math.sqrt(4), dim=1)
        heads.append(weights @ values[:, part])
    expected = x + layer.attended(torch.cat(heads, dim=1))[None]
    expected = expected + layer.linear(layer.linear_norm(expected))
    torch.testing.assert_close(layer(x), expected)
