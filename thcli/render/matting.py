"""The person's opacity in images of head and shoulders, by the matting network, on ONNX Runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from thcli.errors import WeightsError
from thcli.images import resized
from thcli.onnx_files import open_network
from thcli.records import Image

LOW, HIGH = 0.15, 0.75
"""Answers of the network that stand for a place without and for one wholly of the person; it is seldom quite sure."""


class Matting:
    """The matting network of a file, on one thread: with more, its answers would differ by a hair.

    Raises WeightsError where the file is damaged or another network.
    """

    def __init__(self, path: Path) -> None:
        self._session = open_network(path, "matting", threads=1, arena=False)
        names = [[node.name for node in nodes] for nodes in (self._session.get_inputs(), self._session.get_outputs())]
        if names != [["image"], ["opacity"]]:
            raise WeightsError(f"{path}: not the matting network (inputs and outputs {names}); get the file again")
        self._size = int(self._session.get_inputs()[0].shape[-1])

    def opacity(self, images: Image) -> Image:
        """Return the opacity [K, S, S] uint8 of the person in square images [K, S, S, 3] uint8: 255 where opaque."""
        found = np.empty(images.shape[:3], np.uint8)
        for image, seen in zip(images, found, strict=True):
            colours = torch.from_numpy(image).permute(2, 0, 1)[None].float().div_(255)
            (answer,) = self._session.run(None, {"image": resized(colours, self._size).numpy()})
            opacity = torch.from_numpy(((answer - LOW) / (HIGH - LOW)).clip(0, 1))
            seen[:] = resized(opacity, images.shape[1])[0, 0].mul(255).round().byte()
        return found
