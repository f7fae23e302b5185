"""Training of Φ, the head motion learner (§3.3, §0.A.1): what it learns from, and how a batch is scored.

Departures from the paper, and why:

- The weight of the squared error falls from 1 to ``MSE_LAST``: it teaches what the audio tells, but motion that is
  true only on average is hardly any motion, so in the end the discriminator decides.
- Beside the adversarial loss, the logarithms of the deviations of the motion and of its differences, of first to
  third order and over several lags, and the correlations of its axes are drawn to those of the person's true motion. A
  discriminator alone swings for thousands of steps around the amount of movement; this settles it in hundreds.
- The discriminator is also shown true motion to the sound of others, as false, so that it listens.
- How well bursts of turning follow the onsets of the speech is held at ``RHYTHM``, which is what real tracks have.
- Positions in time of reference and target are independent: the reference tells how a person moves, not where the
  head happens to be; the join is made by ``thcli.motion.head.join``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d
from torch import Tensor, nn

from thcli.checkpoints import Header
from thcli.clips.audio import read_speech
from thcli.clips.features import log_mel
from thcli.config import Config, MotionConfig, make_dims
from thcli.data.store import Store
from thcli.errors import MediaError
from thcli.motion.head import (
    AXES,
    STAGE,
    TRACKER_NOISE,
    WINDOW,
    extrapolate,
    manner,
    pad_silence,
    smooth_noise,
    windowed_deviation,
)
from thcli.records import Float, Image
from thcli.rotations import placement
from thcli.training.loop import AFRESH, Networks, RunOptions, TrainResult, train
from thcli.training.pictures import draw_curves
from thgen_models.head_motion import HeadMotionDims, HeadMotionLearner, MotionDiscriminator

HELD_OUT_SUBJECTS = 12
SHOWN_CLIPS, SHOWN_FRAMES = 2, 250
"""Of the held-out clips, in TensorBoard."""
REFERENCE_FRAMES = (1, 25, 50, WINDOW, WINDOW, WINDOW, 100)
"""Lengths of reference clips to learn from, one a batch; 1 is a photo."""
TARGET_FRAMES = 128
MIRROR = np.array([1, -1, -1, -1, 1, 1], np.float32)
"""Signs of a placement in the mirror: yaw, roll and x turn round."""
LARGEST_TARGET = 6.0
"""Targets beyond, in ranges, come from references in which the person hardly moved; they are cut off."""
MSE_LAST, MSE_UNTIL = 0.02, 0.6
"""Weight of the squared error at the end, and the part of the training over which it falls to it."""
ADVERSARIAL, STRANGE_SOUND, R1, R1_EVERY = 0.3, 0.3, 20.0, 4
RHYTHM = 0.12
"""Mean over the training clips; it is highest where the two are in step, and 0.01 to the sound of another time."""
DIFFERENCES: tuple[tuple[float, tuple[int, ...]], ...] = (
    (0.05, ()),
    (0.005, (1,)),
    (0.002, (1, 1)),
    (0.002, (1, 1, 1)),
    (0.02, (5,)),
    (0.04, (15,)),
    (0.05, (40,)),
)
"""What ``moments`` compares: the deviation in ranges below which all is noise, and lags of successive differences."""


@dataclass(frozen=True)
class MotionClip:
    """One clip to learn from, sound and motion in step.

    placed: [T, 6] float64, as tracked; smooth: the same without the tracker's noise
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
    """As ``HeadMotionLearner.forward`` takes it; target [B, T, 6] in ranges around the reference's mean."""

    past: Tensor
    past_features: Tensor
    summary: Tensor
    features: Tensor
    noise: Tensor
    target: Tensor


def train_head_motion(data: Path, out: Path, config: MotionConfig, running: RunOptions = AFRESH) -> TrainResult:
    """Train Φ on a store's ``train`` clips into the folder ``out``; the ``val`` clips are not touched.

    Raises ``MediaError`` where the store holds too little, ``UsageError`` for sizes that the network does not have.
    """
    stage = HeadMotionStage(load_motion(Store(data)), config, running.device)
    return train(stage, config.train, out, running, Config(motion=config))


def load_motion(store: Store, split: str = "train") -> list[MotionClip]:
    """The clips of a split whose sound is known to fit the face."""
    clips = []
    for meta in store.select(split):
        if meta.av_lag is None:
            continue
        placed = placement(store.track(meta.clip).pose.astype(np.float64))
        features = log_mel(read_speech(store.speech(meta.clip)))
        # frame t + lag shows the mouth that spoke features t
        sound, face = max(0, -meta.av_lag), max(0, meta.av_lag)
        length = min(len(features) - sound, len(placed) - face)
        if length > 2:
            placed = placed[face : face + length]
            smooth = gaussian_filter1d(placed, TRACKER_NOISE, axis=0, mode="nearest")
            clips.append(MotionClip(meta.subject, placed, smooth, features[sound : sound + length]))
    return clips


class HeadMotionStage:
    """What the training loop asks for (``thcli.training.loop.Stage``)."""

    name = STAGE

    def __init__(self, clips: Sequence[MotionClip], config: MotionConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        self.dims = make_dims(HeadMotionDims, config.network, "motion.network")
        self.clips, self.held_out = _hold_out(clips, config.train.seed)
        subjects = len({clip.subject for clip in self.clips})
        data = {"clips": len(self.clips), "subjects": subjects, "frames": sum(map(len, self.clips))}
        self.header = Header(STAGE, dataclasses.asdict(self.dims), config=dataclasses.asdict(config), data=data)

    def build(self) -> Networks:
        """Φ and its discriminator."""
        return Networks(HeadMotionLearner(self.dims), _CountingCritic(self.dims))

    def batch(self, random: np.random.Generator) -> MotionBatch:
        """References and later (or earlier) targets of as many random clips, long ones more often, half mirrored."""
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
        person = manner(clip.placed[first : first + length])
        target = (clip.smooth[begin : begin + TARGET_FRAMES] - person.mean) / person.range
        sign = MIRROR if random.random() < 0.5 else np.ones(AXES)
        context = self.dims.context
        return (
            person.motion * sign,
            clip.features[first : first + length],
            person.summary,
            _heard(clip.features, begin - context, begin + TARGET_FRAMES + context),
            smooth_noise(TARGET_FRAMES + 2 * context, self.dims.noise, int(random.integers(1 << 31))),
            np.clip(target * sign, -LARGEST_TARGET, LARGEST_TARGET),
        )

    def step(self, networks: Networks, batch: MotionBatch) -> dict[str, Tensor]:
        """Losses of Φ (``total``) and of the discriminator (``critic``)."""
        critic = networks.critic
        assert isinstance(critic, _CountingCritic)
        made = networks.network(batch.past, batch.past_features, batch.summary, batch.features, batch.noise)
        heard = batch.features[:, self.dims.context : -self.dims.context]
        known = (batch.past, batch.summary)
        losses = {
            "mse": F.smooth_l1_loss(made, batch.target),
            "moments": (moments(made) - moments(batch.target)).abs().mean(),
            "coupling": (coupling(made) - coupling(batch.target)).abs().mean(),
            "rhythm": (rhythm(made, heard) - RHYTHM).square(),
            "adversarial": F.softplus(-critic(made, heard, *known)).mean(),
        }
        options = self.config.train
        weight = mse_weight(critic.advance() / (options.steps * options.accumulate))
        total = weight * losses["mse"] + losses["moments"] + losses["coupling"] + 5 * losses["rhythm"]
        losses["total"] = total + ADVERSARIAL * losses["adversarial"]
        losses["critic"] = critic_loss(critic, batch.target, made.detach(), heard, known)
        return losses

    def evaluate(self, network: nn.Module) -> dict[str, float]:
        """Made motion beside the true future of the held-out subjects: mean absolute log ratios of range and speed."""
        assert isinstance(network, HeadMotionLearner)
        ratios = []
        for clip in self.held_out:
            person = manner(clip.placed[:WINDOW])
            future, heard = clip.smooth[WINDOW:], clip.features[WINDOW:]
            made = person.range * extrapolate(network, person, clip.features[:WINDOW], heard, seed=0)
            spread = np.log(windowed_deviation(made) / windowed_deviation(future))
            speed = np.log(np.abs(np.diff(made, axis=0)).mean(0) / np.abs(np.diff(future, axis=0)).mean(0))
            ratios.append([spread, speed])
        spread, speed = np.abs(ratios).mean((0, 2))
        return {"range": float(spread), "speed": float(speed), "score": float(spread + speed)}

    def pictures(self, network: nn.Module) -> dict[str, Image]:
        """Turns of the head that were made for some held-out clips, beside the true ones; in degrees."""
        assert isinstance(network, HeadMotionLearner)
        panels = {}
        for clip in self.held_out[:SHOWN_CLIPS]:
            person, heard = manner(clip.placed[:WINDOW]), clip.features[WINDOW : WINDOW + SHOWN_FRAMES]
            made = person.mean + person.range * extrapolate(network, person, clip.features[:WINDOW], heard, seed=0)
            for axis, name in enumerate(("pitch", "yaw", "roll")):
                true = clip.smooth[WINDOW : WINDOW + SHOWN_FRAMES, axis]
                panels[f"{clip.subject} {name}"] = {"true": np.degrees(true), "made": np.degrees(made[:, axis])}
        return {"head motion": draw_curves(panels)}


class _CountingCritic(MotionDiscriminator):
    """The discriminator; it counts its steps, so that what depends on them survives a resumed run."""

    steps: Tensor

    def __init__(self, dims: HeadMotionDims) -> None:
        super().__init__(dims)
        self.register_buffer("steps", torch.zeros((), dtype=torch.long))

    def advance(self) -> int:
        """Steps taken before this one."""
        self.steps += 1
        return int(self.steps) - 1


def mse_weight(progress: float) -> float:
    """Weight of the squared error at a part 0..1 of the training: a cosine from 1 to ``MSE_LAST``."""
    return float(MSE_LAST + (1 - MSE_LAST) * (0.5 + 0.5 * np.cos(np.pi * min(1.0, progress / MSE_UNTIL))))


def critic_loss(
    critic: MotionDiscriminator, real: Tensor, made: Tensor, heard: Tensor, known: tuple[Tensor, Tensor]
) -> Tensor:
    """Real motion to its own sound against made motion, and against real motion to another's; R1 now and then."""
    penalised = int(getattr(critic, "steps", 0)) % R1_EVERY == 0
    real = real.requires_grad_(penalised)
    score = critic(real, heard, *known)
    loss = F.softplus(-score).mean() + F.softplus(critic(made, heard, *known)).mean()
    loss = loss + STRANGE_SOUND * F.softplus(critic(real, heard.roll(1, 0), *known)).mean()
    if penalised:
        (slope,) = torch.autograd.grad(score.sum(), real, create_graph=True)
        loss = loss + R1 * slope.square().sum((1, 2)).mean()
    return loss


def moments(motion: Tensor) -> Tensor:
    """Logarithms of the deviations of motion [B, T, 6] and of its ``DIFFERENCES``: [B, 42]."""
    logs = []
    for floor, lags in DIFFERENCES:
        moved = motion
        for lag in lags:
            moved = moved[:, lag:] - moved[:, :-lag]
        logs.append(0.5 * torch.log(moved.var(1, unbiased=False) + floor**2))
    return torch.cat(logs, dim=1)


def coupling(motion: Tensor) -> Tensor:
    """Correlations between the axes of motion [B, T, 6]: [B, 6, 6]. People nod and sway in ways of their own."""
    standard = _standard(motion)
    return standard.transpose(1, 2) @ standard / motion.shape[1]


def rhythm(motion: Tensor, features: Tensor) -> Tensor:
    """Mean correlation of turning speed with speech onsets: motion [B, T, 6], features [B, T, 4, 80] → []."""
    speed = motion[..., :3].diff(dim=1).square().sum(-1).add(1e-6).sqrt()
    loud = features.mean((2, 3))
    onset = F.avg_pool1d(loud.diff(dim=1).clamp(min=0)[:, None], 5, 1, 2)[:, 0]
    return (_standard(speed) * _standard(onset)).mean()


def _standard(x: Tensor) -> Tensor:
    centred = x - x.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()


def _heard(features: Float, first: int, last: int) -> Float:
    """Frames first..last of a recording, silence where it has none."""
    return pad_silence(features[max(first, 0) : last], max(-first, 0), max(last - len(features), 0))


def _hold_out(clips: Sequence[MotionClip], seed: int) -> tuple[list[MotionClip], list[MotionClip]]:
    """Clips to train on, and long clips of a few other subjects to choose the best network by."""
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
