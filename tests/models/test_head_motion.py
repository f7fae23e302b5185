"""Φ, the head motion learner, and its discriminator."""

import pytest
import torch

from thgen_models.head_motion import AXES, HeadMotionDims, HeadMotionLearner, MotionDiscriminator

DIMS = HeadMotionDims(mels=16, audio=8, noise=3, width=8, features=8, style=8, dilations=(1, 2), critic=8, bands=4)


def inputs(batch: int = 2, past: int = 20, frames: int = 24) -> list[torch.Tensor]:
    torch.manual_seed(0)
    long = frames + 2 * DIMS.context
    return [
        torch.randn(batch, past, AXES),
        torch.randn(batch, past, DIMS.steps, DIMS.mels),
        torch.randn(batch, 2 * AXES + 1),
        torch.randn(batch, long, DIMS.steps, DIMS.mels),
        torch.randn(batch, long, DIMS.noise),
    ]


@pytest.mark.parametrize("past", [1, 2, 7, 75])
def test_head_motion_learner_takes_references_of_any_length(past: int) -> None:
    assert HeadMotionLearner(DIMS)(*inputs(past=past)).shape == (2, 24, AXES)


def test_encoder_returns_weight_and_bias_of_the_last_layer() -> None:
    network = HeadMotionLearner(DIMS)
    weight, bias = network.encoder(*inputs()[:3])
    assert weight.shape == (2, AXES, DIMS.features)
    assert bias.shape == (2, AXES)


def test_head_motion_learner_gives_a_part_of_a_sequence_the_same_motion() -> None:
    network = HeadMotionLearner(DIMS).eval()
    past, past_features, summary, features, noise = inputs(frames=60)
    whole = network(past, past_features, summary, features, noise)
    cut = slice(20, 20 + 25 + 2 * DIMS.context)
    part = network(past, past_features, summary, features[:, cut], noise[:, cut])
    torch.testing.assert_close(part, whole[:, 20:45], rtol=1e-4, atol=1e-5)


def test_head_motion_learner_depends_on_each_of_its_inputs() -> None:
    network = HeadMotionLearner(DIMS).eval()
    given = inputs()
    made = network(*given)
    for index in range(len(given)):
        changed = list(given)
        changed[index] = changed[index] + torch.randn_like(changed[index])
        assert not torch.allclose(network(*changed), made)


def test_adversarial_loss_has_gradients_in_extrapolator_and_encoder() -> None:
    """The loss of the discriminator alone trains every tensor, which it does not in the authors' code."""
    network, critic = HeadMotionLearner(DIMS), MotionDiscriminator(DIMS)
    past, past_features, summary, features, noise = inputs()
    made = network(past, past_features, summary, features, noise)
    own = features[:, DIMS.context : -DIMS.context]
    torch.nn.functional.softplus(-critic(made, own, past, summary)).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_motion_discriminator_tells_mean_deviation_and_first_difference_apart() -> None:
    critic = MotionDiscriminator(DIMS)
    past, _, summary, features, _ = inputs(frames=40)
    own = features[:, DIMS.context : -DIMS.context]
    motion = torch.randn(2, 40, AXES)
    slow = torch.cumsum(motion, 1) / 6
    scores = [critic(x, own, past, summary) for x in (motion, motion + 1, motion * 2, slow)]
    for score in scores[1:]:
        assert not torch.allclose(score, scores[0])


def test_motion_discriminator_has_finite_gradients_on_still_motion() -> None:
    critic = MotionDiscriminator(DIMS)
    past, _, summary, features, _ = inputs()
    still = torch.zeros(2, 24, AXES, requires_grad=True)
    critic(still, features[:, DIMS.context : -DIMS.context], past, summary).sum().backward()
    assert still.grad is not None and torch.isfinite(still.grad).all()
