"""The adversary of Θ: the discriminators of §4.4 with the hinge loss and the feature matching of Eq. 8."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thgen_models.discriminator import DiscriminatorDims, Discriminators


class Adversary(nn.Module):
    """Critic of the training loop; it returns its losses per frame, so that processes can share the frames."""

    def __init__(self, dims: DiscriminatorDims) -> None:
        super().__init__()
        self.discriminators = Discriminators(dims)

    def forward(self, made: Tensor, real: Tensor, target_map: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return three losses [F], means over the scales, of images [F, 3, H, W] in -1..1 and maps [F, 1, H, W].

        - The adversarial loss of Θ, low where the generated images pass for real.
        - Feature matching, which also trains Θ: the distance of the generated images' features from the real images'.
        - The hinge loss of the discriminators themselves.
        """
        answers = [self.discriminators(image, target_map) for image in (made, made.detach(), real)]
        fooled, matched, wrong = [], [], []
        for judged, caught, true in zip(*answers, strict=True):
            fooled.append(-_each(judged[-1]))
            layers = zip(judged[:-1], true[:-1], strict=True)
            matched.append(torch.stack([_each((own - goal.detach()).abs()) for own, goal in layers]).mean(dim=0))
            wrong.append(_each(F.relu(1 - true[-1])) + _each(F.relu(1 + caught[-1])))
        fool, match, err = (torch.stack(scales).mean(dim=0) for scales in (fooled, matched, wrong))
        return fool, match, err


def _each(x: Tensor) -> Tensor:
    """Mean of each example, in float32: [F, …] → [F]."""
    return x.float().flatten(1).mean(dim=1)
