"""The speech encoder that Ψ listens with: the encoder of Whisper (Radford et al., 2022), log-mel steps → codes.

It departs from the paper, whose network hears raw samples (§3.2): an hour of footage teaches a network how mouths move,
but not what speech is made of. The encoder was trained on speech alone, with text as its target, and stays as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SpeechEncoderDims:
    """Sizes of the encoder; by default those of Whisper tiny.

    mels: bands of the log-mel steps of 10 ms
    width: values of a code of 20 ms
    heads, layers: attention heads of a layer, and layers
    positions: most codes of a window
    """

    mels: int = 80
    width: int = 384
    heads: int = 6
    layers: int = 4
    positions: int = 1500


class SpeechEncoder(nn.Module):
    """Encoder of Whisper: two convolutions, the second of which halves the rate, and a transformer."""

    def __init__(self, dims: SpeechEncoderDims) -> None:
        super().__init__()
        self.dims = dims
        self.first = nn.Conv1d(dims.mels, dims.width, 3, padding=1)
        self.second = nn.Conv1d(dims.width, dims.width, 3, stride=2, padding=1)
        self.places = nn.Parameter(torch.zeros(dims.positions, dims.width))
        self.layers = nn.ModuleList(EncoderLayer(dims.width, dims.heads) for _ in range(dims.layers))
        self.norm = nn.LayerNorm(dims.width)

    def forward(self, steps: Tensor) -> Tensor:
        """Encode windows of speech.

        steps: [B, 2 T, mels] float32, log-mel steps as Whisper scales them, with T up to ``dims.positions``

        Returns codes [B, T, width].
        """
        x = F.gelu(self.second(F.gelu(self.first(steps.transpose(1, 2))))).transpose(1, 2)
        x = x + self.places[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        codes: Tensor = self.norm(x)
        return codes


class EncoderLayer(nn.Module):
    """Layer of the transformer: self-attention and two linear layers, each on normalised values and added to them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.attended = nn.Linear(width, width)
        self.linear_norm = nn.LayerNorm(width)
        self.linear = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to [B, T, width]."""
        split = self.queries_keys_values(self.attention_norm(x)).unflatten(2, (3, self.heads, -1))
        queries, keys, values = split.permute(2, 0, 3, 1, 4)
        heads = F.scaled_dot_product_attention(queries, keys, values)
        x = x + self.attended(heads.transpose(1, 2).flatten(2))
        out: Tensor = x + self.linear(self.linear_norm(x))
        return out
