"""Crops and the way back, on images whose content is known."""

import math

import numpy as np
import pytest

from thcli.cropping import crop_frame, crop_frames
from thcli.faces.crop import (
    FACE_CENTRE,
    FACE_HEIGHT,
    MADE_UP,
    WIDER,
    FaceCrop,
    crop_note,
    head_crop,
    reference_crop,
    surroundings,
)
from thcli.records import CropBox


def face_boxes(x, y, width=100, height=146, frames=10):
    return np.tile(np.array([x, y, x + width, y + height], np.float32), (frames, 1))


def gradient(height=240, width=320):
    """Red grows with x, green with y, both by half a level a pixel."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = (np.arange(width) + 0.5) / 2
    image[..., 1] = ((np.arange(height) + 0.5) / 2)[:, None]
    return image


def test_crop_box_maps_points_to_the_crop_and_back():
    box = CropBox(-20, 35, 300)
    points = np.random.default_rng(0).uniform(-50, 400, (5, 478, 3)).astype(np.float32)
    assert box.to_crop(points).dtype == np.float32
    np.testing.assert_allclose(box.to_frame(box.to_crop(points)), points, atol=1e-3)
    np.testing.assert_allclose(box.to_crop(np.array([[-20.0, 35.0], [280.0, 335.0]])), [[0, 0], [256, 256]])


def test_head_crop_of_a_still_face_has_the_proportions_of_the_training_clips():
    crop = head_crop(face_boxes(400, 300), (1280, 720))
    face = crop.to_crop(face_boxes(400, 300)[0].reshape(2, 2))
    assert face[1, 1] - face[0, 1] == pytest.approx(FACE_HEIGHT * 256, abs=1)
    np.testing.assert_allclose(face.mean(axis=0) / 256, FACE_CENTRE, atol=0.005)


def test_head_crop_holds_a_moving_face():
    boxes = np.concatenate([face_boxes(x, 300, frames=1) for x in range(200, 500, 10)])
    crop = head_crop(boxes, (1280, 720))
    assert crop.x0 < 200 and crop.x0 + crop.side > 600
    assert crop.y0 < 300 and crop.y0 + crop.side > 446


def test_head_crop_takes_a_square_clip_of_head_and_shoulders_whole():
    assert head_crop(face_boxes(80, 60), (256, 256)) == CropBox(0, 0, 256)
    assert head_crop(face_boxes(80, 60), (512, 512)).side == pytest.approx(256, abs=1)


def test_reference_crop_is_the_head_crop_where_the_picture_holds_it():
    boxes = face_boxes(400, 300)
    assert reference_crop(boxes, (1280, 720)) == head_crop(boxes, (1280, 720))
    assert crop_note(boxes, (1280, 720)) is None


def test_reference_crop_is_the_largest_square_of_a_close_picture():
    boxes, size = face_boxes(60, 90), (220, 400)
    assert head_crop(boxes, size).beyond(size) > MADE_UP
    crop = reference_crop(boxes, size)
    assert crop.side == 220 and crop.beyond(size) == 0
    assert crop_note(boxes, size) == (
        "head and shoulders reach beyond the picture: a square of 220 pixels is shown instead of 256, as large as the "
        "picture holds"
    )


def test_reference_crop_stays_large_where_no_square_inside_the_picture_does():
    boxes, size = face_boxes(30, 90), (160, 400)
    assert reference_crop(boxes, size) == head_crop(boxes, size)
    assert "the whole frame is shown, as with --frame full" in crop_note(boxes, size)


@pytest.mark.parametrize(
    ("box", "size"),
    [
        (CropBox(400, 300, 200), (1280, 720)),
        (CropBox(5, 500, 210), (1280, 720)),
        (CropBox(300, 40, 600), (1280, 720)),
        (CropBox(-40, 10, 700), (500, 720)),
        (CropBox(-30, -20, 400), (300, 250)),
    ],
)
def test_surroundings_hold_the_crop_and_stay_in_the_frame_where_they_fit(box, size):
    around = surroundings(box, size)
    assert box.side <= around.side <= max(round(WIDER * box.side), box.side)
    for start, outer, length in ((box.x0, around.x0, size[0]), (box.y0, around.y0, size[1])):
        assert outer <= start and start + box.side <= outer + around.side
        if around.side <= length:
            assert outer >= 0 and outer + around.side <= length
    if box.side < max(size):
        assert around.side > box.side


def test_surroundings_of_a_whole_frame_are_the_frame():
    assert surroundings(CropBox(0, 0, 512), (512, 512)) == CropBox(0, 0, 512)


def test_shown_gives_the_part_of_a_crop_box_that_the_frame_covers():
    assert CropBox(10, 20, 100).shown((300, 200)) == (0, 0, 1, 1)
    assert CropBox(-10, 120, 100).shown((300, 200)) == pytest.approx((0.1, 0, 1, 0.8))
    assert CropBox(250, -50, 100).shown((300, 200)) == pytest.approx((0, 0.5, 0.5, 1))


def test_crop_frame_of_the_whole_frame_changes_nothing():
    frame = np.random.default_rng(0).integers(0, 256, (256, 256, 3), dtype=np.uint8)
    np.testing.assert_array_equal(crop_frame(frame, CropBox(0, 0, 256)), frame)


@pytest.mark.parametrize("side", [64, 101, 200])
def test_crop_frame_agrees_with_the_points_of_its_box(side):
    frame, box, size = gradient(), CropBox(30, 20, side), 128
    image = crop_frame(frame, box, size)
    centres = np.stack(np.meshgrid(np.arange(8, 120) + 0.5, np.arange(8, 120) + 0.5), axis=-1)
    expected = box.to_frame(centres, size) / 2
    np.testing.assert_allclose(image[8:120, 8:120, :2], expected, atol=1.1)


def test_crop_frame_repeats_the_border_beyond_the_frame():
    frame = gradient(100, 100)
    image = crop_frame(frame, CropBox(-50, -50, 200), 200)
    np.testing.assert_array_equal(image[:50, 50:150], np.broadcast_to(frame[:1], (50, 100, 3)))
    np.testing.assert_array_equal(image[50:150, 150:], np.broadcast_to(frame[:, -1:], (100, 50, 3)))


def test_crop_frames_reduces_without_aliasing():
    frame = np.zeros((512, 512, 3), np.uint8)
    frame[:, ::2] = 255
    assert crop_frames(frame[None], CropBox(0, 0, 512), 128)[0, 8:-8, 8:-8].std() < 2


def face_like(face_model, angle, centre=(150, 120), unit=60):
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    mesh = face_model.canonical * np.float32(unit)
    mesh[:, :2] = mesh[:, :2] @ turn + centre
    return mesh


@pytest.mark.parametrize("angle", [-0.7, 0.0, 0.4])
def test_face_crop_is_upright_and_maps_back(face_model, angle):
    mesh = face_like(face_model, angle)
    crop = FaceCrop.around_mesh(mesh, 128, 1.5)
    assert crop.angle == pytest.approx(angle, abs=1e-3)
    points = crop.to_crop(mesh)
    np.testing.assert_allclose(crop.to_frame(points), mesh, atol=1e-3)
    assert points[33, 1] == pytest.approx(points[263, 1], abs=0.05)
    extent = points[:, :2].max(axis=0) - points[:, :2].min(axis=0)
    assert extent.max() == pytest.approx(128 / 1.5, abs=0.1)
    np.testing.assert_allclose((points[:, :2].max(axis=0) + points[:, :2].min(axis=0)) / 2, 64, atol=0.1)


@pytest.mark.parametrize("angle", [-0.5, 0.0, 0.9])
@pytest.mark.parametrize("side", [60.0, 150.0])
def test_face_crop_extract_agrees_with_its_points(angle, side):
    crop = FaceCrop(160, 120, side, angle, 64)
    image = crop.extract(gradient()).transpose(1, 2, 0) * 255
    centres = np.stack(np.meshgrid(np.arange(4, 60) + 0.5, np.arange(4, 60) + 0.5), axis=-1)
    np.testing.assert_allclose(image[4:60, 4:60, :2], crop.to_frame(centres) / 2, atol=1.1)


def test_face_crop_around_a_box_may_reach_beyond_the_frame():
    crop = FaceCrop.around_box(np.array([-30, -30, 50, 60], np.float32), 64, 1.5)
    assert (crop.side, crop.angle) == (135, 0)
    assert tuple(crop.extract(gradient()).shape) == (3, 64, 64)
