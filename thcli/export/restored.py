"""Restoring of the tracker's networks and of the matting network in PyTorch from the ONNX files in which they ship.

The exporter folded every batch normalisation into the convolution before it. Here the normalisation becomes one that
only adds a bias, so that the output of the file can be compared with that of the network in ``models/``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thcli.errors import WeightsError
from thgen_models.detection import DetectionDims, DetectionNetwork
from thgen_models.matting import MattingDims, MattingNetwork
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork


def restored(path: Path) -> tuple[nn.Module, Tensor]:
    """Return the network of a file, of default sizes, and a random input for it.

    path: ``detection.onnx``, ``unprojection.onnx`` or ``matting.onnx``

    Raises WeightsError where the file is not of such a network.
    """
    import onnx
    from onnx.numpy_helper import to_array

    network, size = _network(path.stem)
    graph = onnx.load(path, load_external_data=False).graph
    arrays = {one.name: torch.from_numpy(to_array(one).copy()) for one in graph.initializer}
    for node in graph.node:  # the exporter stores tensors of equal content once
        if node.op_type == "Identity" and node.input[0] in arrays:
            arrays[node.output[0]] = arrays[node.input[0]]
    network.eval()
    with torch.no_grad():
        named = {name: arrays[name] for name in network.state_dict() if name in arrays}
        nodes = [node for node in graph.node if node.op_type == "Conv"]
        layers = _executed(network, torch.zeros(1, 3, size, size))
        if [type(layer) for layer, _ in layers].count(nn.Conv2d) != len(nodes):
            raise WeightsError(f"{path}: has {len(nodes)} convolutions, not those of its network; get the file again")
        try:
            network.load_state_dict(named, strict=False)
            if isinstance(network, UnprojectionNetwork):
                network.eye_index.copy_(torch.stack(_gathered(graph, arrays, named)))
            for (layer, norm), node in zip(layers, nodes, strict=True):
                _fill(layer, norm, *(arrays[name] for name in node.input[1:]))
        except (RuntimeError, KeyError) as error:
            raise WeightsError(f"{path}: not the layers of its network; get the file again") from error
    random = torch.Generator().manual_seed(0)
    return network, torch.rand(2, 3, size, size, generator=random)


def _network(name: str) -> tuple[nn.Module, int]:
    """Return the network of a file's name without its suffix, and the side of its input, px."""
    if name == "detection":
        dims = DetectionDims()
        return DetectionNetwork(dims), dims.size
    if name == "matting":
        sizes = MattingDims()
        return MattingNetwork(sizes), sizes.size
    whole = UnprojectionDims()
    return UnprojectionNetwork(whole), whole.crop


def _gathered(graph: Any, arrays: Mapping[str, Tensor], named: Mapping[str, Tensor]) -> list[Tensor]:
    """Return the vertices of the right eye and of the left, rows of one tensor that the exporter has split."""
    names = [node.input[1] for node in graph.node if node.op_type == "Gather" and node.input[1] in arrays]
    return [arrays[name] for name in names if name not in named]


def _executed(network: nn.Module, example: Tensor) -> list[tuple[nn.Conv2d, nn.BatchNorm2d | None]]:
    """List convolutions in the order in which they run, each with the normalisation after it, if any.

    A convolution that runs twice is listed twice.
    """
    order: list[nn.Module] = []

    def note(module: nn.Module, *_: Any) -> None:
        order.append(module)

    hooks = [m.register_forward_hook(note) for m in network.modules() if isinstance(m, (nn.Conv2d, nn.BatchNorm2d))]
    network(example)
    for hook in hooks:
        hook.remove()
    following = [*order[1:], None]
    return [
        (layer, after if isinstance(after, nn.BatchNorm2d) else None)
        for layer, after in zip(order, following, strict=True)
        if isinstance(layer, nn.Conv2d)
    ]


def _fill(layer: nn.Conv2d, norm: nn.BatchNorm2d | None, weight: Tensor, bias: Tensor) -> None:
    """Fill a convolution, and the normalisation after it so that it only adds the bias.

    Raises KeyError for a weight of another shape.
    """
    if layer.weight.shape != weight.shape:
        raise KeyError(f"{tuple(weight.shape)} for {tuple(layer.weight.shape)}")
    layer.weight.copy_(weight)
    if layer.bias is not None:
        layer.bias.copy_(bias)
    elif norm is not None and norm.running_mean is not None and norm.running_var is not None:
        norm.running_mean.zero_()
        norm.running_var.fill_(1)
        norm.weight.fill_(math.sqrt(1 + norm.eps))
        norm.bias.copy_(bias)
