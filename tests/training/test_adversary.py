"""The adversarial term of Θ: its losses, and which network each of them trains."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from torch import Tensor

from thcli.config import load_config
from thcli.data.episodes import PackedEpisode
from thcli.training.adversary import Adversary
from thcli.training.generator import GeneratorStage
from thgen_models.discriminator import DiscriminatorDims

SMALL = DiscriminatorDims(width=4, layers=2)


def images(seed: int, count: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(seed)
    made, real = (torch.rand(count, 3, 32, 32, generator=random) * 2 - 1 for _ in range(2))
    return made.requires_grad_(), real, torch.rand(count, 1, 32, 32, generator=random)


@pytest.fixture
def critic() -> Adversary:
    torch.manual_seed(0)
    return Adversary(SMALL)


def test_adversary_losses_of_a_frame_do_not_depend_on_other_frames(critic: Adversary) -> None:
    """So several processes can share the frames of a batch."""
    made, real, drawing = images(0, 3)
    critic.eval()  # In training, spectral norms change a little with every call.
    whole = critic(made, real, drawing)
    for i in range(3):
        alone = critic(made[i : i + 1], real[i : i + 1], drawing[i : i + 1])
        for rows, row in zip(whole, alone, strict=True):
            assert rows.shape == (3,) and torch.allclose(rows[i], row[0], atol=1e-5)


def test_adversary_losses_have_gradients_only_in_the_network_that_they_train(critic: Adversary) -> None:
    made, real, drawing = images(1)
    fooled, matched, wrong = (rows.sum() for rows in critic(made, real, drawing))
    for loss in (fooled, matched):
        (gradient,) = torch.autograd.grad(loss, made, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any()
    assert torch.autograd.grad(wrong, made, allow_unused=True, retain_graph=True) == (None,)
    # The bias of a verdict has no gradient: its effect on generated images cancels that on real ones.
    own = [p for name, p in critic.named_parameters() if not name.endswith("verdict.bias")]
    assert all(gradient.isfinite().all() and gradient.any() for gradient in torch.autograd.grad(wrong, own))


def test_feature_matching_loss_of_the_real_image_is_zero(critic: Adversary) -> None:
    made, real, drawing = images(2)
    critic.eval()
    assert critic(made, made.detach(), drawing)[1].abs().max() == 0
    assert critic(made, real, drawing)[1].min() > 0


def test_adversary_learns_to_tell_images_whose_gradient_then_deceives_it(critic: Adversary) -> None:
    made, real, drawing = images(3)
    optimiser = torch.optim.Adam(critic.parameters(), 1e-2)
    for _ in range(40):
        loss = critic(made, real, drawing)[2].mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert float(loss.detach()) < 1.5
    before = critic(made, real, drawing)[0].mean()
    (slope,) = torch.autograd.grad(before, made)
    after = critic(made - 0.1 * slope.sign(), real, drawing)[0].mean()
    assert float(after.detach()) < float(before.detach())


@pytest.fixture
def stage(make_episode: Callable[..., PackedEpisode]) -> GeneratorStage:
    config = load_config("tiny").generator
    kept = ("mouth", "eyes", "feature_matching")
    weights = [field.name for field in fields(config) if isinstance(getattr(config, field.name), float)]
    config = replace(config, **{name: 0.0 for name in weights if name not in kept} | {"adversarial": 1.0})
    return GeneratorStage([make_episode(subject) for subject in "ab"], config, "cpu")


def test_generator_stage_trains_theta_by_adversarial_terms_alone(stage: GeneratorStage) -> None:
    torch.manual_seed(0)
    networks = stage.build()
    assert isinstance(networks.critic, Adversary)
    losses = stage.step(networks, stage.batch(np.random.default_rng(0)))
    last = networks.network.composition.layers[0].up.weight
    for name in ("adversarial", "feature_matching", "total"):
        (gradient,) = torch.autograd.grad(losses[name], last, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any(), name
    parameters = list(networks.network.parameters())
    unused = torch.autograd.grad(losses["critic"], parameters, retain_graph=True, allow_unused=True)
    assert all(gradient is None for gradient in unused)
    total = losses["adversarial"] + stage.config.feature_matching * losses["feature_matching"]
    assert float(losses["total"].detach()) == pytest.approx(float(total.detach()), rel=1e-5)


def test_generator_stage_has_no_critic_without_the_adversarial_term(make_episode: Callable[..., PackedEpisode]) -> None:
    config = load_config("tiny").generator
    stage = GeneratorStage([make_episode(subject) for subject in "ab"], config, "cpu")
    networks = stage.build()
    assert networks.critic is None
    assert "critic" not in stage.step(networks, stage.batch(np.random.default_rng(0)))
