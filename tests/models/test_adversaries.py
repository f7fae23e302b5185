"""The discriminators of Θ, and the networks of the perceptual loss."""

from __future__ import annotations

import torch
from torch import Tensor

from thgen_models.discriminator import DiscriminatorDims, Discriminators
from thgen_models.perceptual import PerceptualFeatures, Vgg19


def test_discriminators_give_features_and_patch_verdicts_at_two_scales() -> None:
    answers = Discriminators(DiscriminatorDims(width=4))(torch.rand(2, 3, 64, 64), torch.rand(2, 1, 64, 64))
    assert [len(scale) for scale in answers] == [5, 5]
    for scale, side in zip(answers, (64, 32), strict=True):
        assert [tuple(f.shape[:2]) for f in scale] == [(2, 4), (2, 8), (2, 16), (2, 32), (2, 1)]
        assert side // 8 <= scale[-1].shape[-1] <= side // 8 + 3


def test_discriminators_learn_to_tell_images_that_do_not_fit_the_landmarks() -> None:
    torch.manual_seed(0)
    network = Discriminators(DiscriminatorDims(width=4))
    drawing = torch.rand(4, 1, 32, 32)
    real, fake = drawing.expand(-1, 3, -1, -1), drawing.roll(1, 0).expand(-1, 3, -1, -1)
    optimiser = torch.optim.Adam(network.parameters(), 2e-3)
    losses = []
    for _ in range(60):
        loss = sum(
            (1 - good[-1]).relu().mean() + (1 + bad[-1]).relu().mean()
            for good, bad in zip(network(real, drawing), network(fake, drawing), strict=True)
        )
        assert isinstance(loss, Tensor)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    # The fake image of one is the real image of another, so without the landmarks the least loss is 4.
    assert losses[0] > 3.9 and losses[-1] < 3
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())


def test_discriminators_have_finite_gradients_in_bfloat16() -> None:
    network = Discriminators(DiscriminatorDims(width=4))
    image = torch.rand(2, 3, 32, 32, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        answers = network(image, torch.rand(2, 1, 32, 32))
    torch.stack([scale[-1].float().mean() for scale in answers]).sum().backward()
    assert image.grad is not None and image.grad.isfinite().all() and image.grad.any()


def test_vgg19_has_the_layers_that_the_published_weights_name() -> None:
    with torch.device("meta"):
        network: PerceptualFeatures = Vgg19()
        features = network(torch.zeros(1, 3, 64, 64))
    assert len(features) == len(network.weights)
    assert [f.shape[1:] for f in features] == [(64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8), (512, 4, 4)]
    assert isinstance(network, Vgg19)
    names = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256}
    names |= {19: 512, 21: 512, 23: 512, 25: 512, 28: 512}
    state = network.state_dict()
    assert {key for key in state if key.endswith("weight")} == {f"features.{i}.weight" for i in names}
    assert all(state[f"features.{i}.weight"].shape[0] == out for i, out in names.items())
    assert not any(p.requires_grad for p in network.parameters())


def test_vgg19_takes_images_in_the_range_of_the_networks() -> None:
    network = Vgg19()
    network.features[0].weight.zero_()
    network.features[0].weight[0, 0, 1, 1] = 1
    network.features[0].bias.zero_()
    white = network(torch.ones(1, 3, 16, 16))[0]
    torch.testing.assert_close(white[:, 0], torch.full((1, 16, 16), (1 - 0.485) / 0.229))
