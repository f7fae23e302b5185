"""``thgen train unprojection``: the tracker's mesh network (§4.1, §0.A.3)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from torch import Tensor, nn

from thcli.checkpoints import Header, find_weights
from thcli.config import Config, UnprojectionConfig, make_dims
from thcli.data.faces import FaceSamples, load_faces, split_faces
from thcli.data.store import Store
from thcli.export import exporters as export
from thcli.face_model import (
    EYE_GAPS,
    INNER_LIPS,
    LEFT_EYE,
    LIP_GAP,
    OUTER_EYE_CORNERS,
    OUTER_LIPS,
    RIGHT_EYE,
    FaceModel,
)
from thcli.faces.track import MIN_CONFIDENCE
from thcli.records import Image
from thcli.training.augment import Views, random_views, tracked_crops
from thcli.training.loop import AFRESH, Networks, RunOptions, TrainResult
from thcli.training.pictures import draw_meshes
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

MOUTH_CORNERS = (61, 291)
LOOKED_AT = 384
"""Held-out faces at each look."""
SHOWN = 8
"""Of them, in TensorBoard."""


def train_unprojection(
    data: Path, out: Path, config: Config, running: RunOptions = AFRESH, weights: Path | None = None
) -> TrainResult:
    """Train on a store's clips of split ``train`` into the folder ``out``, and export the best network as ONNX.

    weights: folder in which to look for the face model first
    """
    section = config.unprojection
    model = FaceModel.load(find_weights("face_model.safetensors", weights))
    samples = load_faces(Store(data), "train", section.every)
    stage = UnprojectionStage(samples, section, model.canonical, running.device)
    return export.train_and_export(
        stage, section.train, out, config, running, lambda: UnprojectionNetwork(stage.dims), export_onnx
    )


class UnprojectionStage:
    """What the loop trains: random views of faces, cut out as a tracker would."""

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
        return Networks(network, entry="both_looks")

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
    def pictures(self, network: nn.Module) -> dict[str, Image]:
        """The meshes of some held-out faces, on them."""
        assert isinstance(network, UnprojectionNetwork)
        chosen = np.zeros(len(self.held_out), bool)
        chosen[np.linspace(0, len(chosen) - 1, min(SHOWN, len(chosen))).round().astype(int)] = True
        faces = self.held_out.select(chosen)
        images, truth = torch.from_numpy(faces.images).permute(0, 3, 1, 2), torch.from_numpy(faces.meshes)
        crops, to_picture = tracked_crops(images, truth, network.dims.crop, torch.Generator().manual_seed(0))
        mesh, _ = network(crops.to(self.device))
        return {"meshes": draw_meshes(faces.images, to_picture(mesh[..., :2].cpu()).numpy())}


@torch.no_grad()
def measure(network: UnprojectionNetwork, samples: FaceSamples, device: str = "cpu") -> dict[str, float]:
    """Figures on faces, cut out as imprecisely as from the mesh of the frame before.

    error: mean distance of all vertices in the picture, over that of the outer eye corners
    lips: of the lips' landmarks, over the width of the mouth
    lost: share of faces that are not taken for one
    """
    generator = torch.Generator().manual_seed(0)
    errors, lips, confidences = [], [], []
    for first in range(0, len(samples), 64):
        part = slice(first, first + 64)
        images = torch.from_numpy(samples.images[part]).permute(0, 3, 1, 2)
        truth = torch.from_numpy(samples.meshes[part])
        crops, to_picture = tracked_crops(images, truth, network.dims.crop, generator)
        mesh, confidence = network(crops.to(device))
        distance = (to_picture(mesh[..., :2].cpu()) - truth[..., :2]).norm(dim=-1)
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
    return (mesh[:, pair[0], :2] - mesh[:, pair[1], :2]).norm(dim=-1).clamp(min=1.0)


def _spread(samples: FaceSamples) -> FaceSamples:
    """At most ``LOOKED_AT`` of the samples, evenly spread."""
    chosen = np.zeros(len(samples), bool)
    chosen[np.linspace(0, len(samples) - 1, min(LOOKED_AT, len(samples))).round().astype(int)] = True
    return samples.select(chosen)


def mirror_permutation(canonical: NDArray[np.floating]) -> NDArray[np.intp]:
    """The vertex that each of a face's vertices [V, 3] becomes in a mirror: [V], its own inverse."""
    centred = canonical - canonical.mean(0)
    cost = np.linalg.norm((centred * [-1, 1, 1])[:, None] - centred[None], axis=-1)
    cost = cost**2 + cost.T**2
    mirror = linear_sum_assignment(cost)[1]
    # where the face is not quite even, three vertices or more may have gone round in a circle
    rest = [int(v) for v in np.flatnonzero(mirror[mirror] != np.arange(len(mirror)))]
    while rest:
        inner = cost[np.ix_(rest, rest)]
        a, b = (rest[i] for i in np.unravel_index(inner.argmin(), inner.shape))
        mirror[a], mirror[b] = b, a
        rest = [v for v in rest if v not in (a, b)]
    return mirror


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
        pairs = [LIP_GAP, *EYE_GAPS, (81, 178), (311, 402), MOUTH_CORNERS, (158, 153), (385, 380)]
        self.pairs = torch.tensor(pairs)

    def __call__(self, network: UnprojectionNetwork, views: Views) -> dict[str, Tensor]:
        coarse, mesh, logit = network.both_looks(views.crops, jitter=0.06)
        face = views.face
        unit = (views.mesh[:, 33] - views.mesh[:, 263])[:, :2].norm(dim=-1).clamp(min=0.05)
        unit = torch.maximum(unit, 0.3 * (views.mesh[..., 1].amax(1) - views.mesh[..., 1].amin(1)))
        axis = torch.tensor([1.0, 1.0, 0.5], device=mesh.device)
        self.weight = self.weight.to(mesh.device)

        def distance(points: Tensor, target: Tensor, weight: Tensor) -> Tensor:
            error = ((points - target) * axis).abs().sum(-1) / unit[:, None]
            # a logarithm holds the pull on small errors, which are the ones that show
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


def export_onnx(network: UnprojectionNetwork, path: Path) -> None:
    """Write the network as ONNX: ``crop`` [B, 3, S, S] in 0..1 → ``mesh`` [B, V, 3], ``confidence`` [B]."""
    crop = torch.rand(1, 3, network.dims.crop, network.dims.crop)
    export.export_onnx(network, crop, "crop", ("mesh", "confidence"), path)
