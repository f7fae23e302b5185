"""The opacity of the person in images of head and shoulders, by the matting network, and whether the rest rests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from thcli.cropping import resize_frame
from thcli.errors import WeightsError
from thcli.onnx_files import open_network
from thcli.opencv import cv2
from thcli.records import Image

LOW, HIGH = 0.15, 0.75
"""Answers of the network that stand for a place without and for one wholly of the person; it is seldom quite sure."""
SEEN = 0.02
"""Opacity from which a place belongs to the person's outline, not to the background alone."""
COMPARED = 64
"""Side of the maps on which backgrounds are compared."""
MOVING = 0.025
"""Mean difference of two backgrounds, 0..1, above which a camera moves, or people pass; five in six clips lie below."""


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
            colours = resize_frame(image, (self._size,) * 2, linear=True).transpose(2, 0, 1)
            (answer,) = self._session.run(None, {"image": colours[None].astype(np.float32) / np.float32(255)})
            opacity = ((answer[0, 0] - LOW) / (HIGH - LOW)).clip(0, 1)
            seen[:] = np.round(255 * cv2.resize(opacity, seen.shape, interpolation=cv2.INTER_LINEAR))
        return found


def background_rests(images: Image, opacity: Image) -> bool:
    """Return whether all references [K, S, S, 3] uint8 show the same background, by their opacity [K, S, S] uint8."""
    size = (COMPARED, COMPARED)
    colours = np.stack([resize_frame(image, size, linear=True) for image in images]).astype(np.float32) / 255
    person = np.stack([resize_frame(seen, size, linear=True) for seen in opacity]).astype(np.float32) / 255
    near = [cv2.dilate(seen, np.ones((3, 3), np.uint8)) for seen in (person / SEEN).clip(max=1)]
    known = 1 - np.stack(near)
    for i in range(1, len(colours)):
        both = known[i] * known[:i]
        difference = np.abs(colours[i] - colours[:i]).mean(axis=3) * both
        if (difference.sum(axis=(1, 2)) > MOVING * both.sum(axis=(1, 2))).any():
            return False
    return True
