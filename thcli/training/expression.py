"""Training of Ψ, the facial expression learner (§3.2), by ``thgen train expression``."""

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

from thcli.checkpoints import FACE_MODEL, Header, digest_of, load_checkpoint, load_weights, write_atomic
from thcli.clips.features import STEPS_PER_FRAME
from thcli.config import make_dims
from thcli.configs.sections import Config, ExpressionConfig
from thcli.data.audio_motion import AudioMotion, shifted, split_subjects
from thcli.data.store import Store
from thcli.face_model import FaceModel
from thcli.motion.expression import cut_features, equalised_features, predict
from thcli.motion.raw_sound import resampled, speech_level
from thcli.pipeline.models import load_models
from thcli.records import SAMPLES_PER_FRAME, Float, Image
from thcli.training.alignment import Predict, find_shifts
from thcli.training.augment_speech import augment_speech
from thcli.training.augment_waveform import augment_waveform
from thcli.training.expression_clips import load_clips, training_renditions
from thcli.training.expression_loss import ExpressionLoss, closure_loss
from thcli.training.images import draw_curves
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train
from thcli.training.protocol import Networks
from thgen_models.expression import ExpressionDims, ExpressionNetwork, make_expression_learner
from thgen_models.raw_front_end import FRAME_SAMPLES

SHOWN_CLIPS, SHOWN_FRAMES = 4, 250
"""Held-out clips shown in TensorBoard, and frames shown of each."""
REFERENCE_FRAMES = (1, 1, 4, 64)
"""Numbers of frames, one drawn per example, whose mean is the reference expression; a photo has one, a clip many."""


def train_expression(
    data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN, weights: Path | None = None
) -> TrainResult:
    """Train Ψ on a store's clips of split ``train`` into the folder ``out``; see ``training.loop.train``.

    weights: folder that is searched first for the face model
    """
    section, device = config.expression, running.device
    models = load_models(weights, device)
    model, digest = models.face_model, digest_of(models.find(FACE_MODEL))
    clips = load_clips(Store(data), "train", model)
    shifts = running.world.first(lambda: _known_shifts(out, clips, section, model, device, running.resume))
    front_end = _dims(section).front_end
    if front_end != "log_mel":
        encoder = models.load_speech_encoder() if front_end == "encoder" else None
        clips = load_clips(Store(data), "train", model, front_end, encoder, training_renditions(section))
    stage = ExpressionStage([shifted(clip, shifts[clip.clip]) for clip in clips], section, model, digest, device)
    return train(stage, section.train, out, running, config)


def _known_shifts(
    out: Path, clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, device: str, resume: bool
) -> dict[str, int]:
    """Return the shifts of a run's clips: computed and written to the run's folder, or read there by a resumed run."""
    path = out / "shifts.json"
    if not (resume and path.is_file()):
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(_shifts(clips, config, model, device), indent=1).encode())
    return dict(json.loads(path.read_text()))


def _shifts(clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, device: str) -> dict[str, int]:
    """Find the steps of 10 ms by which each clip's mouth trails its audio, by clip name, see ``training.alignment``.

    The networks fitted for this take log-mel features, whatever front end the trained network has.
    """
    if _dims(config).front_end == "raw":
        usual = ExpressionConfig()
        config = replace(config, network=usual.network, train=replace(usual.train, seed=config.train.seed))
    config = replace(config, network={**config.network, "front_end": "log_mel", "closure": False})
    # The running mean of the weights must be as short here as the training is.
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


def _dims(config: ExpressionConfig) -> ExpressionDims:
    return make_dims(ExpressionDims, config.network, "expression.network")


STEP_PLACES = (np.arange(STEPS_PER_FRAME) + 0.5) / STEPS_PER_FRAME - 0.5
"""Positions of a frame's log-mel steps from its middle, frames."""


@dataclass(frozen=True)
class ExpressionBatch:
    """Windows of clips, with the expressions that Ψ is to predict.

    features: [B, T + 2 reach, 4, 80] log-mel, [B, T + 2 reach, 4, 80 + 384] these with codes, or
        [B, T + 2 reach, 2000] samples at 50 kHz
    reference: [B, 20], reference expressions
    target: [B, T, 20], true expressions
    tracked: [B, T], 1 where the frame was tracked, 0 where it was interpolated
    opening: [B, T], opening of the mouth, over the distance of the outer eye corners
    """

    features: Tensor
    reference: Tensor
    target: Tensor
    tracked: Tensor
    opening: Tensor


class ExpressionStage:
    """Training stage of Ψ, on windows of clips that are drawn in proportion to the square root of their length."""

    name = "expression"

    def __init__(
        self, clips: Sequence[AudioMotion], config: ExpressionConfig, model: FaceModel, face_model: str, device: str
    ) -> None:
        self.config, self.device = config, device
        self.dims = _dims(config)
        kept, held_out = split_subjects(clips, config.held_out, config.train.seed)
        self.held_out = [self._as_heard(clip) for clip in held_out]
        self.clips = [clip for clip in kept if len(clip) > config.frames * (1 + config.stretch)]
        self.sounds = [self._prepared(clip.features) for clip in self.clips]
        self.spectra = [sound[..., : self.dims.mels].astype(np.float32) for sound in self.sounds]
        self.clips = [replace(clip, features=clip.features[:, :0]) for clip in self.clips]
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

    def _as_heard(self, clip: AudioMotion) -> AudioMotion:
        """Return a clip with its first rendition alone, as speech is heard when videos are made."""
        if self.dims.front_end == "raw":
            return clip
        return replace(clip, features=clip.features[..., : self.dims.values].astype(np.float32))

    @property
    def _margin(self) -> int:
        """Frames of silence around raw samples; a window may be played faster, and resampling takes one frame more."""
        return int(np.ceil(self.dims.reach * (1 + self.config.stretch))) + 2

    def _prepared(self, audio: Float) -> Float:
        """Prepare a clip's audio for windows: samples of speech level 1, or equalised features, padded with silence."""
        if self.dims.front_end == "raw":
            return padded(audio / np.float32(speech_level(audio)), self._margin, 0.0)
        reach, mels = self.dims.reach, self.dims.mels
        renditions = np.split(audio, audio.shape[2] // self.dims.values, axis=2)
        equal = [cut_features(equalised_features(one, mels), -reach, len(one) + reach, mels) for one in renditions]
        return np.concatenate(equal, axis=2, dtype=audio.dtype)

    def batch(self, random: np.random.Generator) -> ExpressionBatch:
        parts = [self._example(random) for _ in range(self.config.train.batch_size)]
        arrays = [torch.from_numpy(np.stack(part)).to(self.device) for part in zip(*parts, strict=True)]
        return ExpressionBatch(*arrays)

    def _example(self, random: np.random.Generator) -> tuple[Float, ...]:
        i = random.choice(len(self.clips), p=self.chances)
        clip, frames = self.clips[i], self.config.frames
        speed = random.uniform(1 - self.config.stretch, 1 + self.config.stretch)
        first = random.uniform(0, max(0.0, len(clip) - frames * speed))
        read = self._samples if self.dims.front_end == "raw" else self._features
        features = read(self.sounds[i], first, speed, random)
        places = first + speed * (np.arange(frames) + 0.5) - 0.5
        tracked = clip.tracked[np.rint(places).astype(int).clip(0, len(clip) - 1)]
        # A random face at rest in every example, or the network would recognise its few subjects by theirs.
        face = random.normal(0, self.config.face_noise, (self.dims.coefficients,)).astype(np.float32)
        seen = random.integers(0, len(clip), random.choice(REFERENCE_FRAMES))
        reference = clip.expression[seen].mean(axis=0) + face
        target, opening = at(clip.expression, places) + face, at(clip.opening[:, None], places)[:, 0]
        return features, reference, target, tracked.astype(np.float32), opening

    def _features(self, audio: Float, first: float, speed: float, random: np.random.Generator) -> Float:
        """Read augmented features [T + 2 reach, 4, N] of a window that is played ``speed`` times as fast.

        The window begins at frame ``first``, after ``reach`` frames of context, in a random rendition of the clip.
        """
        frames, reach, mels, values = self.config.frames, self.dims.reach, self.dims.mels, self.dims.values
        middle = first + reach + speed * (np.arange(-reach, frames + reach) + 0.5)
        steps = (middle[:, None] + speed * STEP_PLACES).ravel() * self.dims.steps - 0.5
        begin = values * int(random.integers(audio.shape[2] // values))
        said = at(audio.reshape(-1, audio.shape[2])[:, begin : begin + values], steps)
        features = said.reshape(-1, self.dims.steps, values)
        log_mel = augment_speech(features[..., :mels], self.spectra, self.config.augment, random)
        return np.concatenate([log_mel, features[..., mels:]], axis=2)

    def _samples(self, audio: Float, first: float, speed: float, random: np.random.Generator) -> Float:
        """Read augmented samples [T + 2 reach, 2000] at 50 kHz of a window that is played ``speed`` times as fast.

        The window begins as in ``_features``; a voice that is played faster is higher.
        """
        frames, reach = self.config.frames, self.dims.reach
        begin = first + self._margin - speed * reach
        length = speed * (frames + 2 * reach)
        whole, end = int(begin), int(np.ceil(begin + length))
        piece = audio[whole - 1 : end + 1].ravel()
        others = [other.ravel() for other in self.sounds]
        samples = resampled(augment_waveform(piece, others, self.config.augment, random).reshape(-1, SAMPLES_PER_FRAME))
        places = (begin - whole) * FRAME_SAMPLES + speed * (np.arange((frames + 2 * reach) * FRAME_SAMPLES) + 0.5) - 0.5
        return at(samples.reshape(-1, 1), places).reshape(-1, FRAME_SAMPLES)

    def step(self, networks: Networks, batch: ExpressionBatch) -> dict[str, Tensor]:
        predicted = networks.network(batch.features, batch.reference)
        losses: dict[str, Tensor] = self.loss(predicted[..., : self.dims.coefficients], batch.target, batch.tracked)
        if self.dims.closure:
            closure = closure_loss(predicted[..., -1], batch.opening, batch.tracked, self.config.closure_rarity)
            losses |= {"closure": closure, "total": losses["total"] + self.config.closure_weight * closure}
        return losses

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, ExpressionNetwork)
        figures = measure(network, self.held_out, self.loss.gap.cpu().numpy())
        return {**figures, "score": 1 - figures["correlation"] + abs(1 - figures["deviation"]) / 4}

    def validation_images(self, network: nn.Module) -> dict[str, Image]:
        """Draw the predicted and the true mouth opening of some held-out clips."""
        assert isinstance(network, ExpressionNetwork)
        gap, panels = self.loss.gap.cpu().numpy(), {}
        for clip in self.held_out[:SHOWN_CLIPS]:
            said = predict(network, clip.features[:SHOWN_FRAMES], np.median(clip.expression, axis=0))
            panels[clip.clip] = {"true": clip.expression[:SHOWN_FRAMES] @ gap, "predicted": said @ gap}
        return {"mouth opening": draw_curves(panels)}


def at(values: Float, places: NDArray[np.floating]) -> Float:
    """Interpolate values [N, C] linearly at fractional places [M]: [M, C]; beyond the ends the end values go on."""
    places = np.clip(places, 0, len(values) - 1)
    low = np.minimum(places.astype(int), max(len(values) - 2, 0))
    part = (places - low).astype(np.float32)[:, None]
    return values[low] * (1 - part) + values[np.minimum(low + 1, len(values) - 1)] * part


def padded(audio: Float, reach: int, silence: float) -> Float:
    """Pad audio [T, ...] with silence on both sides: [T + 2 reach, ...]."""
    return np.pad(audio, ((reach, reach), *((0, 0),) * (audio.ndim - 1)), constant_values=silence)


def measure(
    network: ExpressionNetwork, clips: Sequence[AudioMotion], gap: Float, frames: int = 1500
) -> dict[str, float]:
    """Means over clips of the figures of ``measure_clip``, and ``lowest``, the least correlation of a clip."""
    figures = [measure_clip(network, clip, gap, frames) for clip in clips]
    means = {name: float(np.mean([f[name] for f in figures])) for name in figures[0]}
    return {**means, "lowest": float(np.min([f["correlation"] for f in figures]))}


def measure_clip(network: ExpressionNetwork, clip: AudioMotion, gap: Float, frames: int = 1500) -> dict[str, float]:
    """Compare the predicted with the true mouth opening of a clip, in its first ``frames`` frames.

    correlation: correlation of the two over time
    deviation: standard deviation of the predicted opening over that of the true one
    """
    predicted = predict(network, clip.features[:frames], np.median(clip.expression, axis=0)) @ gap
    true = clip.opening[:frames]
    correlation = np.corrcoef(predicted, true)[0, 1]
    return {"correlation": float(correlation), "deviation": float(predicted.std() / true.std())}
