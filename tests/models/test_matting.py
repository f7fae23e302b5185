"""The matting network."""

from __future__ import annotations

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from thcli.training.matting import export_matting
from thgen_models.matting import MattingDims, MattingNetwork

TINY = MattingDims(size=64, widths=(4, 6, 8), last=3)


def test_opacity_has_the_size_of_the_image_and_lies_between_0_and_1():
    torch.manual_seed(0)
    network = MattingNetwork(TINY).eval()
    for side in (64, 96):
        opacity = network(torch.rand(2, 3, side, side))
        assert opacity.shape == (2, 1, side, side)
        assert 0 <= opacity.min() <= opacity.max() <= 1


def test_gradients_are_finite():
    torch.manual_seed(0)
    network = MattingNetwork(TINY)
    network.logits(torch.rand(2, 3, 64, 64)).square().mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in network.parameters())


def test_an_image_of_the_default_size_takes_at_most_half_a_gflop():
    network = MattingNetwork(MattingDims()).eval()
    with FlopCounterMode(display=False) as counter:
        network(torch.rand(1, 3, 256, 256))
    assert counter.get_total_flops() < 0.5e9


def test_the_exported_network_equals_the_one_in_pytorch(tmp_path):
    torch.manual_seed(0)
    network = MattingNetwork(TINY).eval()
    export_matting(network, tmp_path / "matting.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "matting.onnx", providers=["CPUExecutionProvider"])
    images = torch.rand(3, 3, 64, 64)
    (opacity,) = session.run(["opacity"], {"image": images.numpy()})
    assert np.abs(opacity - network(images).detach().numpy()).max() < 1e-5
