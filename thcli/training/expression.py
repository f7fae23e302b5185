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
from thcli.clips.features import framed, log_mel
from thcli.config import Config, ExpressionConfig, make_dims
from thcli.data.audio_motion import STEPS, AudioMotion, load_audio_motion, shifted, split_subjects
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.faces.pose import deposed
from thcli.motion.expression import SILENCE, equalised, predict
from thcli.motion.raw_sound import resampled, speech_level
from thcli.records import SAMPLES_PER_FRAME, Float, Image
from thcli.training.alignment import Predict, find_shifts
from thcli.training.augment_speech import augment_speech
from thcli.training.augment_waveform import augment_waveform
from thcli.training.expression_loss import ExpressionLoss
from thcli.training.loop import AFRESH, Networks, RunOptions, TrainResult, train
from thcli.training.pictures import draw_curves
from thgen_models.expression import ExpressionDims, ExpressionNetwork, make_expression_learner
from thgen_models.raw_front_end import FRAME_SAMPLES

SHOWN_CLIPS, SHOWN_FRAMES = 4, 250
"""Of the held-out clips, in TensorBoard."""
REFERENCE_FRAMES = (1, 1, 4, 64)
"""Over how many frames of a clip the reference expression is taken in training: a photo has one, a clip many."""


def train_expression(
    data: Path, out: Path, config: Config, running: RunOptions = AFRESH, weights: Path | None = None
) -> TrainResult:
    """Train Psi on a store's clips of split ``train`` into the folder ``out``; see ``training.loop.train``.

    weights: folder in which to look for the face model first
    """
    section, device = config.expression, running.device
    face_model_path = find_weights("face_model.safetensors", weights)
    model, digest = FaceModel.load(face_model_path), sha256(face_model_path)
    clips = load_clips(Store(data), "train", model)
    shifts = running.world.first(lambda: _known_shifts(out, clips, section, model, device, running.resume))
    if _dims(section).front_end == "raw":
        clips = load_clips(Store(data), "train", model, raw=True)
    stage = ExpressionStage([shifted(clip, shifts[clip.clip]) for clip in clips], section, model, digest, device)
    return train(stage, section.train, out, running, config)


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
    """Where the sound of each clip has to go to be in step with the mouth, see ``training.alignment``.

    The networks that are fitted for it hear log-mel features, whatever the one to be trained hears.
    """
    if _dims(config).front_end == "raw":
        usual = ExpressionConfig()
        config = replace(config, network=usual.network, train=replace(usual.train, seed=config.train.seed))
    # The mean over the last weights must be short here, as the training is.
    options = replace(config.train, steps=config.align_steps, val_every=config.align_steps, patience=0, ema=0.97)
    quick = replace(config, train=options, held_out=1)

    def fit(others: list[AudioMotion]) -> Predict:
        stage = ExpressionStage(others, quick, model, "", device)
        with tempfile.TemporaryDirectory() as folder:
            result = train(stage, options, Path(folder), RunOptions(device))
            network = make_expression_learner(stage.dims).to(device).eval()
            load_weights(network, load_checkpoint(result.checkpoint, stage.name), result.checkpoint)
        gap = stage.loss.gap.cpu().numpy()
        return lambda clip: predict(network, clip.features, np.median(clip.expression, axis=0)) @ gap

    return find_shifts(clips, fit, config.align_rounds, config.train.seed)


def load_clips(store: Store, split: str, model: FaceModel, raw: bool = False) -> list[AudioMotion]:
    """Motion and log-mel features, or ``raw`` samples, of a split, for training and measuring Psi."""
    heard = framed if raw else log_mel
    return load_audio_motion(store, split, model, lambda path: heard(read_speech(path)), deposed)


def _dims(config: ExpressionConfig) -> ExpressionDims:
    return make_dims(ExpressionDims, config.network, "expression.network")


STEP_PLACES = (np.arange(STEPS) + 0.5) / STEPS - 0.5
"""Where a frame's log-mel steps lie about its middle, in frames."""


@dataclass(frozen=True)
class ExpressionBatch:
    """reference: [B, 20]; target: [B, T, 20]; tracked: [B, T], 1 or 0.

    features: [B, T + 2 reach, 4, 80] log-mel, or [B, T + 2 reach, 2000] samples at 50 kHz
    """

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
        self.dims = _dims(config)
        kept, self.held_out = split_subjects(clips, config.held_out, config.train.seed)
        self.clips = [clip for clip in kept if len(clip) > config.frames * (1 + config.stretch)]
        self.sounds = [self._prepared(clip.features) for clip in self.clips]
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
        return Networks(make_expression_learner(self.dims))

    @property
    def _margin(self) -> int:
        """Frames of silence around samples: a window may be played faster, and resampling takes a frame more."""
        return int(np.ceil(self.dims.reach * (1 + self.config.stretch))) + 2

    def _prepared(self, sound: Float) -> Float:
        """A clip's sound as training takes windows of it, with silence at both ends."""
        if self.dims.front_end == "raw":
            return padded(sound / np.float32(speech_level(sound)), self._margin, 0.0)
        return padded(equalised(sound), self.dims.reach, SILENCE)

    def batch(self, random: np.random.Generator) -> ExpressionBatch:
        parts = [self._example(random) for _ in range(self.config.train.batch_size)]
        arrays = [torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*parts, strict=True)]
        return ExpressionBatch(*arrays)

    def _example(self, random: np.random.Generator) -> tuple[Float, Float, Float, Float]:
        i = random.choice(len(self.clips), p=self.chances)
        clip, frames = self.clips[i], self.config.frames
        speed = random.uniform(1 - self.config.stretch, 1 + self.config.stretch)
        first = random.uniform(0, max(0.0, len(clip) - frames * speed))
        hear = self._samples if self.dims.front_end == "raw" else self._features
        features = hear(self.sounds[i], first, speed, random)
        places = first + speed * (np.arange(frames) + 0.5) - 0.5
        tracked = clip.tracked[np.rint(places).astype(int).clip(0, len(clip) - 1)]
        # Another face at rest every time, or a network that is shown it would know its few subjects by it.
        face = random.normal(0, self.config.face_noise, (self.dims.coefficients,)).astype(np.float32)
        seen = random.integers(0, len(clip), random.choice(REFERENCE_FRAMES))
        reference = clip.expression[seen].mean(axis=0) + face
        return features, reference, at(clip.expression, places) + face, tracked.astype(np.float32)

    def _features(self, sound: Float, first: float, speed: float, random: np.random.Generator) -> Float:
        """Log-mel features of a window, ``reach`` frames more on either side, every frame's steps among themselves."""
        frames, reach = self.config.frames, self.dims.reach
        middle = first + reach + speed * (np.arange(-reach, frames + reach) + 0.5)
        steps = (middle[:, None] + speed * STEP_PLACES).ravel() * self.dims.steps - 0.5
        heard = at(sound.reshape(-1, self.dims.mels), steps).reshape(-1, self.dims.steps, self.dims.mels)
        return augment_speech(heard, self.sounds, self.config.augment, random)

    def _samples(self, sound: Float, first: float, speed: float, random: np.random.Generator) -> Float:
        """The same of samples, at 50 kHz; played faster, a voice is higher."""
        frames, reach = self.config.frames, self.dims.reach
        begin = first + self._margin - speed * reach
        length = speed * (frames + 2 * reach)
        whole, end = int(begin), int(np.ceil(begin + length))
        piece = sound[whole - 1 : end + 1].ravel()
        others = [other.ravel() for other in self.sounds]
        heard = resampled(augment_waveform(piece, others, self.config.augment, random).reshape(-1, SAMPLES_PER_FRAME))
        places = (begin - whole) * FRAME_SAMPLES + speed * (np.arange((frames + 2 * reach) * FRAME_SAMPLES) + 0.5) - 0.5
        return at(heard.reshape(-1, 1), places).reshape(-1, FRAME_SAMPLES)

    def step(self, networks: Networks, batch: ExpressionBatch) -> dict[str, Tensor]:
        predicted = networks.network(batch.features, batch.reference)
        losses: dict[str, Tensor] = self.loss(predicted, batch.target, batch.tracked)
        return losses

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, ExpressionNetwork)
        figures = measure(network, self.held_out, self.loss.gap.cpu().numpy())
        return {**figures, "score": 1 - figures["correlation"] + abs(1 - figures["deviation"]) / 4}

    def pictures(self, network: nn.Module) -> dict[str, Image]:
        """How far the mouths of some held-out clips open, and should."""
        assert isinstance(network, ExpressionNetwork)
        gap, panels = self.loss.gap.cpu().numpy(), {}
        for clip in self.held_out[:SHOWN_CLIPS]:
            said = predict(network, clip.features[:SHOWN_FRAMES], np.median(clip.expression, axis=0))
            panels[clip.clip] = {"true": clip.expression[:SHOWN_FRAMES] @ gap, "predicted": said @ gap}
        return {"mouth opening": draw_curves(panels)}


def at(values: Float, places: NDArray[np.floating]) -> Float:
    """values [N, C] at fractional places [M], by linear interpolation: [M, C]; the ends go on for ever."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(int), max(len(values) - 2, 0))
    part = (places - low).astype(np.float32)[:, None]
    return values[low] * (1 - part) + values[np.minimum(low + 1, len(values) - 1)] * part


def padded(sound: Float, reach: int, silence: float) -> Float:
    """Sound [T + 2 reach, ...] with silence on both sides."""
    return np.pad(sound, ((reach, reach), *((0, 0),) * (sound.ndim - 1)), constant_values=silence)


def measure(
    network: ExpressionNetwork, clips: Sequence[AudioMotion], gap: Float, frames: int = 1500
) -> dict[str, float]:
    """Means over clips, of the first ``frames`` frames of each: see ``measure_clip``."""
    figures = [measure_clip(network, clip, gap, frames) for clip in clips]
    means = {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
    return {**means, "lowest": float(np.min([f["correlation"] for f in figures]))}


def measure_clip(network: ExpressionNetwork, clip: AudioMotion, gap: Float, frames: int = 1500) -> dict[str, float]:
    """Correlation of predicted with true mouth opening, and the ratio of their standard deviations."""
    predicted = predict(network, clip.features[:frames], np.median(clip.expression, axis=0)) @ gap
    true = clip.opening[:frames]
    correlation = np.corrcoef(predicted, true)[0, 1]
    return {"correlation": float(correlation), "deviation": float(predicted.std() / true.std())}
