"""Psi, the facial expression learner (§3.2): speech and a reference expression to the expression of every frame.

Departures from the paper: the front end hears log-mel steps instead of raw 50 kHz samples, and half a second to either
side instead of 0.14 s; a whole sequence goes in, a whole sequence comes out. Convolutions are unpadded, so that a
recording may be taken in chunks with the very same result. The network says how far the face moves from the reference
expression without being shown it: shown it, it learns its few subjects by their faces and does worse on others.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

FEATURE_SCALE = 4.0
"""Log-mel features spread about so much; they come relative to the speech's level, so no mean is taken off."""


@dataclass(frozen=True)
class ExpressionDims:
    """Sizes of Psi.

    mels: bands of the log-mel features
    steps: their steps a video frame
    coefficients: of the expression
    width: channels of the convolutions
    reference: channels into which the reference expression is encoded; 0, and the network is not shown it
    dilations: of the residual blocks (two convolutions of kernel 3 each) at frame rate
    dropout: part of the channels dropped in training
    """

    mels: int = 80
    steps: int = 4
    coefficients: int = 20
    width: int = 160
    reference: int = 0
    dilations: tuple[int, ...] = (1, 2, 2, 1)
    dropout: float = 0.35

    @property
    def reach(self) -> int:
        """Frames to either side of a frame that its expression depends on."""
        return 1 + 2 * sum(self.dilations)


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
