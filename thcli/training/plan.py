"""What ``thgen train STAGE`` would do, checked without decoding a clip or training a step (``--dry-run``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thcli.checkpoints import find_weights
from thcli.config import Config, load_config, make_dims
from thcli.data.episodes import WINDOW
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError
from thcli.export.exporters import check_exporter
from thcli.records import CROP_SIZE
from thcli.training.adversary import Adversary
from thcli.training.distributed import ALONE, World
from thcli.training.generator import list_takes
from thcli.training.perceptual import load_perceptual
from thcli.training.stages import sized_as
from thgen_models.detection import DetectionDims, DetectionNetwork
from thgen_models.discriminator import DiscriminatorDims
from thgen_models.expression import ExpressionDims, make_expression_learner
from thgen_models.generator import Generator, GeneratorDims
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner, MotionDiscriminator
from thgen_models.raw_front_end import FRAME_SAMPLES
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

MEGABYTE = 1 << 20
COPIES = 5
"""Of every weight: itself, its gradient, the optimiser's two moments, and the running mean that is kept."""
FRAME_OF_SOUND = 2 * 4 * 80 * 4
"""Bytes of the features of a frame, as read and as heard."""
PAST, FUTURE = 75, 128
"""Frames of reference and target with which a step of Φ is sized up."""


@dataclass(frozen=True)
class Material:
    """What a stage can use of split ``train``, some of which it holds out.

    kind: ``clips`` or ``takes``
    bytes: of them, held in memory by every process
    """

    kind: str
    count: int
    subjects: int
    frames: int
    bytes: int


@dataclass(frozen=True)
class TrainPlan:
    """What a run has to work with; ``str()`` of it is what ``--dry-run`` prints.

    weights: of the networks; step_bytes: what a step of one process keeps for the way back, a guess
    """

    stage: str
    material: Material
    steps: int
    looks: int
    batch: int
    weights: int
    step_bytes: int
    device: str
    processes: int

    def __str__(self) -> str:
        state = COPIES * 4 * self.weights
        data = self.material
        parts = [f"{size / MEGABYTE:.0f} MB {what}" for size, what in (
            (state, "weights and optimiser"), (self.step_bytes, "a step"), (data.bytes, data.kind),
        )]  # fmt: skip
        total = (state + self.step_bytes + data.bytes) / MEGABYTE
        shared = f" in {self.processes} processes" if self.processes > 1 else ""
        board = "TensorBoard and log.jsonl" if importlib.util.find_spec("tensorboard") else "log.jsonl"
        return "\n".join(
            [
                f"stage      {self.stage}",
                f"data       {data.count} {data.kind} of {data.subjects} subjects, {data.frames} frames",
                f"steps      {self.steps}, batches of {self.batch}{shared}, {self.looks} looks at held-out subjects",
                f"network    {self.weights} weights",
                f"memory     about {total:.0f} MB a process beside PyTorch's own: {', '.join(parts)}",
                f"device     {self.device}",
                f"curves     {board}",
            ]
        )


def plan(
    stage: str,
    data: Path,
    *,
    config: str | None = None,
    overrides: Sequence[str] = (),
    init: Path | None = None,
    device: str = "auto",
    weights: Path | None = None,
    perceptual: Path | None = None,
    world: World = ALONE,
) -> TrainPlan:
    """Check configuration, device, weights and store as ``stages.run`` would, and size the run up.

    Only stages with steps can be planned. Raises UsageError, MediaError, WeightsError, DeviceError.
    """
    chosen = sized_as(init, stage, load_config(config, overrides))
    section = getattr(chosen, stage)
    where = world.device(device)
    world.check_batch(section.train.batch_size, section.train.accumulate)
    if stage == "generator":
        check_exporter()
    if perceptual is not None:
        load_perceptual(perceptual, "cpu")
    if stage in ("expression", "unprojection"):
        find_weights("face_model.safetensors", weights)
    material = _takes(data) if stage == "generator" else _clips(stage, data, section)
    share = section.train.batch_size // section.train.accumulate // world.size
    networks, activations = _size_up(stage, chosen, share)
    return TrainPlan(
        stage=stage,
        material=material,
        steps=section.train.steps,
        looks=-(-section.train.steps // section.train.val_every),
        batch=section.train.batch_size,
        weights=networks,
        step_bytes=activations // 2 if section.train.bf16 else activations,
        device=where,
        processes=world.size,
    )


def _clips(stage: str, data: Path, section: Any) -> Material:
    clips = _usable(stage, Store(data))
    frames = sum(meta.frames for meta in clips)
    pictures = stage in ("detection", "unprojection")
    size = frames // section.every * CROP_SIZE**2 * 3 if pictures else frames * FRAME_OF_SOUND
    return Material("clips", len(clips), len({meta.subject for meta in clips}), frames, size)


def _takes(data: Path) -> Material:
    takes = list_takes(data)
    for meta in takes:
        if not (data / meta.file).is_file():
            raise MediaError(f"{data / meta.file}: no such file, though the index lists it; draw it again")
    size = sum((data / meta.file).stat().st_size for meta in takes)
    frames = sum(meta.frames for meta in takes)
    return Material("takes", len(takes), len({meta.subject for meta in takes}), frames, size)


def _usable(stage: str, store: Store) -> list[ClipMeta]:
    """The training clips that a stage learns from; MediaError where there are none, or files of them are gone."""
    clips = store.select("train")
    sound = stage in ("expression", "motion")
    if sound:
        clips = [meta for meta in clips if meta.av_lag is not None]
    if not clips:
        known = " whose sound is known to fit the face (av_lag)" if sound else ""
        raise MediaError(f"{store.root}: no training clips{known}; preprocess some")
    if len({meta.subject for meta in clips}) < 2:
        raise MediaError(f"{store.root}: training clips of one subject, expected two or more to hold some out")
    for meta in clips:
        path = store.speech(meta.clip) if sound else store.crop(meta.clip)
        if not path.is_file():
            raise MediaError(f"{path}: no such file, though the index lists its clip; preprocess it again")
    return clips


def _size_up(stage: str, config: Config, batch: int) -> tuple[int, int]:
    """Weights in all, and bytes that a step keeps for the way back, from a network without memory of its own."""
    with torch.device("meta"):
        networks, run = _SKETCHES[stage](config, batch)
        own = {id(p) for network in networks for p in network.parameters()}
        kept: dict[int, Tensor] = {}

        def keep(tensor: Tensor) -> Tensor:
            if id(tensor) not in own:
                kept[tensor.untyped_storage()._cdata] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            run()
    weights = sum(p.numel() for network in networks for p in network.parameters())
    return weights, sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


Sketch = tuple[list[nn.Module], Callable[[], Any]]


def _expression(config: Config, batch: int) -> Sketch:
    dims = make_dims(ExpressionDims, config.expression.network, "expression.network")
    network = make_expression_learner(dims)
    frame = (FRAME_SAMPLES,) if dims.front_end == "raw" else (dims.steps, dims.mels)
    heard = torch.empty(batch, config.expression.frames + 2 * dims.reach, *frame)
    return [network], lambda: network(heard, torch.empty(batch, dims.coefficients))


def _motion(config: Config, batch: int) -> Sketch:
    dims = make_dims(HeadMotionDims, config.motion.network, "motion.network")
    network, critic = HeadMotionLearner(dims), MotionDiscriminator(dims)
    past, summary = torch.empty(batch, PAST, 6), torch.empty(batch, 13)
    past_heard = torch.empty(batch, PAST, dims.steps, dims.mels)
    heard = torch.empty(batch, FUTURE + 2 * dims.context, dims.steps, dims.mels)
    noise = torch.empty(batch, FUTURE + 2 * dims.context, dims.noise)

    def run() -> None:
        made = network(past, past_heard, summary, heard, noise)
        for _ in range(4):  # made for either, real, and real to another's sound
            critic(made, heard[:, :FUTURE], past, summary)

    return [network, critic], run


def _detection(config: Config, batch: int) -> Sketch:
    dims = make_dims(DetectionDims, config.detection.network, "detection.network")
    network = DetectionNetwork(dims)
    return [network], lambda: network.cells(torch.empty(batch, 3, dims.size, dims.size))


def _unprojection(config: Config, batch: int) -> Sketch:
    dims = make_dims(UnprojectionDims, config.unprojection.network, "unprojection.network")
    network = UnprojectionNetwork(dims)
    return [network], lambda: network.both_looks(torch.empty(batch, 3, dims.crop, dims.crop), 0.06)


def _generator(config: Config, batch: int) -> Sketch:
    section = config.generator
    network = Generator(make_dims(GeneratorDims, section.network, "generator.network"))

    def picture(channels: int, *rows: int) -> Tensor:
        return torch.empty(*rows, channels, section.size, section.size)

    frames = [picture(channels, batch * WINDOW) for channels in (3, 3, 3, 1, 1)]
    references = [picture(channels, batch, max(section.references)) for channels in (3, 1)]
    critic = Adversary(make_dims(DiscriminatorDims, section.discriminator, "generator.discriminator"))
    judging = section.adversarial > 0

    def run() -> None:
        made, *_ = network.from_tensors(*frames, *references)
        if judging:
            critic(made, made.detach(), frames[-1])

    return [network, *([critic] if judging else [])], run


_SKETCHES: dict[str, Callable[[Config, int], Sketch]] = {
    "expression": _expression,
    "motion": _motion,
    "detection": _detection,
    "unprojection": _unprojection,
    "generator": _generator,
}
