"""`thgen train expression`: Psi, the facial expression learner (§3.2)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from thcli.checkpoints import Header, find_weights, load_checkpoint, load_weights, sha256, write_atomic
from thcli.clips.audio import read_speech
from thcli.clips.features import log_mel
from thcli.config import Config, ExpressionConfig, make_dims
from thcli.data.audio_motion import STEPS, AudioMotion, load_audio_motion, shifted, split_subjects
from thcli.data.store import Store
from thcli.face_model import FACE_OVAL, INNER_LIPS, OUTER_LIPS, FaceModel
from thcli.faces.pose import deposed
from thcli.motion.expression import SILENCE, equalised, predict
from thcli.records import Float, Image
from thcli.training.alignment import Predict, find_shifts
from thcli.training.augment_speech import augment_speech
from thcli.training.distributed import ALONE, World
from thcli.training.loop import Networks, Progress, TrainResult, train
from thcli.training.pictures import draw_curves
from thgen_models.expression import ExpressionDims, ExpressionLearner

SHOWN_CLIPS, SHOWN_FRAMES = 4, 250
"""Of the held-out clips, in TensorBoard."""
CHIN = FACE_OVAL[12:25]
REFERENCE_FRAMES = (1, 1, 4, 64)
"""Over how many frames of a clip the reference expression is taken in training: a photo has one, a clip many."""


def train_expression(
    data: Path,
    out: Path,
    config: Config,
    progress: Progress | None = None,
    *,
    device: str = "cpu",
    resume: bool = False,
    init: Path | None = None,
    weights: Path | None = None,
    world: World = ALONE,
) -> TrainResult:
    """Train Psi on a store's clips of split ``train`` into the folder ``out``; see ``training.loop.train``."""
    section = config.expression
    face_model_path = find_weights("face_model.safetensors", weights)
    model, digest = FaceModel.load(face_model_path), sha256(face_model_path)
    clips = load_clips(Store(data), "train", model)
    shifts = world.first(lambda: _known_shifts(out, clips, section, model, device, resume))
    stage = ExpressionStage([shifted(clip, shifts[clip.clip]) for clip in clips], section, model, digest, device)
    return train(
        stage,
        section.train,
        out,
        device=device,
        resume=resume,
        init=init,
        progress=progress,
        config=config,
        world=world,
    )


def _known_shifts(
    out: Path, clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, device: str, resume: bool
) -> dict[str, int]:
    """The shifts of a run's clips, noted in its folder, where a resumed run has them from."""
    path = out / "shifts.json"
    if not (resume and path.is_file()):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(_shifts(clips, config, model, device), indent=1).encode())
    return dict(json.loads(path.read_text()))


def _shifts(clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, device: str) -> dict[str, int]:
    """Where the sound of each clip has to go to be in step with the mouth, see ``training.alignment``."""
    # The mean over the last weights must be short here, as the training is.
    options = replace(config.train, steps=config.align_steps, val_every=config.align_steps, patience=0, ema=0.97)
    quick = replace(config, train=options, held_out=1)

    def fit(others: list[AudioMotion]) -> Predict:
        stage = ExpressionStage(others, quick, model, "", device)
        with tempfile.TemporaryDirectory() as folder:
            result = train(stage, options, Path(folder), device=device)
            network = stage.build().network.to(device).eval()
            load_weights(network, load_checkpoint(result.checkpoint, stage.name), result.checkpoint)
        assert isinstance(network, ExpressionLearner)
        gap = stage.loss.gap.cpu().numpy()
        return lambda clip: predict(network, clip.features, np.median(clip.expression, axis=0)) @ gap

    return find_shifts(clips, fit, config.align_rounds, config.train.seed)


def load_clips(store: Store, split: str, model: FaceModel) -> list[AudioMotion]:
    """Features and motion of a split, for training and measuring Psi and Phi."""
    return load_audio_motion(store, split, model, lambda path: log_mel(read_speech(path)), deposed)


STEP_PLACES = (np.arange(STEPS) + 0.5) / STEPS - 0.5
"""Where a frame's log-mel steps lie about its middle, in frames."""


@dataclass(frozen=True)
class ExpressionBatch:
    """features: [B, T + 2 reach, 4, 80]; reference: [B, 20]; target: [B, T, 20]; tracked: [B, T], 1 or 0."""

    features: Tensor
    reference: Tensor
    target: Tensor
    tracked: Tensor


class ExpressionStage:
    """What the loop trains: windows of clips of all subjects, subjects equally often."""

    name = "expression"

    def __init__(
        self, clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, face_model: str, device: str
    ) -> None:
        self.config, self.device = config, device
        self.dims = make_dims(ExpressionDims, config.network, "expression.network")
        kept, self.held_out = split_subjects(clips, config.held_out, config.train.seed)
        reach = self.dims.reach
        self.clips = [clip for clip in kept if len(clip) > config.frames * (1 + config.stretch)]
        self.sounds = [padded(equalised(clip.features), reach) for clip in self.clips]
        seconds = np.array([len(clip) for clip in self.clips], float)
        self.chances = np.sqrt(seconds) / np.sqrt(seconds).sum()
        self.loss = ExpressionLoss(model, config).to(device)
        self.header = Header(
            self.name,
            asdict(self.dims),
            config=asdict(config),
            data={
                "clips": len(self.clips),
                "subjects": len({clip.subject for clip in self.clips}),
                "frames": int(seconds.sum()),
                "face_model": face_model,
            },
        )

    def build(self) -> Networks:
        return Networks(ExpressionLearner(self.dims))

    def batch(self, random: np.random.Generator) -> ExpressionBatch:
        parts = [self._example(random) for _ in range(self.config.train.batch_size)]
        arrays = [torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*parts, strict=True)]
        return ExpressionBatch(*arrays)

    def _example(self, random: np.random.Generator) -> tuple[Float, Float, Float, Float]:
        i = random.choice(len(self.clips), p=self.chances)
        clip, frames, reach = self.clips[i], self.config.frames, self.dims.reach
        speed = random.uniform(1 - self.config.stretch, 1 + self.config.stretch)
        first = random.uniform(0, max(0.0, len(clip) - frames * speed))
        # Of the sound ``reach`` frames more on either side, every frame's steps among themselves.
        middle = first + reach + speed * (np.arange(-reach, frames + reach) + 0.5)
        steps = (middle[:, None] + speed * STEP_PLACES).ravel() * self.dims.steps - 0.5
        heard = at(self.sounds[i].reshape(-1, self.dims.mels), steps).reshape(-1, self.dims.steps, self.dims.mels)
        features = augment_speech(heard, self.sounds, self.config.augment, random)
        places = first + speed * (np.arange(frames) + 0.5) - 0.5
        tracked = clip.tracked[np.rint(places).astype(int).clip(0, len(clip) - 1)]
        # Another face at rest every time, or a network that is shown it would know its few subjects by it.
        face = random.normal(0, self.config.face_noise, (self.dims.coefficients,)).astype(np.float32)
        seen = random.integers(0, len(clip), random.choice(REFERENCE_FRAMES))
        reference = clip.expression[seen].mean(axis=0) + face
        return features, reference, at(clip.expression, places) + face, tracked.astype(np.float32)

    def step(self, networks: Networks, batch: ExpressionBatch) -> dict[str, Tensor]:
        predicted = networks.network(batch.features, batch.reference)
        losses: dict[str, Tensor] = self.loss(predicted, batch.target, batch.tracked)
        return losses

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, ExpressionLearner)
        figures = measure(network, self.held_out, self.loss.gap.cpu().numpy())
        return {**figures, "score": 1 - figures["correlation"] + abs(1 - figures["deviation"]) / 4}

    def pictures(self, network: nn.Module) -> dict[str, Image]:
        """How far the mouths of some held-out clips open, and should."""
        assert isinstance(network, ExpressionLearner)
        gap, panels = self.loss.gap.cpu().numpy(), {}
        for clip in self.held_out[:SHOWN_CLIPS]:
            said = predict(network, clip.features[:SHOWN_FRAMES], np.median(clip.expression, axis=0))
            panels[clip.clip] = {"true": clip.expression[:SHOWN_FRAMES] @ gap, "predicted": said @ gap}
        return {"mouth opening": draw_curves(panels)}


class ExpressionLoss(nn.Module):
    """Errors in space rather than in coefficients: lips and chin weigh most, the gap between the lips besides.

    MSE alone makes mouths that hardly move, as the mean of all that would fit the speech does; the concordance
    correlation of the gap over a window is 1 only where movement and its size both are right. On unseen voices the
    network is less sure and moves less, so in training it is asked for somewhat more movement than there is.
    """

    root: Tensor
    gap: Tensor

    def __init__(self, model: FaceModel, config: ExpressionConfig) -> None:
        super().__init__()
        weight = np.full(len(model.canonical), config.face_weight, np.float32)
        weight[list(CHIN)] = 1
        weight[list(OUTER_LIPS + INNER_LIPS)] = config.lip_weight
        moves = model.basis.reshape(len(model.basis), -1) * np.sqrt(np.repeat(weight, 3))
        gram = moves @ moves.T
        gram *= len(gram) / np.trace(gram)
        self.register_buffer("root", torch.from_numpy(np.linalg.cholesky(gram + 1e-6 * np.eye(len(gram)))).float())
        self.register_buffer("gap", torch.from_numpy(model.lip_gap).float())
        self.config = config

    def forward(self, predicted: Tensor, target: Tensor, tracked: Tensor) -> dict[str, Tensor]:
        """predicted, target: [B, T, 20]; tracked: [B, T]."""
        error = ((predicted - target) * tracked[..., None]) @ self.root
        position = error.square().mean()
        velocity = (error[:, 1:] - error[:, :-1]).square().mean()
        concordance = 1 - _concordance(predicted @ self.gap, target @ self.gap * self.config.movement, tracked)
        total = position + self.config.velocity_weight * velocity + self.config.concordance_weight * concordance
        return {"total": total, "position": position, "velocity": velocity, "concordance": concordance}


def _concordance(x: Tensor, y: Tensor, tracked: Tensor) -> Tensor:
    """Lin's concordance correlation of x and y [B, T] over time, pooled over the batch; means do not count."""
    weight = tracked / tracked.sum(dim=1, keepdim=True).clamp_min(1)
    x, y = x - (weight * x).sum(dim=1, keepdim=True), y - (weight * y).sum(dim=1, keepdim=True)
    scale = (weight * y * y).sum(dim=1) + 1e-4
    together = 2 * (weight * x * y).sum(dim=1) / scale
    apart = ((weight * x * x).sum(dim=1) + (weight * y * y).sum(dim=1)) / scale
    return together.mean() / apart.mean()


def at(values: Float, places: NDArray[np.floating]) -> Float:
    """values [N, C] at fractional places [M], by linear interpolation: [M, C]; the ends go on for ever."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(int), max(len(values) - 2, 0))
    part = (places - low).astype(np.float32)[:, None]
    return values[low] * (1 - part) + values[np.minimum(low + 1, len(values) - 1)] * part


def padded(features: Float, reach: int) -> Float:
    """Features [T + 2 reach, 4, 80] with silence on both sides."""
    return np.pad(features, ((reach, reach), (0, 0), (0, 0)), constant_values=SILENCE)


def measure(
    network: ExpressionLearner, clips: Sequence[AudioMotion], gap: Float, frames: int = 1500
) -> dict[str, float]:
    """Means over clips, of the first ``frames`` frames of each: see ``measure_clip``."""
    figures = [measure_clip(network, clip, gap, frames) for clip in clips]
    means = {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
    return {**means, "lowest": float(np.min([f["correlation"] for f in figures]))}


def measure_clip(network: ExpressionLearner, clip: AudioMotion, gap: Float, frames: int = 1500) -> dict[str, float]:
    """Correlation of predicted with true mouth opening, and the ratio of their standard deviations."""
    predicted = predict(network, clip.features[:frames], np.median(clip.expression, axis=0)) @ gap
    true = clip.opening[:frames]
    correlation = np.corrcoef(predicted, true)[0, 1]
    return {"correlation": float(correlation), "deviation": float(predicted.std() / true.std())}
