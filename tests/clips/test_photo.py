"""Photos: one upright RGB frame, whatever Pillow opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips.decode import read_clip, stream_frames
from thcli.clips.probe import probe
from thcli.errors import MediaError

RED, GREEN, BLUE, GREY = (220, 30, 30), (30, 200, 40), (30, 40, 210), (120, 120, 120)


def photo() -> Image.Image:
    """Red and green above blue and grey, wider than high."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:20, :30], pixels[:20, 30:], pixels[20:, :30], pixels[20:, 30:] = RED, GREEN, BLUE, GREY
    return Image.fromarray(pixels)


def assert_same(path: Path, expected: Image.Image, tolerance: int) -> None:
    clip = read_clip(path)
    info = probe(path)
    wanted = np.asarray(expected.convert("RGB")).astype(int)
    assert info.image and not info.video and not info.audio
    assert clip.frames.shape == (1, info.height, info.width, 3) == (1, *wanted.shape)
    inside = (slice(4, -4, 5), slice(4, -4, 5))
    difference = np.abs(clip.frames[0].astype(int) - wanted)[inside]
    assert np.median(difference) <= tolerance
    np.testing.assert_array_equal(next(stream_frames(path)), clip.frames[0])


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.bmp", "a.tif", "a.ppm"])
def test_read_clip_reads_photos_of_any_format(tmp_path, name):
    photo().save(tmp_path / name)
    assert_same(tmp_path / name, photo(), 6)


@pytest.mark.parametrize("mode", ["L", "P", "1", "LA", "RGBA", "I;16"])
def test_read_clip_reads_png_of_any_mode(tmp_path, mode):
    if mode == "I;16":
        grey = np.asarray(photo().convert("L"))
        Image.fromarray(grey.astype(np.uint16) * 257).save(tmp_path / "a.png")
        assert_same(tmp_path / "a.png", Image.fromarray(grey), 1)
    else:
        image = photo().convert(mode)
        image.save(tmp_path / "a.png")
        assert_same(tmp_path / "a.png", image, 2)


def test_read_clip_reads_a_jpeg_in_cmyk(tmp_path):
    photo().convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert_same(tmp_path / "a.jpg", photo(), 8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_clip_turns_a_photo_upright_as_exif_says(tmp_path, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = photo().transpose(undo[orientation]) if orientation in undo else photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", quality=95, exif=exif)
    assert_same(tmp_path / "a.jpg", photo(), 6)


def test_read_clip_puts_white_behind_transparency(tmp_path):
    image = photo().convert("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert (read_clip(tmp_path / "a.png").frames == 255).all()


def test_probe_takes_a_still_gif_for_a_photo(tmp_path):
    photo().save(tmp_path / "a.gif")
    assert probe(tmp_path / "a.gif").image


def test_probe_knows_a_photo_by_its_content(tmp_path):
    photo().save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "photo.mp4")
    assert probe(tmp_path / "photo.mp4").image


def test_read_clip_refuses_truncated_and_too_large_photos(tmp_path, monkeypatch):
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(data[: len(data) // 2])
    with pytest.raises(MediaError, match=r"a\.png: .*cut off"):
        read_clip(tmp_path / "a.png")
    photo().save(tmp_path / "big.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(MediaError, match="megapixels"):
        read_clip(tmp_path / "big.png")


def test_read_clip_says_how_to_convert_heic(tmp_path):
    (tmp_path / "a.heic").write_bytes(b"\x00\x00\x00\x18ftypheic" + bytes(100))
    with pytest.raises(MediaError, match="convert it to JPEG"):
        read_clip(tmp_path / "a.heic")
