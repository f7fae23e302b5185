"""Training of the tracker's mesh network (§4.1, §0.A.3), by ``thgen train unprojection``."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import make_dims
from thcli.configs.sections import Config, UnprojectionConfig
from thcli.data.faces import FaceSamples, load_faces, split_faces
from thcli.data.store import Store
from thcli.export.exporters import export_onnx
from thcli.face_model import (
    EYE_GAPS,
    INNER_LIPS,
    LEFT_EYE,
    LIP_GAP,
    OUTER_EYE_CORNERS,
    OUTER_LIPS,
    RIGHT_EYE,
)
from thcli.faces.track import MIN_CONFIDENCE
from thcli.pipeline.models import load_models
from thcli.records import Image
from thcli.training.augment import Views, random_views, tracked_crops
from thcli.training.images import draw_meshes
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train_and_export
from thcli.training.protocol import Networks
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

MOUTH_CORNERS = (61, 291)
"""Vertices of the outer corners of the mouth."""
VAL_SAMPLES = 384
"""Most held-out faces of a validation."""
SHOWN = 8
"""Held-out faces shown in TensorBoard."""


def train_unprojection(
    data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN, weights: Path | None = None
) -> TrainResult:
    """Train on clips of a store into the folder ``out``, and export the best network as ONNX.

    weights: folder that is searched first for the face model
    """
    section = config.unprojection
    model = load_models(weights, running.device).face_model
    # The stage copies what it keeps, so nothing else holds the images.
    stage = UnprojectionStage(
        load_faces(Store(data), section.splits, section.every), section, model.canonical, running.device
    )
    return train_and_export(
        stage, section.train, out, config, running, lambda: UnprojectionNetwork(stage.dims), export_unprojection
    )


class UnprojectionStage:
    """Training stage of the mesh network, on random views of faces that are cut out as a tracker would."""

    name = "unprojection"

    def __init__(
        self, samples: FaceSamples, config: UnprojectionConfig, canonical: NDArray[np.floating], device: str
    ) -> None:
        self.config, self.canonical, self.device = config, canonical, device
        self.dims = make_dims(UnprojectionDims, config.network, "unprojection.network")
        kept, held_out = split_faces(samples, config.held_out, config.train.seed)
        self.images, self.meshes = torch.from_numpy(kept.images), torch.from_numpy(kept.meshes)
        self.chances = torch.from_numpy(kept.chances)
        self.held_out = _spread(held_out)
        self.mirror = torch.from_numpy(mirror_permutation(canonical))
        self.header = Header(
            self.name,
            dataclasses.asdict(self.dims),
            config=dataclasses.asdict(config),
            data={"frames": len(kept), "subjects": len(np.unique(kept.subjects))},
        )

    def build(self) -> Networks:
        generator = torch.Generator().manual_seed(self.config.train.seed)
        views = [self._views(64, generator) for _ in range(max(self.dims.hidden // 16, 1))]
        shapes = torch.cat([view.mesh[view.face > 0] for view in views])
        network = build(self.dims, self.canonical, shapes)
        self.loss = UnprojectionLoss(network)
        # nn.Module.to has no overload for a memory format alone
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Networks(network, entry="coarse_and_refined")

    def batch(self, random: np.random.Generator) -> Views:
        views = self._views(self.config.train.batch_size, torch.Generator().manual_seed(int(random.integers(2**62))))
        crops = views.crops.to(self.device, memory_format=torch.channels_last)
        return Views(crops, views.mesh.to(self.device), views.face.to(self.device))

    def _views(self, count: int, generator: torch.Generator) -> Views:
        chosen = torch.multinomial(self.chances, count, replacement=True, generator=generator)
        images = self.images[chosen].permute(0, 3, 1, 2)
        return random_views(images, self.meshes[chosen], self.mirror, self.dims.crop, generator)

    def step(self, networks: Networks, batch: Views) -> dict[str, Tensor]:
        network = networks.network
        assert isinstance(network, UnprojectionNetwork)
        losses = self.loss(network, batch)
        return {"total": torch.stack(list(losses.values())).sum(), **losses}

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, UnprojectionNetwork)
        figures = measure(network, self.held_out, self.device)
        return {"score": figures["error"] + figures["lips"], **figures}

    @torch.no_grad()
    def validation_images(self, network: nn.Module) -> dict[str, Image]:
        """Draw the predicted meshes of some held-out faces on their images."""
        assert isinstance(network, UnprojectionNetwork)
        chosen = np.zeros(len(self.held_out), bool)
        chosen[np.linspace(0, len(chosen) - 1, min(SHOWN, len(chosen))).round().astype(int)] = True
        faces = self.held_out.select(chosen)
        images, truth = torch.from_numpy(faces.images).permute(0, 3, 1, 2), torch.from_numpy(faces.meshes)
        crops, to_image = tracked_crops(images, truth, network.dims.crop, torch.Generator().manual_seed(0))
        mesh, _ = network(crops.to(self.device))
        return {"meshes": draw_meshes(faces.images, to_image(mesh[..., :2].cpu()).numpy())}


@torch.no_grad()
def measure(network: UnprojectionNetwork, samples: FaceSamples, device: str = "cpu") -> dict[str, float]:
    """Measure the network on faces that are cut out as imprecisely as by the mesh of the frame before.

    error: mean error of all vertices in the image, over the distance of the outer eye corners
    lips: mean error of the lips' vertices in the image, over the width of the mouth
    lost: share of the faces whose confidence is below ``MIN_CONFIDENCE``
    """
    generator = torch.Generator().manual_seed(0)
    errors, lips, confidences = [], [], []
    for first in range(0, len(samples), 64):
        part = slice(first, first + 64)
        images = torch.from_numpy(samples.images[part]).permute(0, 3, 1, 2)
        truth = torch.from_numpy(samples.meshes[part])
        crops, to_image = tracked_crops(images, truth, network.dims.crop, generator)
        mesh, confidence = network(crops.to(device))
        distance = (to_image(mesh[..., :2].cpu()) - truth[..., :2]).norm(dim=-1)
        errors.append(distance.mean(1) / _apart(truth, OUTER_EYE_CORNERS))
        lips.append(distance[:, list(OUTER_LIPS + INNER_LIPS)].mean(1) / _apart(truth, MOUTH_CORNERS))
        confidences.append(confidence.cpu())
    lost = torch.cat(confidences) < MIN_CONFIDENCE
    return {
        "error": float(torch.cat(errors).mean()),
        "lips": float(torch.cat(lips).mean()),
        "lost": float(lost.float().mean()),
    }


def _apart(mesh: Tensor, pair: tuple[int, int]) -> Tensor:
    """Distance [B] of two vertices in the image, px, at least 1."""
    return (mesh[:, pair[0], :2] - mesh[:, pair[1], :2]).norm(dim=-1).clamp(min=1.0)


def _spread(samples: FaceSamples) -> FaceSamples:
    """Select at most ``VAL_SAMPLES`` of the samples, at even distances."""
    chosen = np.zeros(len(samples), bool)
    chosen[np.linspace(0, len(samples) - 1, min(VAL_SAMPLES, len(samples))).round().astype(int)] = True
    return samples.select(chosen)


def mirror_permutation(canonical: NDArray[np.floating]) -> NDArray[np.intp]:
    """Find the vertex that each vertex of a face [V, 3] becomes in a mirror: [V], its own inverse."""
    centred = canonical - canonical.mean(0)
    cost = np.linalg.norm((centred * [-1, 1, 1])[:, None] - centred[None], axis=-1)
    cost = cost**2 + cost.T**2
    mirror = linear_sum_assignment(cost)[1]
    # Where the face is not quite symmetric, three or more vertices may form a cycle.
    rest = [int(v) for v in np.flatnonzero(mirror[mirror] != np.arange(len(mirror)))]
    while rest:
        inner = cost[np.ix_(rest, rest)]
        a, b = (rest[i] for i in np.unravel_index(inner.argmin(), inner.shape))
        mirror[a], mirror[b] = b, a
        rest = [v for v in rest if v not in (a, b)]
    return mirror


def build(dims: UnprojectionDims, canonical: NDArray[np.floating], shapes: Tensor) -> UnprojectionNetwork:
    """Build a network that starts from mean and main variations of ``shapes`` [M, V, 3], in units of the crop."""
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
    """Return the ``count`` vertices nearest to the vertices ``seeds``, beginning with these."""
    distance = np.linalg.norm(canonical[:, None] - canonical[None, seeds], axis=-1).min(1)
    return np.argsort(distance, kind="stable")[:count]


class UnprojectionLoss:
    """Error of vertices in units of the face's own size, which weighs mouth and eyes more, as a talking face needs it.

    The other losses are the error of the gaps of mouth and eyes, and that of the confidence.
    """

    def __init__(self, network: UnprojectionNetwork):
        vertices = network.dims.vertices
        weight = torch.ones(vertices)
        weight[network.lip_index] = 2
        weight[network.eye_index.flatten()] = 2
        weight[list(OUTER_LIPS + INNER_LIPS + RIGHT_EYE + LEFT_EYE)] = 4
        self.weight = weight / weight.mean()
        pairs = [LIP_GAP, *EYE_GAPS, (81, 178), (311, 402), MOUTH_CORNERS, (158, 153), (385, 380)]
        self.pairs = torch.tensor(pairs)

    def __call__(self, network: UnprojectionNetwork, views: Views) -> dict[str, Tensor]:
        coarse, mesh, logit = network.coarse_and_refined(views.crops, jitter=0.06)
        face = views.face
        unit = (views.mesh[:, 33] - views.mesh[:, 263])[:, :2].norm(dim=-1).clamp(min=0.05)
        unit = torch.maximum(unit, 0.3 * (views.mesh[..., 1].amax(1) - views.mesh[..., 1].amin(1)))
        axis = torch.tensor([1.0, 1.0, 0.5], device=mesh.device)
        self.weight = self.weight.to(mesh.device)

        def distance(points: Tensor, target: Tensor, weight: Tensor) -> Tensor:
            error = ((points - target) * axis).abs().sum(-1) / unit[:, None]
            # With a logarithm, the gradient stays on small errors, which are the ones that are seen.
            error = 0.1 * torch.log1p(error / 0.02)
            return ((error * weight).mean(1) * face).sum() / face.sum().clamp(min=1)

        first, second = self.pairs.T
        gaps = (mesh[:, first] - mesh[:, second])[..., :2]
        true_gaps = (views.mesh[:, first] - views.mesh[:, second])[..., :2]
        gap = (((gaps - true_gaps).abs().sum(-1) / unit[:, None]).mean(1) * face).sum() / face.sum().clamp(min=1)
        return {
            "coarse": distance(coarse, views.mesh, torch.ones_like(self.weight)),
            "mesh": distance(mesh, views.mesh, self.weight),
            "gap": gap,
            "face": 0.05 * F.binary_cross_entropy_with_logits(logit, face),
        }


def export_unprojection(network: UnprojectionNetwork, path: Path) -> None:
    """Write the network as ONNX: ``crop`` [B, 3, S, S] in 0..1 → ``mesh`` [B, V, 3], ``confidence`` [B]."""
    crop = torch.rand(1, 3, network.dims.crop, network.dims.crop)
    export_onnx(network, crop, "crop", ("mesh", "confidence"), path)
