"""Ψ, the facial expression learner (§3.2): speech and a reference expression → the expression of every frame.

``ExpressionDims.front_end`` chooses what the network hears. ``raw`` is the paper's network, on samples at 50 kHz.
``log_mel`` departs from it in two ways. It takes log-mel features over half a second to either side instead of 0.14 s.
It predicts the movement from the reference expression without that as input, because a network that is given it
recognises its few subjects by their faces and does worse on others. ``encoder`` also takes the codes of a pretrained
speech encoder (``thgen_models.speech_encoder``). All map whole sequences with unpadded convolutions, so a recording
that is processed in chunks gives the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from thgen_models.raw_front_end import WINDOW, RawFrontEnd

FEATURE_SCALE = 4.0
"""Typical spread of log-mel features; they are relative to the speech level, so no mean is subtracted."""


@dataclass(frozen=True)
class ExpressionDims:
    """Sizes of Ψ.

    front_end: input of the network: ``log_mel`` features, these and codes of the speech ``encoder``, or ``raw`` samples
    mels: bands of the log-mel features
    code: values of a code of the speech encoder
    steps: steps of the log-mel features per video frame
    convolutions: channels of the strided convolutions over raw samples
    coefficients: coefficients of the expression
    width: channels of the convolutions over log-mel features, or of the code of raw samples
    reference: channels that encode the reference expression; with 0 it is not an input of the network
    dilations: dilations of the residual blocks (two convolutions of kernel 3 each) at frame rate, for log-mel features
    dropout: share of the channels that is dropped in training
    code_dropout: share of the values of the codes that is dropped in training
    closure: whether the network also says whether the lips are closed
    """

    front_end: Literal["log_mel", "encoder", "raw"] = "log_mel"
    mels: int = 80
    code: int = 384
    steps: int = 4
    convolutions: tuple[int, ...] = (16, 16, 32, 32, 64, 64, 128)
    coefficients: int = 20
    width: int = 160
    reference: int = 0
    dilations: tuple[int, ...] = (1, 2, 2, 1)
    dropout: float = 0.35
    code_dropout: float = 0.2
    closure: bool = False

    @property
    def values(self) -> int:
        """Values of a step of 10 ms: those of its log-mel features, followed by those of the code around it."""
        return self.mels + (self.code if self.front_end == "encoder" else 0)

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
    """Ψ on log-mel features of a speech, and codes of the speech encoder, and the reference expression p_tM (§3.2)."""

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
        self.codes = (
            nn.Sequential(
                nn.LayerNorm(dims.code, elementwise_affine=False),
                nn.Dropout(dims.code_dropout),
                CodeConvolution(dims.code, width, 3 * frame // 2, stride=frame // 2),
            )
            if dims.front_end == "encoder"
            else None
        )
        self.reference = (
            nn.Sequential(nn.Linear(dims.coefficients, dims.reference), nn.GELU(), nn.Linear(dims.reference, width))
            if dims.reference
            else None
        )
        self.context = nn.Sequential(*(Residual(width, dilation, dims.dropout) for dilation in dims.dilations))
        self.output = nn.Sequential(nn.GELU(), nn.Conv1d(width, dims.coefficients + dims.closure, 1))

    def forward(self, features: Tensor, reference: Tensor) -> Tensor:
        """Predict the expressions of all frames with full context.

        features: [B, T + 2 reach, steps, ``dims.values``] float32: log-mel features, each with the code around it
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added

        Returns [B, T, 20] float32, with ``dims.closure`` [B, T, 21], of which the last is the logit of the probability
        that the lips are closed.
        """
        mels = self.dims.mels
        x = self.spectrum(features[..., :mels].flatten(1, 2).transpose(1, 2) / FEATURE_SCALE)
        if self.codes is not None:
            x = x + self.codes(features[:, :, ::2, mels:].flatten(1, 2))
        if self.reference is not None:
            x = x + self.reference(reference)[..., None]
        delta: Tensor = self.output(self.context(x))
        return F.pad(reference, (0, int(self.dims.closure)))[:, None] + delta.transpose(1, 2).float()


class CodeConvolution(nn.Conv1d):
    """Convolution over codes [B, S, code] in time, which gives features [B, width, T]."""

    def forward(self, codes: Tensor) -> Tensor:
        """Apply the convolution."""
        return super().forward(codes.transpose(1, 2))


class RawExpressionLearner(nn.Module):
    """Ψ as in the paper (§3.2): codes of the window's samples and of p_tM, concatenated, then a linear layer."""

    def __init__(self, dims: ExpressionDims) -> None:
        super().__init__()
        self.dims = dims
        self.samples = RawFrontEnd(dims.convolutions, dims.width)
        self.reference = nn.Linear(dims.coefficients, dims.reference) if dims.reference else None
        self.output = nn.Sequential(
            nn.ReLU(),
            nn.Dropout(dims.dropout),
            nn.Linear(dims.width + dims.reference, dims.coefficients + dims.closure),
        )

    def forward(self, samples: Tensor, reference: Tensor) -> Tensor:
        """Predict the expressions of all frames with a full window.

        samples: [B, T + 2 reach, 2000] float32, 50 kHz, scaled to a speech level of 1
        reference: [B, 20] float32, expression of the reference face, to which the network's output is added

        Returns what ``ExpressionLearner`` does.
        """
        code = self.samples(samples)
        if self.reference is not None:
            encoded = self.reference(reference)[:, None].expand(-1, code.shape[1], -1)
            code = torch.cat([code, encoded], dim=2)
        delta: Tensor = self.output(code)
        return F.pad(reference, (0, int(self.dims.closure)))[:, None] + delta.float()


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
