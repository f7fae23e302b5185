"""Training of the unprojection network: what is built, and what one step does (§4.1, §0.A.3)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from thcli.face_model import EYE_GAPS, INNER_LIPS, LEFT_EYE, LIP_GAP, OUTER_LIPS, RIGHT_EYE
from thcli.training import export
from thcli.training.augment import Views
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork


def mirror_permutation(canonical: NDArray[np.floating]) -> NDArray[np.intp]:
    """The vertex that each of a face's vertices [V, 3] becomes in a mirror: [V]."""
    mirrored = (canonical - canonical.mean(0)) * [-1, 1, 1]
    cost = np.linalg.norm(mirrored[:, None] - (canonical - canonical.mean(0))[None], axis=-1)
    return linear_sum_assignment(cost**2)[1]


def build(dims: UnprojectionDims, canonical: NDArray[np.floating], shapes: Tensor) -> UnprojectionNetwork:
    """A network that starts from the mean of ``shapes`` [M, V, 3] (units of the crop) and their main variations."""
    network = UnprojectionNetwork(dims)
    flat = shapes.reshape(len(shapes), -1)
    mean = flat.mean(0)
    _, spread, modes = torch.linalg.svd(flat - mean, full_matrices=False)
    count = min(dims.hidden, len(modes))
    with torch.no_grad():
        network.shape.bias.copy_(mean)
        network.shape.weight.zero_()
        deviation = spread[:count] / len(shapes) ** 0.5
        network.shape.weight[:, :count] = (modes[:count] * deviation[:, None]).T
    lips = _nearest(canonical, list(OUTER_LIPS + INNER_LIPS), dims.lips)
    eye = _nearest(canonical, [*RIGHT_EYE, *range(468, 473)], dims.eye)
    other = mirror_permutation(canonical)[eye]
    network.set_regions(*(torch.as_tensor(index) for index in (lips, eye, other)))
    return network


def _nearest(canonical: NDArray[np.floating], seeds: list[int], count: int) -> NDArray[np.intp]:
    """The ``count`` vertices nearest to the vertices ``seeds``, these first."""
    distance = np.linalg.norm(canonical[:, None] - canonical[None, seeds], axis=-1).min(1)
    return np.argsort(distance, kind="stable")[:count]


class UnprojectionLoss:
    """Mean distance in units of the face's own size, with weight on what a talking face needs."""

    def __init__(self, network: UnprojectionNetwork):
        vertices = network.dims.vertices
        weight = torch.ones(vertices)
        weight[network.lip_index] = 2
        weight[network.eye_index.flatten()] = 2
        weight[list(OUTER_LIPS + INNER_LIPS + RIGHT_EYE + LEFT_EYE)] = 4
        self.weight = weight / weight.mean()
        pairs = [LIP_GAP, *EYE_GAPS, (81, 178), (311, 402), (61, 291), (158, 153), (385, 380)]
        self.pairs = torch.tensor(pairs)

    def __call__(self, network: UnprojectionNetwork, views: Views) -> dict[str, Tensor]:
        coarse, mesh, logit = network.both_looks(views.crops, jitter=0.06)
        face = views.face
        unit = (views.mesh[:, 33] - views.mesh[:, 263])[:, :2].norm(dim=-1).clamp(min=0.05)
        unit = torch.maximum(unit, 0.3 * (views.mesh[..., 1].amax(1) - views.mesh[..., 1].amin(1)))
        axis = torch.tensor([1.0, 1.0, 0.5])

        def distance(points: Tensor, target: Tensor, weight: Tensor) -> Tensor:
            error = ((points - target) * axis).abs().sum(-1) / unit[:, None]
            # a logarithm holds the pull on small errors, which are the ones that show
            error = 0.1 * torch.log1p(error / 0.02)
            return ((error * weight).mean(1) * face).sum() / face.sum()

        first, second = self.pairs.T
        gaps = (mesh[:, first] - mesh[:, second])[..., :2]
        true_gaps = (views.mesh[:, first] - views.mesh[:, second])[..., :2]
        gap = (((gaps - true_gaps).abs().sum(-1) / unit[:, None]).mean(1) * face).sum() / face.sum()
        return {
            "coarse": distance(coarse, views.mesh, torch.ones_like(self.weight)),
            "mesh": distance(mesh, views.mesh, self.weight),
            "gap": gap,
            "face": 0.05 * F.binary_cross_entropy_with_logits(logit, face),
        }


def export_onnx(network: UnprojectionNetwork, path: Path) -> None:
    """Write the network as ONNX: ``crop`` [B, 3, S, S] in 0..1 → ``mesh`` [B, V, 3], ``confidence`` [B]."""
    crop = torch.rand(1, 3, network.dims.crop, network.dims.crop)
    export.export_onnx(network, crop, "crop", ("mesh", "confidence"), path)
