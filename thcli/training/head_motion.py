"""Training of Φ, the head motion learner (§3.3, §0.A.1): its data, its losses and its validation.

Departures from the paper, and why:

- The weight of the squared error falls from 1 to ``MSE_LAST``. The error teaches what the audio tells, but motion that
  is right only on average is hardly any motion, so in the end the discriminator decides.
- Beside the adversarial loss, further losses pull moments of the motion to those of the person's true motion: the
  logarithms of the standard deviations of the motion and of its differences, of first to third order and over several
  lags, and the correlations between its axes. With a discriminator alone the amount of movement swings for thousands of
  steps; with these losses it converges in hundreds.
- The discriminator also sees true motion with the speech of others as a false example, so that it uses the audio.
- The correlation of head turns with the onsets of the speech is pulled to ``RHYTHM``, which real tracks have.
- The times of reference and target in a clip are independent. The reference tells how a person moves, not where the
  head happens to be; ``thcli.motion.curve_tools.join`` makes the transition.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.clips.audio import read_speech
from thcli.clips.features import log_mel
from thcli.config import make_dims
from thcli.configs.sections import Config, MotionConfig
from thcli.data.audio_motion import in_step
from thcli.data.store import Store
from thcli.errors import MediaError
from thcli.motion.head import (
    AXES,
    TRACKER_NOISE,
    WINDOW,
    extrapolate,
    motion_style,
    pad_silence,
    smooth_noise,
    windowed_deviation,
)
from thcli.records import Float, Image
from thcli.rotations import placement
from thcli.smoothing import smoothed
from thcli.training.images import draw_curves
from thcli.training.loop import DEFAULT_RUN, RunOptions, TrainResult, train
from thcli.training.protocol import Networks
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner, MotionDiscriminator

HELD_OUT_SUBJECTS = 12
"""Most subjects that are held out."""
SHOWN_CLIPS, SHOWN_FRAMES = 2, 250
"""Held-out clips shown in TensorBoard, and frames shown of each."""
REFERENCE_FRAMES = (1, 25, 50, WINDOW, WINDOW, WINDOW, 100)
"""Lengths of reference clips, frames, one drawn for every batch; 1 is a photo."""
TARGET_FRAMES = 128
"""Length of a target, frames."""
MIRROR = np.array([1, -1, -1, -1, 1, 1], np.float32)
"""Signs of a placement's axes in a mirror: yaw, roll and x change theirs."""
LARGEST_TARGET = 6.0
"""Limit of targets, in ranges; larger ones come from references in which the person hardly moved."""
MSE_LAST, MSE_UNTIL = 0.02, 0.6
"""Last weight of the squared error, and part of the training after which the weight stays there."""
ADVERSARIAL = 0.3
"""Weight of the adversarial loss of Φ."""
STRANGE_SOUND = 0.3
"""Weight in the discriminator's loss of true motion with the speech of another."""
R1, R1_EVERY = 20.0, 4
"""Weight of the discriminator's gradient penalty, and steps from one penalty to the next."""
RHYTHM = 0.12
"""Value of ``rhythm`` for true motion: its mean over the training clips.

It is highest where motion and speech are in step, and 0.01 with the speech of another time.
"""
DIFFERENCES: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.05, ()),
    (0.005, (1,)),
    (0.002, (1, 1)),
    (0.002, (1, 1, 1)),
    (0.02, (5,)),
    (0.04, (15,)),
    (0.05, (40,)),
)
"""Differences that ``moments`` measures: deviation in ranges below which all is noise, and lags of the successive
differences in frames."""


@dataclass(frozen=True)
class MotionClip:
    """Training clip, with audio and motion in step.

    subject: who is in the clip
    placed: [T, 6] float64, placements of the head as tracked
    smooth: [T, 6] float64, placements without the tracker's noise
    features: [T, 4, 80] float32, log-mel
    """

    subject: str
    placed: np.ndarray
    smooth: np.ndarray
    features: Float

    def __len__(self) -> int:
        return len(self.placed)


@dataclass(frozen=True)
class MotionBatch:
    """Input of ``HeadMotionLearner.forward``, and the true motion.

    target: [B, T, 6] float32, placements in ranges around the reference's mean
    """

    past: Tensor
    past_features: Tensor
    summary: Tensor
    features: Tensor
    noise: Tensor
    target: Tensor


def train_head_motion(data: Path, out: Path, config: MotionConfig, running: RunOptions = DEFAULT_RUN) -> TrainResult:
    """Train Φ on a store's ``train`` clips into the folder ``out``; the ``val`` clips are not read.

    Raises MediaError where the store holds too few clips, UsageError for sizes that the network does not have.
    """
    stage = HeadMotionStage(load_motion(Store(data)), config, running.device)
    return train(stage, config.train, out, running, Config(motion=config))


def load_motion(store: Store, split: str = "train") -> list[MotionClip]:
    """Load the clips of a split whose audio is known to fit the face."""
    clips = []
    for meta in store.select(split):
        if meta.av_lag is None:
            continue
        placed = placement(store.track(meta.clip).pose.astype(np.float64))
        features = log_mel(read_speech(store.speech(meta.clip)))
        features, motion = in_step(len(placed), features, meta.lag)
        if len(features) > 2:
            placed = placed[motion]
            smooth = smoothed(placed, TRACKER_NOISE)
            clips.append(MotionClip(meta.subject, placed, smooth, features))
    return clips


class HeadMotionStage:
    """Training stage of Φ and its discriminator (``thcli.training.protocol.Stage``)."""

    name = "head_motion"

    def __init__(self, clips: Sequence[MotionClip], config: MotionConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        self.dims = make_dims(HeadMotionDims, config.network, "motion.network")
        self.clips, self.held_out = _hold_out(clips, config.train.seed)
        subjects = len({clip.subject for clip in self.clips})
        data = {"clips": len(self.clips), "subjects": subjects, "frames": sum(map(len, self.clips))}
        self.header = Header(self.name, dataclasses.asdict(self.dims), config=dataclasses.asdict(config), data=data)

    def build(self) -> Networks:
        """Return Φ and its discriminator, freshly initialised."""
        return Networks(HeadMotionLearner(self.dims), _CountingCritic(self.dims))

    def batch(self, random: np.random.Generator) -> MotionBatch:
        """Draw a batch: a reference and a later target of each of ``batch_size`` random clips, half of them mirrored.

        Longer clips are drawn more often, in proportion to the square root of their length.
        """
        length = int(random.choice(REFERENCE_FRAMES))
        fitting = [clip for clip in self.clips if len(clip) >= length + TARGET_FRAMES]
        weight = np.sqrt([len(clip) for clip in fitting])
        chosen = random.choice(len(fitting), self.config.train.batch_size, p=weight / weight.sum())
        rows = [self._example(fitting[index], length, random) for index in chosen]
        columns = (np.stack(column).astype(np.float32) for column in zip(*rows, strict=True))
        return MotionBatch(*(torch.from_numpy(column).to(self.device) for column in columns))

    def _example(self, clip: MotionClip, length: int, random: np.random.Generator) -> tuple[np.ndarray, ...]:
        first = int(random.integers(0, len(clip) - length - TARGET_FRAMES + 1))
        begin = int(random.integers(first + length, len(clip) - TARGET_FRAMES + 1))
        person = motion_style(clip.placed[first : first + length])
        target = (clip.smooth[begin : begin + TARGET_FRAMES] - person.mean) / person.range
        sign = MIRROR if random.random() < 0.5 else np.ones(AXES)
        context = self.dims.context
        return (
            person.motion * sign,
            clip.features[first : first + length],
            person.summary,
            _frames(clip.features, begin - context, begin + TARGET_FRAMES + context),
            smooth_noise(TARGET_FRAMES + 2 * context, self.dims.noise, int(random.integers(1 << 31))),
            np.clip(target * sign, -LARGEST_TARGET, LARGEST_TARGET),
        )

    def step(self, networks: Networks, batch: MotionBatch) -> dict[str, Tensor]:
        """Losses of Φ (``total``) and of the discriminator (``critic``)."""
        critic = networks.critic
        assert isinstance(critic, _CountingCritic)
        made = networks.network(batch.past, batch.past_features, batch.summary, batch.features, batch.noise)
        features = batch.features[:, self.dims.context : -self.dims.context]
        known = (batch.past, batch.summary)
        losses = {
            "mse": F.smooth_l1_loss(made, batch.target),
            "moments": (moments(made) - moments(batch.target)).abs().mean(),
            "coupling": (coupling(made) - coupling(batch.target)).abs().mean(),
            "rhythm": (rhythm(made, features) - RHYTHM).square(),
            "adversarial": F.softplus(-critic(made, features, *known)).mean(),
        }
        options = self.config.train
        weight = mse_weight(critic.advance() / (options.steps * options.accumulate))
        total = weight * losses["mse"] + losses["moments"] + losses["coupling"] + 5 * losses["rhythm"]
        losses["total"] = total + ADVERSARIAL * losses["adversarial"]
        losses["critic"] = critic_loss(critic, batch.target, made.detach(), features, known)
        return losses

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Compare predicted with true motion of the held-out subjects: mean absolute log ratios of range and speed."""
        assert isinstance(network, HeadMotionLearner)
        ratios = []
        for clip in self.held_out:
            person = motion_style(clip.placed[:WINDOW])
            future, features = clip.smooth[WINDOW:], clip.features[WINDOW:]
            made = person.range * extrapolate(network, person, clip.features[:WINDOW], features, seed=0)
            spread = np.log(windowed_deviation(made) / windowed_deviation(future))
            speed = np.log(np.abs(np.diff(made, axis=0)).mean(0) / np.abs(np.diff(future, axis=0)).mean(0))
            ratios.append([spread, speed])
        spread, speed = np.abs(ratios).mean((0, 2))
        return {"range": float(spread), "speed": float(speed), "score": float(spread + speed)}

    def validation_images(self, network: nn.Module) -> dict[str, Image]:
        """Draw the predicted and the true head rotations of some held-out clips, in degrees."""
        assert isinstance(network, HeadMotionLearner)
        panels = {}
        for clip in self.held_out[:SHOWN_CLIPS]:
            person, features = motion_style(clip.placed[:WINDOW]), clip.features[WINDOW : WINDOW + SHOWN_FRAMES]
            made = person.mean + person.range * extrapolate(network, person, clip.features[:WINDOW], features, seed=0)
            for axis, name in enumerate(("pitch", "yaw", "roll")):
                true = clip.smooth[WINDOW : WINDOW + SHOWN_FRAMES, axis]
                panels[f"{clip.subject} {name}"] = {"true": np.degrees(true), "made": np.degrees(made[:, axis])}
        return {"head motion": draw_curves(panels)}


class _CountingCritic(MotionDiscriminator):
    """Discriminator that counts the training steps, so that what depends on them continues in a resumed run."""

    steps: Tensor

    def __init__(self, dims: HeadMotionDims) -> None:
        super().__init__(dims)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def advance(self) -> int:
        """Count a step, and return the number of steps before it."""
        self.steps += 1
        return int(self.steps) - 1


def mse_weight(progress: float) -> float:
    """Weight of the squared error after a part 0..1 of the training: a cosine from 1 to ``MSE_LAST``."""
    return float(MSE_LAST + (1 - MSE_LAST) * (0.5 + 0.5 * np.cos(np.pi * min(1.0, progress / MSE_UNTIL))))


def critic_loss(
    critic: MotionDiscriminator, real: Tensor, made: Tensor, features: Tensor, known: tuple[Tensor, Tensor]
) -> Tensor:
    """Loss of the discriminator: real motion with its own audio against predicted motion, and real with other audio.

    Every ``R1_EVERY`` steps the gradient penalty R1 is added.

    real, made: [B, T, 6], true and predicted motion
    features: [B, T, 4, 80], log-mel features of the same frames
    known: ``past`` and ``summary`` of the batch
    """
    penalised = int(getattr(critic, "steps", 0)) % R1_EVERY == 0
    real = real.requires_grad_(penalised)
    score = critic(real, features, *known)
    loss = F.softplus(-score).mean() + F.softplus(critic(made, features, *known)).mean()
    loss = loss + STRANGE_SOUND * F.softplus(critic(real, features.roll(1, 0), *known)).mean()
    if penalised:
        (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        loss = loss + R1 * slope.square().sum((1, 2)).mean()
    return loss


def moments(motion: Tensor) -> Tensor:
    """Logarithms [B, 42] of the standard deviations of motion [B, T, 6] and of its ``DIFFERENCES``."""
    logs = []
    for floor, lags in DIFFERENCES:
        moved = motion
        for lag in lags:
            moved = moved[:, lag:] - moved[:, :-lag]
        logs.append(0.5 * torch.log(moved.var(1, unbiased=False) + floor**2))
    return torch.cat(logs, dim=1)


def coupling(motion: Tensor) -> Tensor:
    """Correlations [B, 6, 6] between the axes of motion [B, T, 6]; everyone nods and sways in an individual way."""
    standard = _standard(motion)
    return standard.transpose(1, 2) @ standard / motion.shape[1]


def rhythm(motion: Tensor, features: Tensor) -> Tensor:
    """Mean correlation, a scalar, of head turning speed with speech onsets.

    motion: [B, T, 6]
    features: [B, T, 4, 80], log-mel
    """
    speed = motion[..., :3].diff(dim=1).square().sum(-1).add(1e-6).sqrt()
    loud = features.mean((2, 3))
    onset = F.avg_pool1d(loud.diff(dim=1).clamp(min=0)[:, None], 5, 1, 2)[:, 0]
    return (_standard(speed) * _standard(onset)).mean()


def _standard(x: Tensor) -> Tensor:
    """Scale curves [B, T, ...] to a mean of 0 and a variance of 1 over time."""
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()


def _frames(features: Float, first: int, last: int) -> Float:
    """Return frames first..last - 1 of a recording's features, with silence beyond its ends."""
    return pad_silence(features[max(first, 0) : last], max(-first, 0), max(last - len(features), 0))


def _hold_out(clips: Sequence[MotionClip], seed: int) -> tuple[list[MotionClip], list[MotionClip]]:
    """Split clips into those to train on and long clips of a few other subjects, by which the best network is chosen.

    Raises MediaError where there are too few.
    """
    long = [clip for clip in clips if len(clip) >= WINDOW + TARGET_FRAMES]
    subjects = sorted({clip.subject for clip in long})
    count = min(HELD_OUT_SUBJECTS, len(subjects) // 2)
    chosen = set(np.random.default_rng(seed).permutation(subjects)[:count].tolist())
    kept = [clip for clip in clips if clip.subject not in chosen]
    if not chosen or not any(len(clip) >= max(REFERENCE_FRAMES) + TARGET_FRAMES for clip in kept):
        raise MediaError(
            f"head motion needs two subjects with {max(REFERENCE_FRAMES) + TARGET_FRAMES} frames or more and a known "
            f"av_lag, found {len(subjects)}; add clips to the store"
        )
    return kept, [clip for clip in long if clip.subject in chosen]
