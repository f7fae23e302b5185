"""The network that finds faces."""

import torch
from torch import nn

from thgen_models.detection import STRIDE, DetectionDims, DetectionNetwork


def test_detection_network_answers_for_every_cell() -> None:
    face, centre, side = DetectionNetwork(DetectionDims(size=64, width=4)).eval()(torch.rand(2, 3, 64, 64))
    assert face.shape == (2, 8, 8) and centre.shape == (2, 2, 8, 8) and side.shape == (2, 8, 8)
    assert ((face > 0) & (face < 1)).all() and (side > 0).all()


def test_untrained_detection_network_finds_few_faces_centred_in_their_cells() -> None:
    network = DetectionNetwork(DetectionDims(size=64, width=4)).eval()
    nn.init.zeros_(network.head.weight)
    face, centre, side = network(torch.rand(1, 3, 64, 64))
    torch.testing.assert_close(face, torch.full_like(face, 0.01))
    torch.testing.assert_close(centre[0, :, 2, 5], torch.tensor([5.5, 2.5]) / 8)
    torch.testing.assert_close(side, torch.full_like(side, 0.3))


def test_detection_network_of_the_shipped_size_takes_at_most_a_tenth_of_a_gflop() -> None:
    dims = DetectionDims()
    network = DetectionNetwork(dims).eval()
    work = []

    def count(layer: nn.Module, _: object, out: torch.Tensor) -> None:
        assert isinstance(layer, nn.Conv2d)
        work.append(2 * layer.weight.numel() * out.shape[-1] * out.shape[-2])

    for layer in network.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(count)
    network(torch.rand(1, 3, dims.size, dims.size))
    assert sum(work) < 1e8 and 4 * sum(p.numel() for p in network.parameters()) < 1e6
    assert dims.size % (4 * STRIDE) == 0
