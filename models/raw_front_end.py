"""What Psi hears of raw samples, as in the paper (§3.2): a window of frames at 50 kHz through strided convolutions."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

FRAME_SAMPLES = 2000
"""Samples of a video frame: 50 kHz at 25 frames a second."""
WINDOW = 7
"""Frames that are heard for one, x_{t-3:t+4}: 14,000 samples."""
KERNEL, STRIDE = 21, 2
ALIGNED = 4
"""So many layers have the same positions in all frames' windows: their common stride, 2^4, divides 2000."""


class RawFrontEnd(nn.Module):
    """Seven convolutions over each frame's window, then one linear layer over all that is left of it.

    Of the paper are window, rate, kernel, stride and channels; it names neither padding (here none), nor norms and
    activations (batch norm and ReLU), nor how the last layer's positions become one code (a linear layer).
    """

    def __init__(self, convolutions: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels = (1, *convolutions)
        layers = [_layer(*pair) for pair in pairwise(channels)]
        self.aligned, self.apart = nn.Sequential(*layers[:ALIGNED]), nn.Sequential(*layers[ALIGNED:])
        self.window = _length(WINDOW * FRAME_SAMPLES, min(ALIGNED, len(layers)))
        self.step = FRAME_SAMPLES // STRIDE ** min(ALIGNED, len(layers))
        left = _length(self.window, max(len(layers) - ALIGNED, 0))
        self.code = nn.Linear(channels[-1] * left, width)

    def forward(self, samples: Tensor) -> Tensor:
        """samples: [B, T + 6, 2000] float32; returns the code of every frame that has its window, [B, T, width].

        Neighbours' windows overlap, so the first layers run once over all frames; without padding the result is that
        of every window by itself.
        """
        x = self.aligned(samples.flatten(1)[:, None]).unfold(2, self.window, self.step)
        batch, channels, frames, length = x.shape
        x = x.transpose(1, 2).reshape(batch * frames, channels, length)
        code: Tensor = self.code(self.apart(x).flatten(1))
        return code.reshape(batch, frames, -1)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, KERNEL, stride=STRIDE, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()
    )


def _length(length: int, layers: int) -> int:
    """What so many layers leave of a length."""
    for _ in range(layers):
        length = (length - KERNEL) // STRIDE + 1
    return length
