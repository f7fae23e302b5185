"""Plan of a training run, made without decoding a clip or training a step (``thgen train STAGE --dry-run``)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from thcli.checkpoints import EXPRESSION, FACE_MODEL, SPEECH_ENCODER, find_weights
from thcli.clips.features import STEPS_PER_FRAME
from thcli.config import load_config, make_dims
from thcli.configs.sections import Config
from thcli.data.episodes import WINDOW
from thcli.data.store import ClipMeta, Store
from thcli.errors import MediaError
from thcli.records import CROP_SIZE
from thcli.training.adversary import Adversary
from thcli.training.distributed import ALONE, World
from thcli.training.generator import list_episodes
from thcli.training.perceptual import load_perceptual
from thcli.training.person_masks import check_teacher
from thcli.training.stages import sized_as
from thgen_models.detection import DetectionDims, DetectionNetwork
from thgen_models.discriminator import DiscriminatorDims
from thgen_models.expression import ExpressionDims, make_expression_learner
from thgen_models.generator import Generator, GeneratorDims
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner, MotionDiscriminator
from thgen_models.matting import MattingDims, MattingNetwork
from thgen_models.raw_front_end import FRAME_SAMPLES
from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims
from thgen_models.speech_encoder import SpeechEncoder
from thgen_models.unprojection import UnprojectionDims, UnprojectionNetwork

MEGABYTE = 1 << 20
COPIES = 5
"""Values kept per weight: itself, its gradient, the optimiser's two moments, and the running mean."""
FRAME_OF_SOUND = 2 * 4 * 80 * 4
"""Bytes of the log-mel features of a frame, which a stage holds twice: as read, and as prepared for training."""
_NEEDED = {
    "expression": (FACE_MODEL,),
    "adapter": (FACE_MODEL, EXPRESSION, SPEECH_ENCODER),
    "unprojection": (FACE_MODEL,),
}
"""Weights that a stage reads, by stage."""
PAST, FUTURE = 75, 128
"""Frames of reference and target for which the memory of a step of Φ is estimated."""


@dataclass(frozen=True)
class Material:
    """Data of split ``train`` that a stage can use, including what it holds out.

    kind: ``clips`` or ``episodes``
    count, subjects, frames: number of these
    bytes: memory that the data takes in every process
    """

    kind: str
    count: int
    subjects: int
    frames: int
    bytes: int


@dataclass(frozen=True)
class TrainPlan:
    """Plan of a run; ``--dry-run`` prints ``str()`` of it.

    stage: name of the stage
    material: the data
    steps: training steps
    validations: number of validations
    batch: examples per step, of all processes together
    weights: number of weights of all networks
    step_bytes: estimate of the memory in which a step of one process keeps values for the backward pass
    device: PyTorch's name of the device
    processes: number of processes
    """

    stage: str
    material: Material
    steps: int
    validations: int
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
                f"steps      {self.steps}, batches of {self.batch}{shared}, {self.validations} validations",
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
    """Check configuration, device, weights and data as ``stages.run`` would, and estimate what the run needs.

    Only stages with training steps can be planned; the arguments are those of ``stages.run``. Raises UsageError,
    MediaError, WeightsError, DeviceError.
    """
    chosen = sized_as(init, stage, load_config(config, overrides))
    section = getattr(chosen, stage)
    where = world.device(device)
    world.check_batch(section.train.batch_size, section.train.accumulate)
    if perceptual is not None:
        load_perceptual(perceptual, "cpu")
    for name in _NEEDED.get(stage, ()):
        find_weights(name, weights)
    material = _episodes(data) if stage == "generator" else _clips(stage, data, section)
    share = section.train.batch_size // section.train.accumulate // world.size
    networks, activations = _estimate(stage, chosen, share)
    return TrainPlan(
        stage=stage,
        material=material,
        steps=section.train.steps,
        validations=-(-section.train.steps // section.train.val_every),
        batch=section.train.batch_size,
        weights=networks,
        step_bytes=activations // 2 if section.train.bf16 else activations,
        device=where,
        processes=world.size,
    )


def _clips(stage: str, data: Path, section: Any) -> Material:
    """Measure the clips of a store."""
    clips = _usable(stage, Store(data))
    frames = sum(meta.frames for meta in clips)
    images = stage in ("detection", "unprojection", "matting")
    channels = 4 if stage == "matting" else 3  # an image, and the teacher's mask
    size = frames // section.every * CROP_SIZE**2 * channels if images else frames * FRAME_OF_SOUND
    return Material("clips", len(clips), len({meta.subject for meta in clips}), frames, size)


def _episodes(data: Path) -> Material:
    """Measure the episodes of a set. Raises MediaError where there are none, or a file is missing."""
    episodes = list_episodes(data)
    for meta in episodes:
        if not (data / meta.file).is_file():
            raise MediaError(f"{data / meta.file}: no such file, though the index lists it; render it again")
    size = sum((data / meta.file).stat().st_size for meta in episodes)
    frames = sum(meta.frames for meta in episodes)
    return Material("episodes", len(episodes), len({meta.subject for meta in episodes}), frames, size)


def _usable(stage: str, store: Store) -> list[ClipMeta]:
    """Return the training clips that a stage can use.

    Raises MediaError where there are none, they show one subject only, or a file is missing.
    """
    clips = store.select("train")
    speech, in_step = stage in ("expression", "adapter", "motion"), stage in ("expression", "motion")
    if in_step:
        clips = [meta for meta in clips if meta.av_lag is not None]
    if not clips:
        known = " whose sound is known to fit the face (av_lag)" if in_step else ""
        raise MediaError(f"{store.root}: no training clips{known}; preprocess some")
    if len({meta.subject for meta in clips}) < 2:
        raise MediaError(f"{store.root}: training clips of one subject, expected two or more to hold some out")
    for meta in clips:
        path = store.speech(meta.clip) if speech else store.crop(meta.clip)
        if not path.is_file():
            raise MediaError(f"{path}: no such file, though the index lists its clip; preprocess it again")
    return clips


def _estimate(stage: str, config: Config, batch: int) -> tuple[int, int]:
    """Count the weights, and the bytes that a step keeps for the backward pass, with networks that take no memory."""
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
"""Networks of a stage on PyTorch's device ``meta``, and a function that runs their forward passes of one step."""


def _expression(config: Config, batch: int) -> Sketch:
    dims = make_dims(ExpressionDims, config.expression.network, "expression.network")
    network = make_expression_learner(dims)
    frame = (FRAME_SAMPLES,) if dims.front_end == "raw" else (dims.steps, dims.values)
    features = torch.empty(batch, config.expression.frames + 2 * dims.reach, *frame)
    return [network], lambda: network(features, torch.empty(batch, dims.coefficients))


def _adapter(config: Config, batch: int) -> Sketch:
    dims = make_dims(SpeechAdapterDims, config.adapter.network, "adapter.network")
    network, encoder = SpeechAdapter(dims), SpeechEncoder(dims)
    steps = torch.empty(batch, STEPS_PER_FRAME * config.adapter.frames, dims.mels)
    return [network], lambda: network(steps, encoder)


def _motion(config: Config, batch: int) -> Sketch:
    dims = make_dims(HeadMotionDims, config.motion.network, "motion.network")
    network, critic = HeadMotionLearner(dims), MotionDiscriminator(dims)
    past, summary = torch.empty(batch, PAST, 6), torch.empty(batch, 13)
    past_features = torch.empty(batch, PAST, dims.steps, dims.mels)
    features = torch.empty(batch, FUTURE + 2 * dims.context, dims.steps, dims.mels)
    noise = torch.empty(batch, FUTURE + 2 * dims.context, dims.noise)

    def run() -> None:
        made = network(past, past_features, summary, features, noise)
        for _ in range(4):  # predicted motion for both losses, real motion, and real motion with other speech
            critic(made, features[:, :FUTURE], past, summary)

    return [network, critic], run


def _detection(config: Config, batch: int) -> Sketch:
    dims = make_dims(DetectionDims, config.detection.network, "detection.network")
    network = DetectionNetwork(dims)
    return [network], lambda: network.cells(torch.empty(batch, 3, dims.size, dims.size))


def _unprojection(config: Config, batch: int) -> Sketch:
    dims = make_dims(UnprojectionDims, config.unprojection.network, "unprojection.network")
    network = UnprojectionNetwork(dims)
    return [network], lambda: network.coarse_and_refined(torch.empty(batch, 3, dims.crop, dims.crop), 0.06)


def _matting(config: Config, batch: int) -> Sketch:
    check_teacher()
    network = MattingNetwork(make_dims(MattingDims, config.matting.network, "matting.network"))
    return [network], lambda: network.logits(torch.empty(batch, 3, config.matting.size, config.matting.size))


def _generator(config: Config, batch: int) -> Sketch:
    section = config.generator
    network = Generator(make_dims(GeneratorDims, section.network, "generator.network"))

    def image(channels: int, *rows: int) -> Tensor:
        return torch.empty(*rows, channels, section.size, section.size)

    frames = [image(channels, batch * WINDOW) for channels in (3, 3, 3, 1, 1)]
    references = [image(channels, batch, max(section.references)) for channels in (3, 1)]
    critic = Adversary(make_dims(DiscriminatorDims, section.discriminator, "generator.discriminator"))
    judging = section.adversarial > 0

    def run() -> None:
        made, *_ = network.from_tensors(*frames, *references)
        if judging:
            critic(made, made.detach(), frames[-1])

    return [network, *([critic] if judging else [])], run


_SKETCHES: dict[str, Callable[[Config, int], Sketch]] = {
    "expression": _expression,
    "adapter": _adapter,
    "motion": _motion,
    "detection": _detection,
    "unprojection": _unprojection,
    "matting": _matting,
    "generator": _generator,
}
"""Functions by stage that make a sketch for a configuration and the examples per step of a process."""
