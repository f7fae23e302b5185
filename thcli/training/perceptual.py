"""The perceptual loss of Eq. 8, with a network whose weights the user provides (``--perceptual-weights FILE``).

Two kinds of network are supported, which the content of the file tells apart:

- VGG19, as in the paper, which sees the whole image: safetensors with torchvision's names (``features.0.weight``);
- MobileFaceNet, trained with ArcFace's loss to tell people apart, which sees only the face: ONNX.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thcli.checkpoints import sha256
from thcli.errors import UsageError, WeightsError
from thcli.faces.identity import ALIGNED, ARCFACE
from thcli.onnx_files import refers_elsewhere
from thcli.render.landmark_maps import EYES
from thgen_models.identity import MobileFaceNet
from thgen_models.perceptual import PerceptualFeatures, Vgg19

if TYPE_CHECKING:
    from onnx import ModelProto

EXPECTED = "expected VGG19 as safetensors with torchvision's names, or MobileFaceNet as ONNX"
"""Remedy in the messages about files of weights."""
NOSE_TIP, MOUTH_CORNERS = 30, (48, 54)
"""Indices among the 68 landmarks; together with the eyes, they are ArcFace's five points."""


@dataclass(frozen=True)
class Perceptual:
    """The perceptual loss of one network.

    features: the network
    faces: whether the network takes aligned faces rather than whole images
    source: kind of network, name and SHA-256 of its file, for the checkpoint's header
    """

    features: PerceptualFeatures
    faces: bool
    source: Mapping[str, str]

    def __call__(self, made: Tensor, real: Tensor, landmarks: Tensor) -> Tensor:
        """Loss of generated against real images, both [F, 3, H, W] in -1..1, with landmarks [F, 68, 2] px."""
        if self.faces:
            made, real = (aligned(image, landmarks) for image in (made, real))
        with torch.no_grad():
            goals = self.features(real)
        pairs = zip(self.features.weights, self.features(made), goals, strict=True)
        losses = [weight * (own.float() - goal.float()).abs().mean() for weight, own, goal in pairs]
        return torch.stack(losses).sum()


def aligned(images: Tensor, landmarks: Tensor) -> Tensor:
    """Align faces of images [F, 3, H, W] with landmarks [F, 68, 2] px to ArcFace's five points: [F, 3, 112, 112].

    The similarity transform is that of least squares. Images may be mirrored. Gradients reach the images.
    """
    points = [landmarks[:, eye].mean(dim=1) for eye in EYES]
    points += [landmarks[:, NOSE_TIP], *(landmarks[:, corner] for corner in MOUTH_CORNERS)]
    own = torch.view_as_complex(torch.stack(points, dim=1).float())
    mirrored = (own[:, 0].real > own[:, 1].real)[:, None]
    own = torch.where(mirrored, own[:, [1, 0, 2, 4, 3]], own)
    goal = torch.view_as_complex(torch.as_tensor(ARCFACE + 0.5, dtype=torch.float32, device=own.device))
    centred, goal_centred = own - own.mean(dim=1, keepdim=True), goal - goal.mean()
    turn = (centred.conj() * goal_centred).sum(dim=1) / centred.abs().square().sum(dim=1).clamp(min=1e-6)
    place = torch.arange(ALIGNED, device=own.device) + 0.5
    wanted = torch.complex(*torch.meshgrid(place, place, indexing="xy")) - goal.mean()
    where = wanted[None] / turn[:, None, None] + own.mean(dim=1)[:, None, None]
    size = torch.tensor([images.shape[-1], images.shape[-2]], device=own.device)
    grid = torch.view_as_real(where) * 2 / size - 1
    return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def load_perceptual(path: Path, device: str) -> Perceptual:
    """Load the network whose weights a file holds.

    Raises WeightsError for a file of neither network, UsageError where reading it needs a package that is missing.
    """
    if not path.is_file():
        raise WeightsError(f"{path}: no such file; {EXPECTED}")
    with path.open("rb") as file:
        start = file.read(9)
    if start[:2] in (b"PK", b"\x80\x02", b"\x80\x04"):
        raise WeightsError(f"{path}: a pickle, which thgen never loads; {EXPECTED}")
    network: Vgg19 | MobileFaceNet
    if start[8:] == b"{":
        kind, network = "VGG19", Vgg19()
        _fill_vgg(network, path)
    else:
        kind, network = "MobileFaceNet", MobileFaceNet()
        _fill_mobile_face(network, path)
    source = {"kind": kind, "file": path.name, "sha256": sha256(path)}
    return Perceptual(network.to(device).eval(), kind == "MobileFaceNet", source)


def _fill_vgg(network: Vgg19, path: Path) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
        # A file of the whole VGG19 also has layers after the features.
        network.load_state_dict({name: tensors[name] for name in network.state_dict()})
    except (SafetensorError, KeyError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: not VGG19 as torchvision names it ({reason}); {EXPECTED}") from error


def _fill_mobile_face(network: MobileFaceNet, path: Path) -> None:
    """Fill the network with weights and biases of the graph's convolutions, in their order."""
    from onnx.numpy_helper import to_array

    graph = _read_onnx(path).graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    layers = network.convolutions()
    names = [[name for name in node.input[1:] if name in stored] for node in nodes]
    shapes = [[tuple(stored[name].dims) for name in pair] for pair in names]
    if shapes != [_shapes(layer) for layer in layers]:
        raise WeightsError(f"{path}: a network of {len(nodes)} convolutions, not MobileFaceNet's; {EXPECTED}")
    for layer, pair in zip(layers, names, strict=True):
        weight, bias = (torch.from_numpy(to_array(stored[name]).copy()) for name in pair)
        layer.load_state_dict({"weight": weight, "bias": bias})


def _shapes(layer: nn.Conv2d) -> list[tuple[int, ...]]:
    """Shapes of a convolution's weight and bias."""
    assert layer.bias is not None
    return [tuple(layer.weight.shape), tuple(layer.bias.shape)]


def _read_onnx(path: Path) -> ModelProto:
    if importlib.util.find_spec("onnx") is None:
        raise UsageError(f"{path}: reading it needs onnx; install it with pip install 'thgen[train]'")
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        content = path.read_bytes()
        if refers_elsewhere(content):
            raise WeightsError(f"{path}: keeps tensors in other files; {EXPECTED}")
        return onnx.load_from_string(content)
    except (DecodeError, OSError, ValueError) as error:
        raise WeightsError(f"{path}: neither safetensors nor ONNX; {EXPECTED}") from error
