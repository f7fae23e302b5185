"""Training of the adapter of the speech encoder, by ``thgen train adapter``.

The encoder was taught to tell words, which it does in noise too, but its codes change with noise, and so does what Ψ
makes of them. The adapter learns, from sound alone, to say of spoilt speech what the encoder says of the same speech
before it was spoilt, above all where it moves the lips of Ψ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thcli.checkpoints import EXPRESSION, SPEECH_ENCODER, Header, digest_of
from thcli.clips.audio import read_speech
from thcli.clips.features import framed, log_mel
from thcli.config import make_dims
from thcli.configs.sections import AdapterConfig, Config, ExpressionConfig, SpeechSpoiling
from thcli.data.audio_motion import correlation, split_subjects
from thcli.data.store import Store
from thcli.errors import MediaError, UsageError
from thcli.face_model import FaceModel
from thcli.motion.expression import cut_features, equalised
from thcli.motion.speech_codes import CODES_PER_FRAME, STEPS_PER_CODE, cut_steps, encoder_steps
from thcli.pipeline.models import load_models
from thcli.records import SAMPLES_PER_FRAME, Float, Speech
from thcli.training.expression_loss import ExpressionLoss
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train
from thcli.training.protocol import Networks
from thcli.training.spoilt_speech import spoilt
from thgen_models.expression import ExpressionNetwork
from thgen_models.speech_adapter import SpeechAdapter, SpeechAdapterDims
from thgen_models.speech_encoder import SpeechEncoder

SHORTEST = 50
"""Fewest frames of a recording to train on."""
VALIDATED = 24
"""Windows of held-out recordings that are validated, both spoilt and as they are."""


@dataclass(frozen=True)
class Recording:
    """Recording of a store.

    subject: who speaks
    samples: [T, 640] float32 at 16 kHz
    """

    subject: str
    samples: Float


@dataclass(frozen=True)
class AdapterBatch:
    """Windows of speech as it is and as it was spoilt; beyond the ends of a recording there is silence.

    steps, spoilt_steps: [B, 4 T, 80], log-mel steps for the speech encoder
    features, spoilt_features: [B, T + 2 reach, 4, 80], equalised log-mel features for Ψ
    spoken: [B, T], 1 for frames of the recording, 0 for those beyond its ends
    """

    steps: Tensor
    spoilt_steps: Tensor
    features: Tensor
    spoilt_features: Tensor
    spoken: Tensor


def train_adapter(
    data: Path, out: Path, config: Config, running: RunOptions = DEFAULT_RUN, weights: Path | None = None
) -> TrainResult:
    """Train the adapter on the sound of a store's clips of split ``train``; see ``training.loop.train``.

    weights: folder that is searched first for Ψ, the speech encoder and the face model

    Raises UsageError where Ψ does not listen with the encoder.
    """
    models = load_models(weights, running.device)
    network = models.expression_learner
    if network.dims.front_end != "encoder":
        raise UsageError(
            f"{models.find(EXPRESSION)}: listens with '{network.dims.front_end}', expected 'encoder'; "
            "give --weights another folder"
        )
    encoder = models.load_speech_encoder()
    made_with = {name: digest_of(models.find(name)) for name in (EXPRESSION, SPEECH_ENCODER)}
    recordings = _recordings(Store(data))
    stage = AdapterStage(recordings, config.adapter, network, encoder, models.face_model, made_with, running.device)
    return train(stage, config.adapter.train, out, running, config)


def _recordings(store: Store) -> list[Recording]:
    """Read the recordings to train on, whether or not the mouth is known to fit them."""
    clips = [meta for meta in store.select("train") if meta.frames >= SHORTEST]
    if not clips:
        raise MediaError(f"{store.root}: no clip of split 'train' with {SHORTEST} frames; preprocess some")
    return [Recording(meta.subject, framed(read_speech(store.speech(meta.clip)))) for meta in clips]


class AdapterStage:
    """Training stage of the adapter, on windows of recordings, drawn in proportion to the root of their length."""

    name = "speech_adapter"

    def __init__(
        self,
        recordings: Sequence[Recording],
        config: AdapterConfig,
        network: ExpressionNetwork,
        encoder: SpeechEncoder,
        model: FaceModel,
        made_with: dict[str, str],
        device: str,
    ) -> None:
        self.config, self.device = config, device
        self.network = network.requires_grad_(False)
        self.encoder = encoder.requires_grad_(False)
        self.dims = make_dims(SpeechAdapterDims, {**asdict(encoder.dims), **config.network}, "adapter.network")
        self.kept, self.held_out = split_subjects(recordings, config.held_out, config.train.seed)
        self.voices = [one.samples.ravel() for one in self.kept]
        frames = np.array([len(one.samples) for one in self.kept], float)
        self.chances = np.sqrt(frames) / np.sqrt(frames).sum()
        self.loss = ExpressionLoss(model, replace(ExpressionConfig(), movement=1.0)).to(device)
        self.validated = list(self._validation_batches())
        data = {
            "clips": len(self.kept),
            "subjects": len({one.subject for one in self.kept}),
            "frames": int(frames.sum()),
            "made_with": made_with,
        }
        self.header = Header(self.name, asdict(self.dims), config=asdict(config), data=data)

    def build(self) -> Networks:
        return Networks(SpeechAdapter(self.dims))

    def batch(self, random: np.random.Generator) -> AdapterBatch:
        chosen = random.choice(len(self.kept), self.config.train.batch_size, p=self.chances)
        return self._stacked([self._example(self.kept[i], self.config.spoiling, random) for i in chosen])

    def _validation_batches(self) -> Iterator[AdapterBatch]:
        """Yield the windows of held-out recordings that are validated, all of them spoilt."""
        random = np.random.default_rng(self.config.train.seed)
        size, spoiling = self.config.train.batch_size, replace(self.config.spoiling, clean=0.0)
        for first in range(0, VALIDATED, size):
            several = (self.held_out[i % len(self.held_out)] for i in range(first, first + size))
            yield self._stacked([self._example(one, spoiling, random) for one in several])

    def _stacked(self, examples: Sequence[tuple[Float, ...]]) -> AdapterBatch:
        arrays = (np.stack(part) for part in zip(*examples, strict=True))
        return AdapterBatch(*(torch.from_numpy(array).to(self.device) for array in arrays))

    def _example(
        self, recording: Recording, spoiling: SpeechSpoiling, random: np.random.Generator
    ) -> tuple[Float, ...]:
        """Return a window of a recording, which may reach beyond its ends by a quarter of the window."""
        frames, count = self.config.frames, len(recording.samples)
        first = int(random.integers(-frames // 4, max(count - frames, 0) + frames // 4 + 1))
        begin, end = max(first, 0), min(first + frames, count)
        if end - begin < SHORTEST // 2:
            first, begin, end = 0, 0, min(frames, count)
        piece = recording.samples[begin:end]
        changed = spoilt(piece.ravel(), self.voices, spoiling, random).reshape(-1, SAMPLES_PER_FRAME)
        spoken = np.zeros(frames, np.float32)
        spoken[begin - first : end - first] = 1
        before, after = self._heard(piece, begin - first), self._heard(changed, begin - first)
        return before[0], after[0], before[1], after[1], spoken

    def _heard(self, samples: Float, place: int) -> tuple[Float, Float]:
        """Return what encoder and Ψ are given of samples [N, 640] that begin at frame ``place`` of a window."""
        frames, reach = self.config.frames, self.network.dims.reach
        steps = torch.from_numpy(encoder_steps(samples, self.dims.mels))
        per_frame = CODES_PER_FRAME * STEPS_PER_CODE
        window = cut_steps(steps, -place * per_frame, frames * per_frame, float(steps.min()))
        features = equalised(log_mel(Speech(samples.ravel(), Path())))
        return window.numpy(), cut_features(features, -place - reach, frames + reach - place, features.shape[2])

    def step(self, networks: Networks, batch: AdapterBatch) -> dict[str, Tensor]:
        with torch.no_grad():
            target_codes = self.encoder(batch.steps)
            target = self._said(batch.features, target_codes, batch.spoken)
        assert isinstance(networks.network, SpeechAdapter)
        codes = networks.network(batch.spoilt_steps, self.encoder)
        said = self._said(batch.spoilt_features, codes, batch.spoken)
        count = self.network.dims.coefficients
        losses: dict[str, Tensor] = self.loss(said[..., :count], target[..., :count], batch.spoken)
        parts = {"lips": losses["total"], "codes": self._distance(codes, target_codes, batch.spoken)}
        total = parts["lips"] + self.config.codes * parts["codes"]
        if self.network.dims.closure:
            certain = F.binary_cross_entropy_with_logits(said[..., -1], target[..., -1].sigmoid(), reduction="none")
            parts["closure"] = (certain * batch.spoken).mean()
            total = total + self.config.closure * parts["closure"]
        return {"total": total, **parts}

    def _said(self, features: Tensor, codes: Tensor, spoken: Tensor) -> Tensor:
        """Return what Ψ makes of log-mel features and codes, as movement from the expression 0."""
        dims = self.network.dims
        per_code = dims.steps // CODES_PER_FRAME
        count, frames = spoken.shape
        codes = codes.float().reshape(count, frames, CODES_PER_FRAME, -1) * spoken[..., None, None]
        codes = F.pad(codes.repeat_interleave(per_code, dim=2), (0, 0, 0, 0, dims.reach, dims.reach))
        said: Tensor = self.network(
            torch.cat([features, codes], dim=3), torch.zeros(count, dims.coefficients, device=codes.device)
        )
        return said

    @staticmethod
    def _distance(codes: Tensor, target: Tensor, spoken: Tensor) -> Tensor:
        """Return the mean squared distance of codes, normalised as Ψ takes them, where there is speech."""
        size = codes.shape[-1:]
        apart = (F.layer_norm(codes.float(), size) - F.layer_norm(target.float(), size)).square().mean(dim=2)
        return (apart * spoken.repeat_interleave(CODES_PER_FRAME, dim=1)).mean()

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Return how the lips of Ψ correlate with those of the encoder alone for speech that is not spoilt.

        spoilt, clean: mean correlation of the gap between the lips, of speech that is spoilt, and that is not
        """
        assert isinstance(network, SpeechAdapter)
        fits: dict[str, list[float]] = {"spoilt": [], "clean": []}
        for batch in self.validated:
            true = self._lip_gap(batch.features, self.encoder(batch.steps), batch)
            for kind, steps, features in (
                ("spoilt", batch.spoilt_steps, batch.spoilt_features),
                ("clean", batch.steps, batch.features),
            ):
                said = self._lip_gap(features, network(steps, self.encoder), batch)
                fits[kind] += [correlation(one, other) for one, other in zip(said, true, strict=True)]
        means = {kind: float(np.mean(values)) for kind, values in fits.items()}
        return {**means, "score": 2 - sum(means.values())}

    def _lip_gap(self, features: Tensor, codes: Tensor, batch: AdapterBatch) -> list[Float]:
        """Return the gap between the lips of Ψ over time, of the frames of each window that are spoken."""
        said = self._said(features, codes, batch.spoken)
        gaps = (said[..., : self.network.dims.coefficients] @ self.loss.gap).cpu().numpy()
        return [gap[there] for gap, there in zip(gaps, batch.spoken.cpu().numpy() > 0, strict=True)]
