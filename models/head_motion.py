"""Φ, the head motion learner of §3.3, Fig. 12 and §0.A.1: encoder f, extrapolator and discriminator.

All motion here is in the person's own units: the deviation of the head's placement from the mean of the reference clip,
over its range, per axis (``thcli/motion/head.py`` converts). Departures from the paper:

- The extrapolator also takes smooth noise. Many head motions fit the same speech, and an extrapolator of audio alone
  can only learn their mean, which hardly moves.
- The discriminator takes mean and standard deviation of the sequence, of its first difference, and also of learned
  temporal filters over motion and audio, which generalise the first difference. So it can recognise motion that is not
  smooth or does not follow the rhythm of the speech. It takes the same statistics of the reference, so it can also
  recognise whether both are of the same person.
- The discriminator's loss reaches the extrapolator and the encoder; in the authors' code it does not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

AXES = 6
"""Values of a placement: three of rotation, three of position."""
FEATURE_GAIN = 0.25
"""Factor of log-mel features, from -12 in silence to about 3 in speech; with 1 added, it maps them to -2..2."""
STEP_GAIN = 8.0
"""Factor that brings the first difference of motion to about the size of the motion itself."""


@dataclass(frozen=True)
class HeadMotionDims:
    """Sizes of the head motion learner.

    mels, steps: log-mel bands, and log-mel steps of 10 ms per video frame
    audio: channels to which a frame of audio is encoded
    noise: channels of the smooth noise
    width: channels of the extrapolator's temporal convolutions
    features: values per frame that the person's own linear layer maps to the six axes
    style: channels of the encoder
    dilations: dilations of the extrapolator's convolutions of kernel 5, in frames
    critic: channels of the discriminator's temporal filters
    bands: bands of the discriminator's audio, averaged from ``mels``
    """

    mels: int = 80
    steps: int = 4
    audio: int = 32
    noise: int = 15
    width: int = 64
    features: int = 64
    style: int = 64
    dilations: tuple[int, ...] = (1, 2, 4, 8)
    critic: int = 48
    bands: int = 10

    @property
    def context(self) -> int:
        """Frames to either side of a frame on which its extrapolated motion depends."""
        return 2 * sum(self.dilations) + 4


class AudioEncoder(nn.Module):
    """Log-mel features [B, T, steps, mels] → [B, audio, T]: the paper's two 2D convolutions and a projection."""

    def __init__(self, dims: HeadMotionDims):
        super().__init__()
        self.first = nn.Conv2d(1, 8, (3, 5), stride=(2, 4), padding=(1, 2))
        self.second = nn.Conv2d(8, 16, 3, stride=2, padding=1)
        self.project = nn.Conv1d(16 * (dims.mels // 8) * (dims.steps // 4), dims.audio, 1)

    def forward(self, features: Tensor) -> Tensor:
        batch, frames, steps, mels = features.shape
        x = FEATURE_GAIN * features.reshape(batch, 1, frames * steps, mels) + 1
        x = torch.relu(self.second(torch.relu(self.first(x))))
        x = x.reshape(batch, x.shape[1], frames, -1, x.shape[-1]).permute(0, 1, 3, 4, 2)
        return torch.relu(self.project(x.reshape(batch, -1, frames)))


class MotionEncoder(nn.Module):
    """f: motion [B, τ, 6] and audio [B, τ, steps, mels] of the reference → weights [B, 6, features] and bias [B, 6].

    A summary [B, 13] holds what the motion's units leave out: log range and log speed of every axis, and the log of τ.
    """

    def __init__(self, dims: HeadMotionDims):
        super().__init__()
        self.features = dims.features
        self.audio = AudioEncoder(dims)
        self.motion = nn.Sequential(nn.Conv1d(AXES, dims.style, 1), nn.ReLU())
        self.joint = nn.Sequential(
            nn.Conv1d(dims.style + dims.audio, dims.style, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(dims.style, dims.style, 5, stride=2, padding=2),
            nn.ReLU(),
        )
        self.weights = nn.Sequential(
            nn.Linear(dims.style + 2 * AXES + 1, dims.style),
            nn.ReLU(),
            nn.Linear(dims.style, AXES * (dims.features + 1)),
        )

    def forward(self, motion: Tensor, features: Tensor, summary: Tensor) -> tuple[Tensor, Tensor]:
        joint = torch.cat([self.motion(motion.transpose(1, 2)), self.audio(features)], dim=1)
        flat = self.weights(torch.cat([self.joint(joint).mean(2), summary], dim=1))
        weight, bias = flat.split([AXES * self.features, AXES], dim=1)
        return weight.reshape(-1, AXES, self.features) / self.features**0.5, bias


class Residual(nn.Module):
    """Residual block of a dilated and a 1×1 convolution on features [B, C, T]."""

    def __init__(self, channels: int, dilation: int):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv1d(channels, channels, 5, padding=2 * dilation, dilation=dilation),
            nn.ReLU(),
            nn.Conv1d(channels, channels, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.body(x))


class Extrapolator(nn.Module):
    """Audio [B, T, steps, mels] and smooth noise [B, T, noise] → features [B, features, T], a basis of the motion."""

    def __init__(self, dims: HeadMotionDims):
        super().__init__()
        self.audio = AudioEncoder(dims)
        self.join = nn.Conv1d(dims.audio + dims.noise, dims.width, 5, padding=2)
        self.temporal = nn.Sequential(*(Residual(dims.width, dilation) for dilation in dims.dilations))
        self.out = nn.Conv1d(dims.width, dims.features, 1)

    def forward(self, features: Tensor, noise: Tensor) -> Tensor:
        x = torch.cat([self.audio(features), noise.transpose(1, 2)], dim=1)
        return self.out(self.temporal(torch.relu(self.join(x))))


class HeadMotionLearner(nn.Module):
    """Φ: head motion for new audio and noise, in the style of the person's motion in the reference clip."""

    def __init__(self, dims: HeadMotionDims):
        super().__init__()
        self.dims = dims
        self.encoder = MotionEncoder(dims)
        self.extrapolator = Extrapolator(dims)

    def forward(self, past: Tensor, past_features: Tensor, summary: Tensor, features: Tensor, noise: Tensor) -> Tensor:
        """Extrapolate motion [B, T, 6] from a reference; all motion is in ranges around the person's mean.

        past: [B, τ, 6], motion of the reference
        past_features: [B, τ, steps, mels], its audio
        summary: [B, 13], see ``MotionEncoder``
        features: [B, c + T + c, steps, mels], new audio, with c = ``dims.context``
        noise: [B, c + T + c, noise], smooth noise
        """
        weight, bias = self.encoder(past, past_features, summary)
        return self.move(weight, bias, features, noise)

    def move(self, weight: Tensor, bias: Tensor, features: Tensor, noise: Tensor) -> Tensor:
        """Extrapolate motion [B, T, 6] with the encoder's weight and bias; features and noise are as in ``forward``.

        The context on either side is removed, so no frame depends on where a sequence was cut.
        """
        basis = self.extrapolator(features, noise)[..., self.dims.context : -self.dims.context]
        return (weight @ basis + bias[..., None]).transpose(1, 2)


class MotionDiscriminator(nn.Module):
    """D: scores [B] whether motion is the real motion of a person to an audio; high for real."""

    def __init__(self, dims: HeadMotionDims):
        super().__init__()
        width = dims.critic
        self.bands = dims.bands
        self.filters = nn.ModuleList(
            [
                nn.Conv1d(2 * AXES + dims.bands, width, 5, padding=2),
                nn.Conv1d(width, width, 5, stride=2, padding=2),
                nn.Conv1d(width, width, 5, stride=2, padding=2),
            ]
        )
        known = 2 * 4 * AXES + 2 * 3 * width + 2 * AXES + 1
        self.score = nn.Sequential(nn.Linear(known, 128), nn.LeakyReLU(0.2), nn.Linear(128, 1))

    def forward(self, motion: Tensor, features: Tensor, past: Tensor, summary: Tensor) -> Tensor:
        """Score motion [B, T, 6] with its audio [B, T, steps, mels], given past [B, τ, 6] and summary [B, 13]."""
        x = motion.transpose(1, 2)
        step = torch.diff(x, dim=2, prepend=x[..., :1])
        known = [summary, _statistics(x), _statistics(step * STEP_GAIN), *_past_statistics(past)]
        loudness = FEATURE_GAIN * features.mean(2) + 1
        loudness = loudness.reshape(*loudness.shape[:2], self.bands, -1).mean(3).transpose(1, 2)
        y = torch.cat([x, step * STEP_GAIN, loudness], dim=1)
        for layer in self.filters:
            y = nn.functional.leaky_relu(layer(y), 0.2)
            known.append(_statistics(y))
        return self.score(torch.cat(known, dim=1)).squeeze(1)


def _statistics(sequence: Tensor) -> Tensor:
    """Mean and standard deviation over time, [B, C, T] → [B, 2 C]. The constant keeps the root's gradient finite."""
    deviation = torch.sqrt(sequence.var(dim=2, unbiased=False) + 1e-4)
    return torch.cat([sequence.mean(2), deviation], dim=1)


def _past_statistics(past: Tensor) -> list[Tensor]:
    """Statistics [B, 12] of a reference's motion [B, τ, 6], and of its first difference."""
    x = past.transpose(1, 2)
    return [_statistics(x), _statistics(torch.diff(x, dim=2, prepend=x[..., :1]) * STEP_GAIN)]
