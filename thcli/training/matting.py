"""Training of the matting network, which tells a person from the background (``thgen train matting``)."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import make_dims
from thcli.configs.sections import Config, MattingConfig
from thcli.data.faces import FaceSamples, load_faces, split_faces
from thcli.data.store import Store
from thcli.errors import UsageError
from thcli.export.exporters import export_onnx
from thcli.images import fill, widened
from thcli.records import Image
from thcli.training.augment import cut, spoil
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train_and_export
from thcli.training.person_masks import check_teacher, mediapipe_masks
from thcli.training.protocol import Networks
from thgen_models.matting import MattingDims, MattingNetwork

VAL_SAMPLES = 256
"""Most held-out images of a validation."""
ZOOM = (0.55, 1.35)
"""Least and largest side of the part of an image that is shown, over the image's side."""
SHIFT, TURN = 0.12, 0.12
"""Standard deviations of the part's shift, over its side, and of its turn, rad."""
NEAR = 4
"""Distance from the outline, px, up to which a pixel belongs to it."""


@dataclass(frozen=True)
class MattingBatch:
    """Images [B, 3, S, S] float32 in 0..1 and the opacity [B, 1, S, S] of the persons in them."""

    images: Tensor
    opacity: Tensor


def train_matting(data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN) -> TrainResult:
    """Train on clips of a store into the folder ``out``, and export the best network as ONNX.

    Raises MediaError, and UsageError where MediaPipe, the teacher, is not installed.
    """
    section = config.matting
    check_teacher()
    samples = load_faces(Store(data), section.splits, section.every)
    stage = MattingStage(samples, mediapipe_masks(samples.images), section, running.device)
    return train_and_export(
        stage, section.train, out, config, running, lambda: MattingNetwork(stage.dims), export_matting
    )


class MattingStage:
    """Training stage of the matting network.

    samples: images of persons
    masks: [N, S, S] uint8, their masks by the teacher
    """

    name = "matting"

    def __init__(self, samples: FaceSamples, masks: Image, config: MattingConfig, device: str) -> None:
        self.config, self.device = config, device
        self.dims = make_dims(MattingDims, config.network, "matting.network")
        coarsest = 2 ** len(self.dims.widths)
        if config.size % coarsest:
            raise UsageError(f"matting.size={config.size}: expected a multiple of {coarsest}")
        self.samples, held_out = split_faces(samples, config.held_out, config.train.seed)
        kept = np.isin(samples.subjects, self.samples.subjects)
        self.masks, step = masks[kept], -(-len(held_out) // VAL_SAMPLES)
        self.held_out = _with_masks(held_out.images[::step], masks[~kept][::step])
        self.header = Header(
            self.name,
            dataclasses.asdict(self.dims),
            config=dataclasses.asdict(config),
            data={"frames": len(self.samples), "subjects": len(np.unique(self.samples.subjects))},
        )

    def build(self) -> Networks:
        # nn.Module.to has no overload for a memory format alone
        network = MattingNetwork(self.dims).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Networks(network, entry="logits")

    def batch(self, random: np.random.Generator) -> MattingBatch:
        chosen = random.choice(len(self.samples), self.config.train.batch_size, p=self.samples.chances)
        images = _with_masks(self.samples.images[chosen], self.masks[chosen])
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        return self._on_device(random_parts(images, self.config.size, generator, self.config.moved))

    def _on_device(self, batch: MattingBatch) -> MattingBatch:
        images = batch.images.to(self.device, memory_format=torch.channels_last)
        return MattingBatch(images, batch.opacity.to(self.device))

    def step(self, networks: Networks, batch: MattingBatch) -> dict[str, Tensor]:
        network = networks.network
        assert isinstance(network, MattingNetwork)
        loss = matting_loss(network.logits(batch.images), batch.opacity, self.config.edge)
        return {"total": loss}

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Measure the agreement with the teacher on the held-out images as they are.

        error: mean difference of the opacity
        edge: the same at the person's outline
        score: sum of the two
        """
        assert isinstance(network, MattingNetwork)
        errors, edges = [], []
        for part in torch.split(self.held_out, 16):
            batch = self._on_device(MattingBatch(part[:, :3].float() / 255, part[:, 3:].float() / 255))
            error = (network(batch.images) - batch.opacity).abs()
            errors.append(error.mean((1, 2, 3)))
            edge = outline(batch.opacity)
            edges.append((error * edge).sum((1, 2, 3)) / edge.sum((1, 2, 3)).clamp(min=1))
        figures = {"error": float(torch.cat(errors).mean()), "edge": float(torch.cat(edges).mean())}
        return {"score": sum(figures.values()), **figures}


def _with_masks(images: Image, masks: Image) -> Tensor:
    """Return images [N, S, S, 3] uint8 and masks [N, S, S] uint8 as one tensor [N, 4, S, S] uint8."""
    return torch.from_numpy(np.concatenate([images, masks[..., None]], -1)).permute(0, 3, 1, 2).contiguous()


def random_parts(images: Tensor, size: int, generator: torch.Generator, moved: float) -> MattingBatch:
    """Show parts of images with masks [B, 4, S, S] uint8, moved, turned, mirrored, and degraded as cameras do.

    size: side of the parts, px
    moved: probability that a person is shown before the background of another image
    """
    shown, opacity = _part(images, size, generator).tensor_split([3], dim=1)
    others, taken = _part(images.roll(1, 0), size, generator).tensor_split([3], dim=1)
    behind = fill(others, 1 - _hidden(taken))
    chosen = (torch.rand(len(images), 1, 1, 1, generator=generator) < moved).float()
    shown = shown + chosen * (1 - opacity) * (behind - shown)
    return MattingBatch(spoil(shown, generator, occluded=0.0, smallest=0.4), opacity)


def _hidden(opacity: Tensor) -> Tensor:
    """Return a mask that hides all of the person of an opacity [B, 1, S, S]."""
    return widened((10 * opacity).clamp(max=1), NEAR)


def _part(images: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """Return random parts [B, 4, size, size] in 0..1 of images with masks [B, 4, S, S] uint8."""
    batch, side = len(images), images.shape[-1]
    low, high = (math.log(zoom) for zoom in ZOOM)
    zoom = torch.exp(low + (high - low) * torch.rand(batch, generator=generator)) * side
    centre = side / 2 + SHIFT * zoom[:, None] * torch.randn(batch, 2, generator=generator)
    angle = TURN * torch.randn(batch, generator=generator)
    mirrored = torch.where(torch.rand(batch, generator=generator) < 0.5, -1.0, 1.0)
    cos, sin = angle.cos(), angle.sin()
    axes = torch.stack([torch.stack([cos * mirrored, -sin], -1), torch.stack([sin * mirrored, cos], -1)], 1)
    return cut(images, centre, axes * zoom[:, None, None], size)


def outline(opacity: Tensor) -> Tensor:
    """Return where the outline of a person lies, by the opacity [B, 1, S, S]: 1 near it, else 0, of the same shape."""
    return (widened(opacity, NEAR) + widened(-opacity, NEAR) > 0.5).float()


def matting_loss(logits: Tensor, opacity: Tensor, edge: float) -> Tensor:
    """Return the mean cross entropy of logits and opacity [B, 1, S, S], with the weight ``edge`` at the outline."""
    weight = 1 + (edge - 1) * outline(opacity)
    return (weight * F.binary_cross_entropy_with_logits(logits, opacity, reduction="none")).mean()


def export_matting(network: MattingNetwork, path: Path) -> None:
    """Write the network as ONNX: ``image`` [B, 3, S, S] in 0..1 → ``opacity`` [B, 1, S, S] in 0..1."""
    image = torch.rand(1, 3, network.dims.size, network.dims.size)
    export_onnx(network, image, "image", ("opacity",), path)
