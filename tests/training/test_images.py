"""The images that training shows in TensorBoard."""

from __future__ import annotations

import numpy as np

from thcli.training.images import COLOURS, PANEL, draw_curves, draw_meshes


def test_draw_curves_scales_a_panel_to_the_range_of_its_curves() -> None:
    rising, falling = np.linspace(-1, 1, 50, dtype=np.float32), np.linspace(5, 4, 50, dtype=np.float32)
    image = draw_curves({"one": {"rising": rising}, "two": {"falling": falling}})
    top, bottom = np.split(image, 2)
    for panel, sign in ((top, -1), (bottom, 1)):
        y, x = np.nonzero((panel[30:] == COLOURS[0]).all(-1))
        assert np.corrcoef(x, y)[0, 1] * sign > 0.99 and np.ptp(y) > 0.9 * PANEL


def test_draw_meshes_marks_vertices_where_they_are() -> None:
    images = np.full((5, 32, 32, 3), 9, np.uint8)
    meshes = np.full((5, 1, 3), 7, np.float32)
    meshes[4] = [[3, 40, 0]]
    image = draw_meshes(images, meshes)
    assert image.shape == (64, 128, 3)
    dots = np.argwhere((image == (90, 255, 120)).all(-1))
    assert sorted(map(tuple, dots.tolist())) == [(7, 7), (7, 39), (7, 71), (7, 103), (63, 3)]
