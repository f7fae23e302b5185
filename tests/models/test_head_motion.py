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
def test_any_length_of_reference_gives_motion(past):
    assert HeadMotionLearner(DIMS)(*inputs(past=past)).shape == (2, 24, AXES)


def test_encoder_makes_the_last_layer():
    network = HeadMotionLearner(DIMS)
    weight, bias = network.encoder(*inputs()[:3])
    assert weight.shape == (2, AXES, DIMS.features)
    assert bias.shape == (2, AXES)


def test_frames_do_not_depend_on_where_the_sequence_is_cut():
    network = HeadMotionLearner(DIMS).eval()
    past, heard, summary, features, noise = inputs(frames=60)
    whole = network(past, heard, summary, features, noise)
    cut = slice(20, 20 + 25 + 2 * DIMS.context)
    part = network(past, heard, summary, features[:, cut], noise[:, cut])
    torch.testing.assert_close(part, whole[:, 20:45], rtol=1e-4, atol=1e-5)


def test_motion_depends_on_audio_noise_and_reference():
    network = HeadMotionLearner(DIMS).eval()
    given = inputs()
    made = network(*given)
    for index in range(len(given)):
        changed = list(given)
        changed[index] = changed[index] + torch.randn_like(changed[index])
        assert not torch.allclose(network(*changed), made)


def test_adversarial_loss_reaches_extrapolator_and_encoder():
    """In the authors' code it does not (DESIGN §4): every trained tensor must feel the discriminator alone."""
    network, critic = HeadMotionLearner(DIMS), MotionDiscriminator(DIMS)
    past, heard, summary, features, noise = inputs()
    made = network(past, heard, summary, features, noise)
    own = features[:, DIMS.context : -DIMS.context]
    torch.nn.functional.softplus(-critic(made, own, past, summary)).mean().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_discriminator_sees_mean_deviation_and_first_difference():
    critic = MotionDiscriminator(DIMS)
    past, _, summary, features, _ = inputs(frames=40)
    own = features[:, DIMS.context : -DIMS.context]
    motion = torch.randn(2, 40, AXES)
    slow = torch.cumsum(motion, 1) / 6
    scores = [critic(x, own, past, summary) for x in (motion, motion + 1, motion * 2, slow)]
    for score in scores[1:]:
        assert not torch.allclose(score, scores[0])


def test_discriminator_has_finite_gradients_on_still_motion():
    critic = MotionDiscriminator(DIMS)
    past, _, summary, features, _ = inputs()
    still = torch.zeros(2, 24, AXES, requires_grad=True)
    critic(still, features[:, DIMS.context : -DIMS.context], past, summary).sum().backward()
    assert torch.isfinite(still.grad).all()
