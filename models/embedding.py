"""The hybrid embedding of §4.2 and Fig. 4: K references of a person and the target's landmarks → e_y and θ.

What depends on the references alone is an ``Embedding``, made once a job by ``embed``; ``attend`` does the rest for
every frame. Departures from the paper:

- ConvGate folds the K references into the channels there, which fixes their number and order. Here it weights them
  by a softmax over K of gates that it computes from each: any K, in any order.
- α may have fewer channels than the features (``activation``), each for a group of them; Eq. 3 as it stands is
  ``activation`` equal to the features' channels.
- E_F gives weights of 1×1 convolutions (``spade.py``). One row of E_F_L and E_F_I is one output channel, and E_F_P
  maps what stands at the positions of the row to the weights of that channel; so it needs few parameters.
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

    widths: channels of the levels; level 0 is at 1 / stem of the picture, each further one at half the one before
    stem: stride of the first layers
    level: at which references are combined
    activation: channels of the activation maps α; divides ``widths[level]``
    grid: E_F sees e_y and e_l as grid × grid positions; divides the side of the last level
    hidden: units of E_F_P
    hybrid: without it the references' features are averaged, as by those the paper improves on (Table 3)
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
    """What is known of a person from K references; B is 1 for a job, the batch in training.

    Without hybrid attention K is 1 here, the average, and ``key`` and the gates are zeros.

    key: E_A(l_k), [B, K, A, h, w]
    image, landmarks: q'_y and q'_l of Eq. 6, [B, K, C, h, w]
    image_gate, landmark_gate: ConvGate(q_y), ConvGate(q_l), [B, C, h, w]
    """

    key: Tensor
    image: Tensor
    landmarks: Tensor
    image_gate: Tensor
    landmark_gate: Tensor

    def repeat(self, frames: int) -> Embedding:
        """For windows: every person's embedding for so many frames, [B · frames, …], frames of one person together."""
        return Embedding(*(t.repeat_interleave(frames, dim=0) for t in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """The fields in order."""
        return self.key, self.image, self.landmarks, self.image_gate, self.landmark_gate


@dataclass(frozen=True)
class Attended:
    """What the embedding says for one target frame.

    appearance: e_y, [B, C, h, w] of the last level
    theta: θ^i for every level, the finest first
    """

    appearance: Tensor
    theta: tuple[Theta, ...]


class HybridEmbedding(nn.Module):
    """E_A, E_I, E_L and E_F of §4.2."""

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
        """The part that depends on the references alone.

        images: y_{1:K}, [B, K, 3, H, W] float32 in -1..1; maps: l_{1:K}, [B, K, 1, H, W] float32 in 0..1
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
        """Eq. 3 to 7 for target landmarks l_t, [B, 1, H, W] float32 in 0..1; the embedding's B may be 1."""
        batch = target_map.shape[0]  # len() would fix it in an exported network
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
        """The activation maps α of Eq. 3, [B, K, A, h, w]; over K they sum to 1."""
        energy = embedding.key * self.activation(target_map).unsqueeze(1)
        return energy.float().softmax(dim=1)


class ConvGate(nn.Module):
    """Self-aggregation of K references' features in Eq. 6; departs from the paper, see the head of the file."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # what is the same for all of K drops out of the softmax, and so a bias would
        self.gate = bottleneck(channels, channels // 2, channels, bias=False)
        self.value = bottleneck(channels, channels // 2, channels)

    def forward(self, q: Tensor, of_each: tuple[int, int]) -> Tensor:
        """q: [B · K, C, h, w] with (B, K) = ``of_each``; returns [B, C, h, w]."""
        gate = self.gate(q).unflatten(0, of_each).float().softmax(dim=1)
        return (gate * self.value(q).unflatten(0, of_each)).sum(dim=1)


class Fusion(nn.Module):
    """E_F, Eq. 7: θ = E_F_P(softmax(E_F_L(e_l)) ⊙ E_F_I(e_y)) for N decoder layers."""

    def __init__(self, dims: EmbeddingDims) -> None:
        super().__init__()
        self.grid = dims.grid
        widths = dims.widths
        # from the coarsest level, which is the decoder's first layer, to the finest
        chain = [(widths[-1], widths[-1]), *zip(widths[:0:-1], widths[-2::-1], strict=True)]
        self.image = nn.ModuleList(nn.Sequential(convolution(*pair, 1), activation()) for pair in chain)
        self.landmarks = nn.ModuleList(nn.Sequential(convolution(*pair, 1), activation()) for pair in chain)
        above = (widths[0], *widths[:-1])
        self.weights = nn.ModuleList(
            _Weights(channels, above[i], dims.grid**2, dims.hidden) for i, channels in enumerate(widths)
        )

    def forward(self, landmarks: Tensor, image: Tensor) -> tuple[Theta, ...]:
        """e_l and e_y, [B, C, h, w] of the last level; returns θ of every level, the finest first."""
        landmarks = F.adaptive_avg_pool2d(landmarks, self.grid)
        image = F.adaptive_avg_pool2d(image, self.grid)
        theta: list[Theta] = []
        for i in reversed(range(len(self.weights))):
            stage = len(self.weights) - 1 - i
            landmarks, image = self.landmarks[stage](landmarks), self.image[stage](image)
            # times the positions, so that a softmax that prefers none changes nothing
            share = landmarks.flatten(2).float().softmax(dim=2) * self.grid**2
            theta.insert(0, self.weights[i](share * image.flatten(2)))
        return tuple(theta)


class _Weights(nn.Module):
    """E_F_P of one layer: rows [B, C, positions] → θ^i."""

    def __init__(self, channels: int, above: int, positions: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(positions, hidden), activation())
        self.rows = nn.Linear(hidden, above + 2 * channels + 3)
        self.split = (above + 1, channels + 1, channels + 1)
        # the part of the weights that all persons share; γ and β begin at little
        shared = [
            torch.randn(channels, n) * (gain / n) ** 0.5 for n, gain in zip(self.split, (2.0, 0.3, 0.3), strict=True)
        ]
        self.shared = nn.Parameter(torch.cat(shared, dim=1))
        self.scale = above**-0.5

    def forward(self, rows: Tensor) -> Theta:
        """rows: [B, C, positions]."""
        weights = self.shared + self.scale * self.rows(self.hidden(rows))
        return Theta(*weights.split(self.split, dim=2))


def _tail(dims: EmbeddingDims) -> nn.Sequential:
    """The convolutions from the combined features on to the last level."""
    rest = dims.widths[dims.level :]
    return nn.Sequential(*(down(before, after) for before, after in pairwise(rest)))


def _combine(alpha: Tensor, features: Tensor) -> Tensor:
    """Σ_k α_k ⊙ q'_k of Eq. 6: α [B, K, A, h, w], features [B or 1, K, C, h, w]; returns [B, C, h, w]."""
    batch, count, _, height, width = features.shape
    groups = features.reshape(batch, count, alpha.shape[2], -1, height, width)
    return (alpha.unsqueeze(3) * groups).sum(dim=1).flatten(1, 2)
