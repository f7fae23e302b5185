"""Ψ with the raw front end, which takes samples."""

import numpy as np
import pytest
import torch

from thgen_models.expression import ExpressionDims, RawExpressionLearner, make_expression_learner
from thgen_models.raw_front_end import FRAME_SAMPLES, WINDOW, RawFrontEnd

CHANNELS = (2, 3, 3, 4, 4, 5, 6)


def varied(front_end: RawFrontEnd) -> RawFrontEnd:
    """Give the batch norms statistics that change their input."""
    for module in front_end.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
    return front_end.eval()


@pytest.mark.parametrize("channels", [CHANNELS, CHANNELS[:4], CHANNELS[:2]])
def test_raw_front_end_gives_overlapping_windows_the_codes_of_single_windows(channels: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    front_end = varied(RawFrontEnd(channels, 5))
    samples = torch.randn(2, 9 + WINDOW - 1, FRAME_SAMPLES)
    layers = torch.nn.Sequential(*front_end.aligned, *front_end.apart)
    with torch.no_grad():
        alone = [front_end.code(layers(samples[:, t : t + WINDOW].reshape(2, 1, 14_000)).flatten(1)) for t in range(9)]
        torch.testing.assert_close(front_end(samples), torch.stack(alone, dim=1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("reference", [0, 8])
def test_raw_expression_learner_has_gradients_in_every_parameter(reference: int) -> None:
    torch.manual_seed(0)
    dims = ExpressionDims(front_end="raw", convolutions=CHANNELS, width=16, reference=reference)
    assert dims.reach == 3
    network = make_expression_learner(dims)
    assert isinstance(network, RawExpressionLearner)
    predicted = network(torch.randn(2, 5 + 6, FRAME_SAMPLES), torch.randn(2, 20))
    assert predicted.shape == (2, 5, 20)
    predicted.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_raw_expression_learner_has_the_sizes_of_the_paper() -> None:
    dims = ExpressionDims(
        front_end="raw", convolutions=(64, 64, 128, 128, 256, 256, 512), width=256, reference=256, dropout=0
    )
    network = make_expression_learner(dims)
    assert isinstance(network, RawExpressionLearner) and network.reference is not None
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv1d)]
    assert [(m.kernel_size, m.stride) for m in convolutions] == [((21,), (2,))] * 7
    assert [m.out_channels for m in convolutions] == [64, 64, 128, 128, 256, 256, 512]
    assert network.samples.code.out_features == network.reference.out_features == 256
    assert network.output[-1].in_features == 512 and network.output[-1].out_features == 20


def test_raw_expression_learner_adds_the_reference_to_its_output() -> None:
    network = make_expression_learner(ExpressionDims(front_end="raw", convolutions=CHANNELS, width=4)).eval()
    sound, reference = torch.randn(1, 8, FRAME_SAMPLES), torch.from_numpy(np.arange(20, dtype=np.float32))[None]
    with torch.no_grad():
        moved = network(sound, reference) - network(sound, torch.zeros(1, 20))
    torch.testing.assert_close(moved, reference[:, None].expand(-1, 2, -1), rtol=0, atol=1e-5)
