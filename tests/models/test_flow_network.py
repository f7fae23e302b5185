"""The network that moves images, and the warp that applies its flow."""

from __future__ import annotations

import torch

from thgen_models.flow import FlowDims, FlowNetwork, warp

DIMS = FlowDims(stem=2, width=4, downs=1, residuals=1)


def test_untrained_flow_network_leaves_images_where_they_are() -> None:
    image, own, target = torch.rand(2, 3, 32, 32), torch.rand(2, 1, 32, 32), torch.rand(2, 1, 32, 32)
    warped = FlowNetwork(DIMS)(image, own, target)
    torch.testing.assert_close(warped.image, image, atol=1e-5, rtol=0)
    assert not warped.flow.any() and warped.flow.shape == (2, 2, 32, 32)
    assert warped.attention.shape == (2, 1, 32, 32)
    assert ((warped.attention > 0) & (warped.attention < 1)).all()


def test_warp_takes_backward_flows_x_before_y_in_half_images() -> None:
    image = torch.rand(1, 3, 16, 24)
    flow = torch.zeros(1, 2, 16, 24)
    flow[:, 0], flow[:, 1] = 2 * 3 / 24, -2 * 1 / 16  # from 3 px to the right, 1 px above
    warped = warp(image, flow)
    torch.testing.assert_close(warped[..., 1:, :-3], image[..., :-1, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(warped[..., 1:, -3:], image[..., :-1, -1:].expand(-1, -1, -1, 3), atol=1e-5, rtol=0)


def test_flow_network_learns_a_shift() -> None:
    torch.manual_seed(0)
    network = FlowNetwork(DIMS)
    y, x = torch.meshgrid(torch.linspace(0, 6, 32), torch.linspace(0, 6, 32), indexing="ij")
    image = torch.stack([x.sin(), y.cos(), (x + y).sin()])[None]
    own = (x.sin() > 0.9).float()[None, None]
    target_image, target = image.roll(2, dims=-1), own.roll(2, dims=-1)
    optimiser = torch.optim.Adam(network.parameters(), 3e-3)
    losses = []
    for _ in range(60):
        loss = (network(image, own, target).image - target_image)[..., 4:-4].abs().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
