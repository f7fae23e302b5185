"""The adapter of the speech encoder: small changes of its weights with which it hears through noise.

Each matrix of the encoder is changed by a product of two narrow ones (LoRA; Hu et al., 2021), and each vector by
another vector, a tenth of the encoder's weights in all. Before training all changes are zero. Merged into the weights
they cost nothing, and the encoder's own file stays as its authors made it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from thgen_models.speech_encoder import SpeechEncoder, SpeechEncoderDims

PLACES = "places"
"""Parameter of the encoder that is not changed: what it adds to a code for its place in the window."""


@dataclass(frozen=True)
class SpeechAdapterDims(SpeechEncoderDims):
    """Sizes of the encoder, and of its adapter.

    rank: rank of the change of every matrix
    """

    rank: int = 32


class SpeechAdapter(nn.Module):
    """Changes of all weights of an encoder, except ``PLACES``."""

    def __init__(self, dims: SpeechAdapterDims) -> None:
        super().__init__()
        self.dims = dims
        with torch.device("meta"):
            weights = SpeechEncoder(dims).named_parameters()
        # The names of modules have no dots.
        self.changes = nn.ModuleDict(
            {name.replace(".", "/"): _change(value.shape, dims.rank) for name, value in weights if name != PLACES}
        )

    def forward(self, steps: Tensor, encoder: SpeechEncoder) -> Tensor:
        """Encode windows of speech [B, 2 T, mels] with the changed encoder: codes [B, T, width]."""
        codes: Tensor = functional_call(encoder, self.changed(encoder), (steps,))
        return codes

    def changed(self, encoder: SpeechEncoder) -> dict[str, Tensor]:
        """Return the changed weights of an encoder by name."""
        changes = {name.replace("/", "."): change() for name, change in self.changes.items()}
        return {name: value + changes[name] for name, value in encoder.named_parameters() if name in changes}

    @torch.no_grad()
    def merge_into(self, encoder: SpeechEncoder) -> None:
        """Change the weights of an encoder in place."""
        encoder.load_state_dict(self.changed(encoder), strict=False)


def _change(shape: torch.Size, rank: int) -> nn.Module:
    return Shift(shape) if len(shape) == 1 else LowRank(shape, rank)


class Shift(nn.Module):
    """Change of a vector, at first zero."""

    def __init__(self, shape: torch.Size) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.zeros(shape))

    def forward(self) -> Tensor:
        """Return the change."""
        return self.value


class LowRank(nn.Module):
    """Change of a matrix, or of a convolution's kernels taken as one, of some rank; at first zero."""

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        self.shape = shape
        inputs = math.prod(shape[1:])
        self.down = nn.Parameter(torch.randn(rank, inputs) / math.sqrt(inputs))
        self.up = nn.Parameter(torch.zeros(shape[0], rank))

    def forward(self) -> Tensor:
        """Return the change, of the shape of the weights."""
        return (self.up @ self.down).reshape(self.shape)
