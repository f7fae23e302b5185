"""Training of the face detector, which precedes the tracker's mesh network (``thgen train detection``)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.config import make_dims
from thcli.configs.sections import Config, DetectionConfig
from thcli.data.faces import FaceSamples, load_faces, split_faces
from thcli.data.store import Store
from thcli.export.exporters import export_onnx
from thcli.training.detection_scenes import Pictures, SceneMaker, Scenes
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train_and_export
from thcli.training.protocol import Networks
from thgen_models.detection import STRIDE, DetectionDims, DetectionNetwork

NEAR = 0.3
"""Heat above which a cell must predict the place of the face."""
VAL_SAMPLES = 256
"""Held-out scenes of each validation."""
SURE = 0.5
"""Confidence above which a cell counts as a detection in validation."""


def train_detection(data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN) -> TrainResult:
    """Train on clips of a store into the folder ``out``, and export the best network as ONNX.

    Raises MediaError, UsageError.
    """
    section = config.detection
    stage = DetectionStage(load_faces(Store(data), section.splits, section.every), section, running.device)
    return train_and_export(
        stage, section.train, out, config, running, lambda: DetectionNetwork(stage.dims), export_detection
    )


class DetectionStage:
    """Training stage of the face detector, on scenes that are composed of images of faces."""

    name = "detection"

    def __init__(self, samples: FaceSamples, config: DetectionConfig, device: str) -> None:
        self.config, self.device = config, device
        self.dims = make_dims(DetectionDims, config.network, "detection.network")
        kept, held_out = split_faces(samples, config.held_out, config.train.seed)
        self.maker = self._maker(kept)
        self.held_out = self._maker(held_out).batch(VAL_SAMPLES, torch.Generator().manual_seed(0))
        self.header = Header(
            self.name,
            dataclasses.asdict(self.dims),
            config=dataclasses.asdict(config),
            data={"frames": len(kept), "subjects": len(np.unique(kept.subjects))},
        )

    def _maker(self, samples: FaceSamples) -> SceneMaker:
        images = torch.from_numpy(samples.images).permute(0, 3, 1, 2).contiguous()
        faces = Pictures.of(images, torch.from_numpy(samples.meshes))
        return SceneMaker(faces, torch.from_numpy(samples.chances), self.dims.size, STRIDE)

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
        """Measure the losses (``score``) and two rates on the held-out scenes.

        missed: share of the faces without a detection at their centre
        false: mean number of cells per scene that detect a face where there is none
        """
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
    """Return the losses of a batch of scenes.

    face: focal loss of the heat map (Zhou et al., 2019, eq. 1)
    place: error of centre and log side of the face, in cells
    """
    cells = network.cells(scenes.images)
    logit, heat = cells[:, 0], scenes.heat
    chance = torch.sigmoid(logit)
    found = (1 - chance) ** 2 * F.softplus(-logit)
    spared = (1 - heat) ** 4 * chance**2 * F.softplus(logit)
    focal = torch.where(heat == 1, found, spared) * scenes.counts
    weight = heat * (heat > NEAR)
    error = (cells[:, 1:] - scenes.place).abs()
    # A larger error of the centre is allowed for a larger face.
    error = torch.cat([error[:, :2] * torch.exp(-scenes.place[:, 2:].clamp(min=0)), error[:, 2:]], 1).sum(1)
    return {
        "face": focal.sum() / (heat == 1).sum().clamp(min=1),
        "place": 2 * (error * weight).sum() / weight.sum().clamp(min=1),
    }


def export_detection(network: DetectionNetwork, path: Path) -> None:
    """Write the network as ONNX: ``frame`` [B, 3, S, S] in 0..1 → ``face``, ``centre`` and ``side`` per cell."""
    frame = torch.rand(1, 3, network.dims.size, network.dims.size)
    export_onnx(network, frame, "frame", ("face", "centre", "side"), path)
