"""Θ's adversary: the discriminators of §4.4 with the hinge loss and the feature matching of Eq. 8."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thgen_models.discriminator import DiscriminatorDims, Discriminators


class Adversary(nn.Module):
    """The loop's critic: a row of losses for every frame, so that processes can share the frames."""

    def __init__(self, dims: DiscriminatorDims) -> None:
        super().__init__()
        self.discriminators = Discriminators(dims)

    def forward(self, made: Tensor, real: Tensor, target_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of pictures [F, 3, H, W] in -1..1 and landmark maps [F, 1, H, W], three losses [F], means over the scales.

        fooled: low where the made pictures pass for real; matched: how far their features are from the real ones';
        both train Θ. wrong: the hinge loss of the discriminators themselves.
        """
        answers = [self.discriminators(picture, target_map) for picture in (made, made.detach(), real)]
        fooled, matched, wrong = [], [], []
        for judged, caught, true in zip(*answers, strict=True):
            fooled.append(-_each(judged[-1]))
            layers = zip(judged[:-1], true[:-1], strict=True)
            matched.append(torch.stack([_each((own - goal.detach()).abs()) for own, goal in layers]).mean(dim=0))
            wrong.append(_each(F.relu(1 - true[-1])) + _each(F.relu(1 + caught[-1])))
        fool, match, err = (torch.stack(scales).mean(dim=0) for scales in (fooled, matched, wrong))
        return fool, match, err


def _each(x: Tensor) -> Tensor:
    """The mean of each example, in float32: [F, …] → [F]."""
    return x.float().flatten(1).mean(dim=1)
