"""Training of the face detector: what one step does, and what its figures mean."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from thcli.training import export
from thcli.training.scenes import Scenes
from thgen_models.detection import DetectionNetwork

NEAR = 0.3
"""Heat from which on a cell must know where the face is."""


def detection_losses(network: DetectionNetwork, scenes: Scenes) -> dict[str, Tensor]:
    """``face``: focal loss of the heat map (Zhou et al., 2019, eq. 1); ``place``: of centre and size, in cells."""
    cells = network.cells(scenes.images)
    logit, heat = cells[:, 0], scenes.heat
    chance = torch.sigmoid(logit)
    found = (1 - chance) ** 2 * F.softplus(-logit)
    spared = (1 - heat) ** 4 * chance**2 * F.softplus(logit)
    focal = torch.where(heat == 1, found, spared) * scenes.counts
    weight = heat * (heat > NEAR)
    error = (cells[:, 1:] - scenes.place).abs()
    # a cell of a large face may be off by more
    error = torch.cat([error[:, :2] * torch.exp(-scenes.place[:, 2:].clamp(min=0)), error[:, 2:]], 1).sum(1)
    return {
        "face": focal.sum() / (heat == 1).sum().clamp(min=1),
        "place": 2 * (error * weight).sum() / weight.sum().clamp(min=1),
    }


def export_onnx(network: DetectionNetwork, path: Path) -> None:
    """Write the network as ONNX: ``frame`` [B, 3, S, S] in 0..1 → ``face``, ``centre`` and ``side`` of its cells."""
    frame = torch.rand(1, 3, network.dims.size, network.dims.size)
    export.export_onnx(network, frame, "frame", ("face", "centre", "side"), path)
