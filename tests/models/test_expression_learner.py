"""Ψ, the facial expression learner, with the log-mel front end."""

import pytest
import torch

from thgen_models.expression import ExpressionDims, ExpressionLearner


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
