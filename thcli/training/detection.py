"""``thgen train detection``: the detector that stands before the tracker's mesh network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import Config, DetectionConfig, make_dims
from thcli.data.faces import FaceSamples, load_faces, split_faces
from thcli.data.store import Store
from thcli.export import exporters as export
from thcli.training.loop import AFRESH, Networks, RunOptions, TrainResult
from thcli.training.scenes import Pictures, SceneMaker, Scenes
from thgen_models.detection import STRIDE, DetectionDims, DetectionNetwork

NEAR = 0.3
"""Heat from which on a cell must know where the face is."""
LOOKED_AT = 256
"""Held-out scenes at each look."""
SURE = 0.5


def train_detection(data: Path, out: Path, config: Config, running: RunOptions = AFRESH) -> TrainResult:
    """Train on a store's clips of split ``train`` into the folder ``out``, and export the best network as ONNX."""
    section = config.detection
    stage = DetectionStage(load_faces(Store(data), "train", section.every), section, running.device)
    return export.train_and_export(
        stage, section.train, out, config, running, lambda: DetectionNetwork(stage.dims), export_onnx
    )


class DetectionStage:
    """What the loop trains: scenes made up of the faces."""

    name = "detection"

    def __init__(self, samples: FaceSamples, config: DetectionConfig, device: str) -> None:
        self.config, self.device = config, device
        self.dims = make_dims(DetectionDims, config.network, "detection.network")
        kept, held_out = split_faces(samples, config.held_out, config.train.seed)
        self.maker = self._maker(kept)
        self.held_out = self._maker(held_out).batch(LOOKED_AT, torch.Generator().manual_seed(0))
        self.header = Header(
            self.name,
            dataclasses.asdict(self.dims),
            config=dataclasses.asdict(config),
            data={"frames": len(kept), "subjects": len(np.unique(kept.subjects))},
        )

    def _maker(self, samples: FaceSamples) -> SceneMaker:
        images = torch.from_numpy(samples.images).permute(0, 3, 1, 2).contiguous()
        pictures = Pictures.of(images, torch.from_numpy(samples.meshes))
        return SceneMaker(pictures, torch.from_numpy(samples.chances), self.dims.size, STRIDE)

    def build(self) -> Networks:
        # nn.Module.to has no overload for a memory format alone
        network = DetectionNetwork(self.dims).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return Networks(network, entry="cells")

    def batch(self, random: np.random.Generator) -> Scenes:
        generator = torch.Generator().manual_seed(int(random.integers(2**62)))
        return self._on_device(self.maker.batch(self.config.train.batch_size, generator))

    def _on_device(self, scenes: Scenes) -> Scenes:
        images = scenes.images.to(self.device, memory_format=torch.channels_last)
        return Scenes(images, *(part.to(self.device) for part in (scenes.heat, scenes.place, scenes.counts)))

    def step(self, networks: Networks, batch: Scenes) -> dict[str, Tensor]:
        network = networks.network
        assert isinstance(network, DetectionNetwork)
        losses = detection_losses(network, batch)
        return {"total": losses["face"] + losses["place"], **losses}

    @torch.no_grad()
    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """missed: share of the faces without a sure cell at their centre; false: sure cells a scene without a face."""
        assert isinstance(network, DetectionNetwork)
        scenes = self._on_device(self.held_out)
        losses = detection_losses(network, scenes)
        sure = network(scenes.images)[0] > SURE
        around = F.max_pool2d(sure[:, None].float(), 3, stride=1, padding=1)[:, 0]
        false = sure & (scenes.heat < NEAR) & (scenes.counts > 0)
        return {
            "score": float(losses["face"] + losses["place"]),
            "missed": 1 - float(around[scenes.heat == 1].mean()),
            "false": float(false.float().sum() / len(sure)),
        }


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
