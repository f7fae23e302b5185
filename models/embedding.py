"""The hybrid embedding of §4.2 and Fig. 4: K references of a person and the target's landmarks → e_y and θ.

``embed`` computes the part that depends on the references alone, an ``Embedding``, once per job; ``attend`` computes
the rest for every frame. Departures from the paper:

- The paper's ConvGate folds the K references into the channels, which fixes their number and order. Here it weights
  them by a softmax over K of gates computed from each reference, so K and the order are free.
- α may have fewer channels than the features (``activation``), each for a group of feature channels. Eq. 3 is the case
  of ``activation`` equal to the number of feature channels.
- E_F gives the weights of 1×1 convolutions (``spade.py``). One row of E_F_L and E_F_I is one output channel, and E_F_P
  maps the positions of the row to the weights of that channel, so it needs few parameters.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import activation, bottleneck, convolution, down, pyramid
from .spade import Theta


@dataclass(frozen=True)
class EmbeddingDims:
    """Sizes of the hybrid embedding.

    widths: channels of the levels; level 0 has 1 / stem of the image's resolution, each further level half of it
    stem: stride of the first layers
    level: level at which references are combined
    activation: channels of the activation maps α; divides ``widths[level]``
    grid: side of the grid of positions to which e_y and e_l are pooled for E_F; divides the side of the last level
    hidden: hidden units of E_F_P
    hybrid: whether references are combined by hybrid attention; without it their features are averaged, as in the
        methods that the paper improves on (Table 3)
    """

    widths: tuple[int, ...]
    stem: int
    level: int
    activation: int
    grid: int
    hidden: int
    hybrid: bool = True


@dataclass(frozen=True)
class Embedding:
    """Embedding of a person's K references; B is 1 in a job, the batch size in training.

    Without hybrid attention K is 1, for the averaged features, and ``key`` and the gates are zeros.

    key: [B, K, A, h, w], E_A(l_k)
    image, landmarks: [B, K, C, h, w], q'_y and q'_l of Eq. 6
    image_gate, landmark_gate: [B, C, h, w], ConvGate(q_y) and ConvGate(q_l)
    """

    key: Tensor
    image: Tensor
    landmarks: Tensor
    image_gate: Tensor
    landmark_gate: Tensor

    def repeat(self, frames: int) -> Embedding:
        """Repeat every person's embedding for a number of frames: [B · frames, …], frames of one person together."""
        return Embedding(*(t.repeat_interleave(frames, dim=0) for t in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """Return the fields in order."""
        return self.key, self.image, self.landmarks, self.image_gate, self.landmark_gate


@dataclass(frozen=True)
class Attended:
    """Embedding combined for target frames.

    appearance: [B, C, h, w], e_y of the last level
    theta: θ^i of every level, finest first
    """

    appearance: Tensor
    theta: tuple[Theta, ...]

    def cut(self, top: int, left: int, height: int, width: int) -> Attended:
        """Return the embedding for a part of the frames, in positions of the last level."""
        return Attended(self.appearance[..., top : top + height, left : left + width], self.theta)


class HybridEmbedding(nn.Module):
    """The hybrid embedding module of §4.2: E_A, E_I, E_L and E_F."""

    def __init__(self, dims: EmbeddingDims) -> None:
        super().__init__()
        self.dims = dims
        seen = dims.widths[: dims.level + 1]
        channels = seen[-1]
        self.image = nn.Sequential(*pyramid(3, seen, dims.stem))
        self.landmarks = nn.Sequential(*pyramid(1, seen, dims.stem))
        self.image_tail, self.landmark_tail = _tail(dims), _tail(dims)
        self.fusion = Fusion(dims)
        if dims.hybrid:
            self.activation = nn.Sequential(*pyramid(1, seen, dims.stem), convolution(channels, dims.activation, 1))
            self.exchange = bottleneck(2 * channels, channels, channels)
            self.refine_image = convolution(2 * channels, channels, 1)
            self.refine_landmarks = convolution(2 * channels, channels, 1)
            self.image_gate, self.landmark_gate = ConvGate(channels), ConvGate(channels)

    def embed(self, images: Tensor, maps: Tensor) -> Embedding:
        """Compute the part of the embedding that depends on the references alone.

        images: [B, K, 3, H, W] float32 in -1..1, references y_{1:K}
        maps: [B, K, 1, H, W] float32 in 0..1, their landmark maps l_{1:K}
        """
        batch, count = maps.shape[:2]
        image, landmarks = self.image(images.flatten(0, 1)), self.landmarks(maps.flatten(0, 1))
        of_each = (batch, count)
        if not self.dims.hybrid:
            image, landmarks = (q.unflatten(0, of_each).mean(dim=1, keepdim=True) for q in (image, landmarks))
            key = image.new_zeros(batch, 1, self.dims.activation, *image.shape[-2:])
            return Embedding(key, image, landmarks, torch.zeros_like(image[:, 0]), torch.zeros_like(image[:, 0]))
        shared = self.exchange(torch.cat([image, landmarks], dim=1))
        return Embedding(
            self.activation(maps.flatten(0, 1)).unflatten(0, of_each),
            self.refine_image(torch.cat([shared, image], dim=1)).unflatten(0, of_each),
            self.refine_landmarks(torch.cat([shared, landmarks], dim=1)).unflatten(0, of_each),
            self.image_gate(image, of_each),
            self.landmark_gate(landmarks, of_each),
        )

    def attend(self, embedding: Embedding, target_map: Tensor) -> Attended:
        """Combine the references for target frames, Eq. 3 to 7.

        embedding: of the frames' persons; its B may be 1
        target_map: [B, 1, H, W] float32 in 0..1, target landmarks l_t
        """
        batch = target_map.shape[0]  # len() would be a constant in an exported network
        if self.dims.hybrid:
            alpha = self.attention(embedding, target_map)
            image = _combine(alpha, embedding.image) + embedding.image_gate
            landmarks = _combine(alpha, embedding.landmarks) + embedding.landmark_gate
        else:
            image = embedding.image[:, 0].expand(batch, -1, -1, -1)
            landmarks = embedding.landmarks[:, 0].expand(batch, -1, -1, -1)
        appearance = self.image_tail(image)
        return Attended(appearance, self.fusion(self.landmark_tail(landmarks), appearance))

    def attention(self, embedding: Embedding, target_map: Tensor) -> Tensor:
        """Compute the activation maps α of Eq. 3: [B, K, A, h, w], which sum to 1 over K."""
        energy = embedding.key * self.activation(target_map).unsqueeze(1)
        return energy.float().softmax(dim=1)


class ConvGate(nn.Module):
    """Self-aggregation of K references' features in Eq. 6; it departs from the paper, see the module's docstring."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # no bias: a value that all K share cancels in the softmax
        self.gate = bottleneck(channels, channels // 2, channels, bias=False)
        self.value = bottleneck(channels, channels // 2, channels)

    def forward(self, q: Tensor, of_each: tuple[int, int]) -> Tensor:
        """Aggregate features q [B · K, C, h, w], with (B, K) = ``of_each``, to [B, C, h, w]."""
        gate = self.gate(q).unflatten(0, of_each).float().softmax(dim=1)
        return (gate * self.value(q).unflatten(0, of_each)).sum(dim=1)


class Fusion(nn.Module):
    """E_F of Eq. 7: θ = E_F_P(softmax(E_F_L(e_l)) ⊙ E_F_I(e_y)) for the N layers of the decoder."""

    def __init__(self, dims: EmbeddingDims) -> None:
        super().__init__()
        self.grid = dims.grid
        widths = dims.widths
        # from the coarsest level, the decoder's first layer, to the finest
        chain = [(widths[-1], widths[-1]), *zip(widths[:0:-1], widths[-2::-1], strict=True)]
        self.image = nn.ModuleList(nn.Sequential(convolution(*pair, 1), activation()) for pair in chain)
        self.landmarks = nn.ModuleList(nn.Sequential(convolution(*pair, 1), activation()) for pair in chain)
        above = (widths[0], *widths[:-1])
        self.weights = nn.ModuleList(
            _Weights(channels, above[i], dims.grid**2, dims.hidden) for i, channels in enumerate(widths)
        )

    def forward(self, landmarks: Tensor, image: Tensor) -> tuple[Theta, ...]:
        """Return θ of every level, finest first, from e_l and e_y of the last level, [B, C, h, w] each."""
        landmarks = F.adaptive_avg_pool2d(landmarks, self.grid)
        image = F.adaptive_avg_pool2d(image, self.grid)
        theta: list[Theta] = []
        for i in reversed(range(len(self.weights))):
            stage = len(self.weights) - 1 - i
            landmarks, image = self.landmarks[stage](landmarks), self.image[stage](image)
            # multiplied by the number of positions, so that a uniform softmax has no effect
            share = landmarks.flatten(2).float().softmax(dim=2) * self.grid**2
            theta.insert(0, self.weights[i](share * image.flatten(2)))
        return tuple(theta)


class _Weights(nn.Module):
    """E_F_P of one decoder layer: rows [B, C, positions] → θ^i."""

    def __init__(self, channels: int, above: int, positions: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(positions, hidden), activation())
        self.rows = nn.Linear(hidden, above + 2 * channels + 3)
        self.split = (above + 1, channels + 1, channels + 1)
        # weights that all persons share; those of γ and β start small
        shared = [
            torch.randn(channels, n) * (gain / n) ** 0.5 for n, gain in zip(self.split, (2.0, 0.3, 0.3), strict=True)
        ]
        self.shared = nn.Parameter(torch.cat(shared, dim=1))
        self.scale = above**-0.5

    def forward(self, rows: Tensor) -> Theta:
        """Return θ^i from rows [B, C, positions]."""
        weights = self.shared + self.scale * self.rows(self.hidden(rows))
        return Theta(*weights.split(self.split, dim=2))


def _tail(dims: EmbeddingDims) -> nn.Sequential:
    """Convolutions from the level at which references are combined to the last level."""
    rest = dims.widths[dims.level :]
    return nn.Sequential(*(down(before, after) for before, after in pairwise(rest)))


def _combine(alpha: Tensor, features: Tensor) -> Tensor:
    """Sum Σ_k α_k ⊙ q'_k of Eq. 6: α [B, K, A, h, w], features [B or 1, K, C, h, w] → [B, C, h, w]."""
    batch, count, _, height, width = features.shape
    groups = features.reshape(batch, count, alpha.shape[2], -1, height, width)
    return (alpha.unsqueeze(3) * groups).sum(dim=1).flatten(1, 2)
