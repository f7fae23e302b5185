"""Psi, the facial expression learner (§3.2): speech and a reference expression to the expression of every frame.

Two networks, by ``ExpressionDims.front_end``: ``raw`` is the paper's, on samples at 50 kHz. ``log_mel`` departs from
it: it hears log-mel steps, and half a second to either side instead of 0.14 s; it says how far the face moves from the
reference expression without being shown it: shown it, it learns its few subjects by their faces and does worse on
others. In both a whole sequence goes in and comes out, and convolutions are unpadded, so that a recording may be taken
in chunks with the very same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from thgen_models.raw_front_end import WINDOW, RawFrontEnd

FEATURE_SCALE = 4.0
"""Log-mel features spread about so much; they come relative to the speech's level, so no mean is taken off."""


@dataclass(frozen=True)
class ExpressionDims:
    """Sizes of Psi.

    front_end: ``log_mel`` features or ``raw`` samples
    mels: bands of the log-mel features
    steps: their steps a video frame
    convolutions: channels of the strided convolutions over raw samples
    coefficients: of the expression
    width: channels of the convolutions over log-mel features, or of the code of raw samples
    reference: channels into which the reference expression is encoded; 0, and the network is not shown it
    dilations: of the residual blocks (two convolutions of kernel 3 each) at frame rate, over log-mel features
    dropout: part of the channels dropped in training
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
        """Frames to either side of a frame that its expression depends on."""
        if self.front_end == "raw":
            return WINDOW // 2
        return 1 + 2 * sum(self.dilations)


def make_expression_learner(dims: ExpressionDims) -> ExpressionNetwork:
    """The network of these dims, with random weights."""
    return RawExpressionLearner(dims) if dims.front_end == "raw" else ExpressionLearner(dims)


class ExpressionLearner(nn.Module):
    """Psi, §3.2: log-mel features of a speech and the reference expression p_tM -> the expression of every frame."""

    def __init__(self, dims: ExpressionDims) -> None:
        super().__init__()
        self.dims = dims
        width, frame = dims.width, dims.steps
        # Together the two see a frame and its two neighbours: frame + 1 and 2 * frame steps make 3 * frame.
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
        """Expressions of all frames that have their context.

        features: [B, T + 2 reach, steps, mels] float32, log-mel
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added
        returns [B, T, 20] float32
        """
        steps = features.flatten(1, 2).transpose(1, 2) / FEATURE_SCALE
        x = self.spectrum(steps)
        if self.reference is not None:
            x = x + self.reference(reference)[..., None]
        delta: Tensor = self.output(self.context(x))
        return reference[:, None] + delta.transpose(1, 2).float()


class RawExpressionLearner(nn.Module):
    """Psi as the paper has it, §3.2: codes of the window's samples and of p_tM side by side, and a linear layer."""

    def __init__(self, dims: ExpressionDims) -> None:
        super().__init__()
        self.dims = dims
        self.samples = RawFrontEnd(dims.convolutions, dims.width)
        self.reference = nn.Linear(dims.coefficients, dims.reference) if dims.reference else None
        self.output = nn.Sequential(
            nn.ReLU(), nn.Dropout(dims.dropout), nn.Linear(dims.width + dims.reference, dims.coefficients)
        )

    def forward(self, samples: Tensor, reference: Tensor) -> Tensor:
        """Expressions of all frames that have their window.

        samples: [B, T + 2 reach, 2000] float32, 50 kHz, the level of speech being 1
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added
        returns [B, T, 20] float32
        """
        code = self.samples(samples)
        if self.reference is not None:
            seen = self.reference(reference)[:, None].expand(-1, code.shape[1], -1)
            code = torch.cat([code, seen], dim=2)
        delta: Tensor = self.output(code)
        return reference[:, None] + delta.float()


ExpressionNetwork = ExpressionLearner | RawExpressionLearner


class Residual(nn.Module):
    """x + two dilated convolutions of x, [B, C, T] -> [B, C, T - 4 dilation]."""

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
        """x: [B, C, T]."""
        change: Tensor = self.layers(self.norm(x.transpose(1, 2)).transpose(1, 2))
        return x[..., self.margin : -self.margin] + change
