"""Contact sheet of images with curves below them, drawn with Pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from thcli.checkpoints import write_atomic
from thcli.records import FPS, Float, Image

COLUMNS = 4
"""Number of images in a row."""
TILE, GAP, MARGIN = 256, 8, 16
"""Side of an image, gap between images, and margin of the sheet, px."""
LINE, PANEL = 18, 140
"""Height of a line of text, and of a panel, px."""
AXIS = 56
"""Width left of a panel for its scale, px."""
PAPER, INK, FAINT = (255, 255, 255), (40, 40, 40), (215, 215, 215)
"""Colours of the background, of text, and of grid lines, RGB."""
COLOURS = ((0, 114, 178), (213, 94, 0), (0, 158, 115))
"""Colours of the curves, RGB: from Okabe and Ito's palette, which colour-blind people can tell apart."""
WIDTH = 2 * MARGIN + COLUMNS * TILE + (COLUMNS - 1) * GAP
"""Width of the sheet, px."""

Panel = tuple[str, Mapping[str, Float]]
"""Title of a panel, and its curves [T] by name."""


def write_sheet(
    path: Path, images: Sequence[tuple[str, Image]], panels: Sequence[Panel], title: Sequence[str] = ()
) -> None:
    """Write a PNG: lines of text, images [H, W, 3] with their captions, and panels of named curves [T] over time."""
    rows = -(-len(images) // COLUMNS)
    top = MARGIN + LINE * len(title) + GAP
    below = top + rows * (TILE + LINE + GAP)
    sheet = Pillow.new("RGB", (WIDTH, below + len(panels) * (PANEL + 3 * LINE) + MARGIN), PAPER)
    draw = ImageDraw.Draw(sheet)
    for number, line in enumerate(title):
        _text(draw, (MARGIN, MARGIN + LINE * number), line)
    for number, (caption, image) in enumerate(images):
        x = MARGIN + number % COLUMNS * (TILE + GAP)
        y = top + number // COLUMNS * (TILE + LINE + GAP)
        sheet.paste(Pillow.fromarray(image).resize((TILE, TILE)), (x, y))
        _text(draw, (x, y + TILE + 2), caption)
    for number, panel in enumerate(panels):
        _draw_panel(draw, below + number * (PANEL + 3 * LINE), panel)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    write_atomic(path, buffer.getvalue())


def draw_points(image: Image, points: Float, radius: float = 1.5) -> Image:
    """Return an image [H, W, 3] with dots at points [P, 2 or 3], pixels."""
    marked = Pillow.fromarray(image)
    draw = ImageDraw.Draw(marked)
    for x, y in points[:, :2]:
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(90, 255, 120))
    return np.asarray(marked)


def _draw_panel(draw: ImageDraw.ImageDraw, top: int, panel: Panel) -> None:
    """Draw a panel with its title, scales, curves and their names, from ``top`` px down."""
    name, curves = panel
    _text(draw, (MARGIN, top), name)
    left, right, high, low = MARGIN + AXIS, WIDTH - 2 * MARGIN, top + 1.5 * LINE, top + 1.5 * LINE + PANEL
    values = np.concatenate(list(curves.values()))
    bottom, peak = float(values.min()), float(values.max())
    peak = max(peak, bottom + 1e-3)
    for share in (0.0, 0.5, 1.0):
        level = low - share * PANEL
        draw.line((left, level, right, level), fill=FAINT)
        _text(draw, (MARGIN, level - LINE / 2), f"{bottom + share * (peak - bottom):.2f}")
    length = max(len(curve) for curve in curves.values())
    for second in range(0, length // FPS + 1, max(1, length // FPS // 12)):
        mark = left + (right - left) * second * FPS / max(length - 1, 1)
        draw.line((mark, high, mark, low), fill=FAINT)
        _text(draw, (mark, low), f"{second} s")
    for number, (label, curve) in enumerate(curves.items()):
        colour = COLOURS[number % len(COLOURS)]
        x = np.linspace(left, left + (right - left) * (len(curve) - 1) / max(length - 1, 1), len(curve))
        y = low - (curve - bottom) / (peak - bottom) * PANEL
        draw.line(list(zip(x.tolist(), y.tolist(), strict=True)), fill=colour, width=2, joint="curve")
        _text(draw, (left + 240 + 100 * number, top), label, colour)


def _text(draw: ImageDraw.ImageDraw, at: tuple[float, float], text: str, colour: tuple[int, int, int] = INK) -> None:
    draw.text(at, text, fill=colour, font=ImageFont.load_default(13))
