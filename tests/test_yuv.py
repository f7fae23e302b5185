"""Frames in YUV: windows in RGB, and changes that leave all other bytes alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from thcli.records import CropBox
from thcli.yuv import LUMA_WEIGHTS, YuvColours, YuvFrame


def frame(size: tuple[int, int] = (32, 24), colours: YuvColours = YuvColours()) -> YuvFrame:  # noqa: B008 - frozen
    data = colours.empty_frame(size)
    data[:] = np.random.default_rng(0).integers(60, 180, data.size) * colours.step
    return YuvFrame(data, size, colours)


@pytest.mark.parametrize("matrix", LUMA_WEIGHTS)
@pytest.mark.parametrize(
    ("full", "bits", "white", "black"),
    [(False, 8, 235, 16), (True, 8, 255, 0), (False, 10, 940, 64), (True, 10, 1023, 0)],
)
def test_to_rgb_makes_white_of_the_highest_luma_and_black_of_the_lowest(matrix, full, bits, white, black):
    scale, offset = YuvColours(matrix, full, bits).to_rgb()
    grey = 1 << (bits - 1)
    assert np.allclose(scale @ [white, grey, grey] + offset, 1, atol=1e-5)
    assert np.allclose(scale @ [black, grey, grey] + offset, 0, atol=1e-5)


def test_ten_bits_show_what_eight_show():
    eight, ten = frame(), frame(colours=YuvColours(bits=10))
    box = CropBox(-4, 2, 24)
    assert torch.allclose(eight.window(box), ten.window(box), atol=1e-5)
    assert torch.allclose(eight.window(box, 4), ten.window(box, 4), atol=1e-5)
    assert torch.allclose(eight.resampled(box, 10, 0, 0, 10, 10), ten.resampled(box, 10, 0, 0, 10, 10), atol=1e-5)
    assert np.array_equal(eight.reduced(16)[0], ten.reduced(16)[0])


def test_add_changes_ten_bits_in_their_own_steps():
    one = frame(colours=YuvColours(bits=10))
    before = one.y.copy()
    one.add(0, 0, torch.full((3, 24, 32), 1 / 876))
    assert np.array_equal(one.y, before + 1)
    one.add(0, 0, torch.full((3, 24, 32), 9.0))
    assert (one.y == 1023).all()


def test_to_rgb_agrees_with_the_definition_of_bt601():
    scale, offset = YuvColours("smpte170m").to_rgb()
    red = np.array([81, 90, 240], np.float32)  # 75 % less: the 8-bit code of pure red
    assert np.allclose(scale @ red + offset, [1, 0, 0], atol=0.01)


def test_window_repeats_the_border_and_is_the_frame_inside():
    one = frame()
    wide, inner = one.window(CropBox(-4, -4, 40)), one.window(CropBox(4, 4, 16))
    assert wide.shape == (3, 40, 40) and inner.shape == (3, 16, 16)
    assert torch.equal(wide[:, 10:20, 10:20], inner[:, 2:12, 2:12])
    assert torch.equal(wide[:, 5, 0], wide[:, 5, 3])


@pytest.mark.parametrize("step", [2, 4])
def test_a_reduced_window_has_the_colours_of_the_whole_one(step):
    plain = YuvFrame(np.full(32 * 32 * 3 // 2, 120, np.uint8), (32, 32), YuvColours())
    reduced = plain.window(CropBox(0, 0, 32), step)
    assert reduced.shape == (3, 32 // step, 32 // step)
    assert torch.allclose(reduced, plain.window(CropBox(0, 0, 32))[:, ::step, ::step], atol=1e-6)


@pytest.mark.parametrize("size", [8, 16, 40])
def test_resampled_is_the_window_resized_with_antialiasing(size):
    rows = np.add.outer(2.0 * np.arange(48), 1.5 * np.arange(64))
    smooth = [
        (40 + plane).astype(np.uint8).ravel() for plane in (rows, 60 + 0.2 * rows[::2, ::2], 0.5 * rows[::2, ::2])
    ]
    one = YuvFrame(np.concatenate(smooth), (64, 48), YuvColours())
    box = CropBox(12, 6, 32)
    whole = one.resampled(box, size, 0, 0, size, size)
    expected = torch.nn.functional.interpolate(
        one.window(box)[None], size=(size, size), mode="bilinear", antialias=True, align_corners=False
    )[0]
    inner = slice(2, -2)
    assert (whole - expected)[:, inner, inner].abs().max() < 0.02
    assert torch.allclose(one.resampled(box, size, 2, 4, 5, 3), whole[:, 2:7, 4:7], atol=1e-6)


def test_resampled_repeats_the_border():
    plain = YuvFrame(np.full(32 * 24 * 3 // 2, 120, np.uint8), (32, 24), YuvColours())
    beyond = plain.resampled(CropBox(-20, -10, 60), 20, 0, 0, 20, 20)
    assert (beyond - beyond[:, :1, :1]).abs().max() < 1e-5


def test_add_changes_nothing_where_the_change_is_zero():
    one = frame()
    before = one.data.copy()
    change = torch.zeros(3, 8, 8)
    one.add(4, 6, change)
    assert np.array_equal(one.data, before)
    change[:, 2:4, 2:4] = 0.2
    one.add(4, 6, change)
    rows, columns = np.nonzero(one.y != before[: 32 * 24].reshape(24, 32))
    assert set(rows) == {6, 7} and set(columns) == {8, 9}


def test_add_is_undone_by_its_opposite_and_is_cut_at_the_border():
    data = np.random.default_rng(0).integers(110, 140, 32 * 24 * 3 // 2).astype(np.uint8)
    one = YuvFrame(data, (32, 24), YuvColours())
    before = one.window(CropBox(0, 0, 24)).clone()
    change = torch.full((3, 16, 16), 0.1)
    one.add(-8, -8, change)
    after = one.window(CropBox(0, 0, 24))
    assert torch.allclose(after[:, :6, :6] - before[:, :6, :6], torch.full((3, 6, 6), 0.1), atol=0.01)
    assert torch.equal(after[:, 12:, 12:], before[:, 12:, 12:])
    one.add(-8, -8, -change)
    assert (one.window(CropBox(0, 0, 24)) - before).abs().max() < 0.01


def test_reduced_keeps_every_nth_pixel():
    image, step = frame((64, 48)).reduced(32)
    assert image.shape == (24, 32, 3) and step == 2
