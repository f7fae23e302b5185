"""Ψ, the facial expression learner (§3.2): speech and a reference expression → the expression of every frame.

``ExpressionDims.front_end`` chooses one of two networks. ``raw`` is the paper's, on samples at 50 kHz. ``log_mel``
departs from it in two ways. It takes log-mel features over half a second to either side instead of 0.14 s. It predicts
the movement from the reference expression without that as input, because a network that is given it recognises its few
subjects by their faces and does worse on others. Both map whole sequences with unpadded convolutions, so a recording
that is processed in chunks gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from thgen_models.raw_front_end import WINDOW, RawFrontEnd

FEATURE_SCALE = 4.0
"""Typical spread of log-mel features; they are relative to the speech level, so no mean is subtracted."""


@dataclass(frozen=True)
class ExpressionDims:
    """Sizes of Ψ.

    front_end: input of the network, ``log_mel`` features or ``raw`` samples
    mels: bands of the log-mel features
    steps: steps of the log-mel features per video frame
    convolutions: channels of the strided convolutions over raw samples
    coefficients: coefficients of the expression
    width: channels of the convolutions over log-mel features, or of the code of raw samples
    reference: channels that encode the reference expression; with 0 it is not an input of the network
    dilations: dilations of the residual blocks (two convolutions of kernel 3 each) at frame rate, for log-mel features
    dropout: share of the channels that is dropped in training
    """

    front_end: Literal["log_mel", "raw"] = "log_mel"
    mels: int = 80
    steps: int = 4
    convolutions: tuple[int, ...] = (16, 16, 32, 32, 64, 64, 128)
    coefficients: int = 20
    width: int = 160
    reference: int = 0
    dilations: tuple[int, ...] = (1, 2, 2, 1)
    dropout: float = 0.35

    @property
    def reach(self) -> int:
        """Frames to either side of a frame on which its expression depends."""
        if self.front_end == "raw":
            return WINDOW // 2
        return 1 + 2 * sum(self.dilations)


def make_expression_learner(dims: ExpressionDims) -> ExpressionNetwork:
    """Make the network of these sizes, with random weights."""
    return RawExpressionLearner(dims) if dims.front_end == "raw" else ExpressionLearner(dims)


class ExpressionLearner(nn.Module):
    """Ψ on log-mel features of a speech and the reference expression p_tM (§3.2)."""

    def __init__(self, dims: ExpressionDims) -> None:
        super().__init__()
        self.dims = dims
        width, frame = dims.width, dims.steps
        # Together the two cover a frame and its two neighbours: frame + 1 and 2 * frame steps make 3 * frame.
        self.spectrum = nn.Sequential(
            nn.Conv1d(dims.mels, width, frame + 1),
            nn.GELU(),
            nn.Conv1d(width, width, 2 * frame, stride=frame),
        )
        self.reference = (
            nn.Sequential(nn.Linear(dims.coefficients, dims.reference), nn.GELU(), nn.Linear(dims.reference, width))
            if dims.reference
            else None
        )
        self.context = nn.Sequential(*(Residual(width, dilation, dims.dropout) for dilation in dims.dilations))
        self.output = nn.Sequential(nn.GELU(), nn.Conv1d(width, dims.coefficients, 1))

    def forward(self, features: Tensor, reference: Tensor) -> Tensor:
        """Predict the expressions of all frames with full context.

        features: [B, T + 2 reach, steps, mels] float32, log-mel features
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added

        Returns [B, T, 20] float32.
        """
        steps = features.flatten(1, 2).transpose(1, 2) / FEATURE_SCALE
        x = self.spectrum(steps)
        if self.reference is not None:
            x = x + self.reference(reference)[..., None]
        delta: Tensor = self.output(self.context(x))
        return reference[:, None] + delta.transpose(1, 2).float()


class RawExpressionLearner(nn.Module):
    """Ψ as in the paper (§3.2): codes of the window's samples and of p_tM, concatenated, then a linear layer."""

    def __init__(self, dims: ExpressionDims) -> None:
        super().__init__()
        self.dims = dims
        self.samples = RawFrontEnd(dims.convolutions, dims.width)
        self.reference = nn.Linear(dims.coefficients, dims.reference) if dims.reference else None
        self.output = nn.Sequential(
            nn.ReLU(), nn.Dropout(dims.dropout), nn.Linear(dims.width + dims.reference, dims.coefficients)
        )

    def forward(self, samples: Tensor, reference: Tensor) -> Tensor:
        """Predict the expressions of all frames with a full window.

        samples: [B, T + 2 reach, 2000] float32, 50 kHz, scaled to a speech level of 1
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added

        Returns [B, T, 20] float32.
        """
        code = self.samples(samples)
        if self.reference is not None:
            encoded = self.reference(reference)[:, None].expand(-1, code.shape[1], -1)
            code = torch.cat([code, encoded], dim=2)
        delta: Tensor = self.output(code)
        return reference[:, None] + delta.float()


ExpressionNetwork = ExpressionLearner | RawExpressionLearner


class Residual(nn.Module):
    """Residual block of two dilated convolutions, [B, C, T] → [B, C, T - 4 dilation]."""

    def __init__(self, width: int, dilation: int, dropout: float) -> None:
        super().__init__()
        self.margin = 2 * dilation
        self.norm = nn.LayerNorm(width)
        self.layers = nn.Sequential(
            nn.Conv1d(width, width, 3, dilation=dilation),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Conv1d(width, width, 3, dilation=dilation),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to features [B, C, T]."""
        change: Tensor = self.layers(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return x[..., self.margin : -self.margin] + change
