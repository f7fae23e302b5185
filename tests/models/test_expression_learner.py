"""Ψ, the facial expression learner, with the log-mel front end."""

import pytest
import torch

from thgen_models.expression import ExpressionDims, ExpressionEnsemble, ExpressionLearner, make_expression_learner


@pytest.mark.parametrize("reference", [0, 8])
def test_expression_learner_has_gradients_in_every_parameter(reference: int) -> None:
    dims = ExpressionDims(width=16, reference=reference, dilations=(1, 2))
    network = ExpressionLearner(dims)
    features = torch.randn(2, 5 + 2 * dims.reach, dims.steps, dims.mels)
    predicted = network(features, torch.randn(2, dims.coefficients))
    assert predicted.shape == (2, 5, 20)
    predicted.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())


def test_expression_learner_adds_the_reference_to_its_output() -> None:
    dims = ExpressionDims(width=16, dilations=(1,))
    network = ExpressionLearner(dims)
    torch.nn.init.zeros_(network.output[1].weight)
    torch.nn.init.zeros_(network.output[1].bias)
    reference = torch.randn(3, 20)
    out = network(torch.zeros(3, 4 + 2 * dims.reach, 4, 80), reference)
    torch.testing.assert_close(out, reference[:, None].expand(-1, 4, -1))


@pytest.mark.parametrize("front_end", ["log_mel", "raw"])
def test_an_ensemble_predicts_the_mean_of_its_members(front_end: str) -> None:
    dims = ExpressionDims(front_end=front_end, width=8, convolutions=(2,) * 7, dilations=(1,), closure=True, members=3)
    network = make_expression_learner(dims).eval()
    assert isinstance(network, ExpressionEnsemble) and len(network.members) == 3
    values = (2000,) if front_end == "raw" else (4, 80)
    audio, reference = torch.randn(2, 5 + 2 * dims.reach, *values), torch.randn(2, 20)
    apart = network.each(audio, reference)
    assert apart.shape == (2, 3, 5, 21) and apart.std(dim=1).min() > 0
    torch.testing.assert_close(network(audio, reference), sum(one(audio, reference) for one in network.members) / 3)
