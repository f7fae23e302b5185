"""Front end of Ψ for raw samples, as in the paper (§3.2): strided convolutions over a window of frames at 50 kHz."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

FRAME_SAMPLES = 2000
"""Samples per video frame: 50 kHz at 25 frames a second."""
WINDOW = 7
"""Frames of the window around a frame, x_{t-3:t+4}: 14,000 samples."""
KERNEL, STRIDE = 21, 2
"""Kernel size and stride of every convolution."""
ALIGNED = 4
"""First layers whose positions are the same in all frames' windows, because their total stride, 2^4, divides 2000."""


class RawFrontEnd(nn.Module):
    """Seven convolutions over each frame's window, then one linear layer over all remaining positions.

    Window, rate, kernel, stride and channels are the paper's. It states neither the padding (none here), nor norms and
    activations (batch norm and ReLU here), nor how the last positions become one code (by a linear layer here).
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
        """Return the codes [B, T, width] of all frames with a full window, from samples [B, T + 6, 2000] float32.

        Windows of neighbouring frames overlap, so the first layers run once over all frames. Without padding the result
        equals that of each window by itself.
        """
        x = self.aligned(samples.flatten(1)[:, None]).unfold(2, self.window, self.step)
        batch, channels, frames, length = x.shape
        x = x.transpose(1, 2).reshape(batch * frames, channels, length)
        code: Tensor = self.code(self.apart(x).flatten(1))
        return code.reshape(batch, frames, -1)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    """Strided convolution, batch norm and ReLU, [B, inputs, T] → [B, outputs, about T / 2]."""
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, KERNEL, stride=STRIDE, bias=False), nn.BatchNorm1d(outputs), nn.ReLU()
    )


def _length(length: int, layers: int) -> int:
    """Length of a sequence after a number of layers."""
    for _ in range(layers):
        length = (length - KERNEL) // STRIDE + 1
    return length
