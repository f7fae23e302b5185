"""Images that show in TensorBoard what a network makes of held-out subjects."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from thcli.records import Float, Image

WIDTH, PANEL, MARGIN, LINE = 900, 120, 10, 16
"""Width of an image of curves; heights of a panel, of the margin around it, and of its title; px."""
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (215, 215, 215)
"""Colours of the background, of text, and of the frame of a panel."""
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))
"""Colours of the curves, from Okabe and Ito's palette, which colour-blind people can tell apart."""


def draw_curves(panels: Mapping[str, Mapping[str, Float]]) -> Image:
    """Draw an image [H, W, 3] uint8 of named panels, one below the other, each with named curves [T] over time."""
    height = PANEL + LINE + 2 * MARGIN
    sheet = Pillow.new("RGB", (WIDTH, height * len(panels)), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, (name, curves) in enumerate(panels.items()):
        top = number * height + MARGIN + LINE
        values = np.concatenate(list(curves.values()))
        low, high = float(values.min()), float(values.max())
        draw.text((MARGIN, top - LINE), f"{name}: {low:.3g} to {high:.3g}", INK)
        draw.rectangle((MARGIN, top, WIDTH - MARGIN, top + PANEL), outline=FAINT)
        for index, (label, curve) in enumerate(curves.items()):
            colour = COLOURS[index % len(COLOURS)]
            draw.text((WIDTH // 2 + 100 * index, top - LINE), label, colour)
            x = np.linspace(MARGIN, WIDTH - MARGIN, len(curve))
            y = top + PANEL * (high - curve) / max(high - low, 1e-6)
            draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=2)
    return np.asarray(sheet)


def draw_meshes(images: Image, meshes: Float, columns: int = 4) -> Image:
    """Draw the vertices of meshes [N, V, 3] px as dots on their images [N, S, S, 3] uint8, and tile the images."""
    dotted = images.copy()
    for image, mesh in zip(dotted, meshes, strict=True):
        x, y = np.rint(mesh[:, :2]).astype(int).clip(0, images.shape[1] - 1).T
        image[y, x] = (90, 255, 120)
    return tile(dotted, columns)


def tile(images: Image, columns: int) -> Image:
    """Tile images [N, S, S, 3] uint8 in rows of ``columns``: [H, W, 3] uint8."""
    rows, size = -(-len(images) // columns), images.shape[1]
    sheet = np.zeros((rows * size, columns * size, 3), np.uint8)
    for number, image in enumerate(images):
        row, column = divmod(number, columns)
        sheet[row * size : (row + 1) * size, column * size : (column + 1) * size] = image
    return sheet
