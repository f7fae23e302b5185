"""Photos: one upright RGB frame, whatever Pillow opens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

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


@pytest.mark.parametrize("name", ["a.jpg", "a.tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_read_clip_turns_a_photo_upright_as_exif_says(tmp_path, name, orientation):
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }  # fmt: skip
    stored = photo().transpose(undo[orientation]) if orientation in undo else photo()
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / name, quality=95, exif=exif)
    assert_same(tmp_path / name, photo(), 6)


def test_read_clip_puts_white_behind_transparency(tmp_path):
    image = photo().convert("RGBA")
    image.putalpha(0)
    image.save(tmp_path / "a.png")
    assert (read_clip(tmp_path / "a.png").frames == 255).all()


MODES = {"RGB": ("jpg", "png", "webp", "tif"), "RGBA": ("png", "webp", "tif"), "P": ("png", "tif")}
"""Formats of photos with a profile, by Pillow's modes."""


def fixed(values: list[float]) -> bytes:
    """Numbers of an ICC profile: s15Fixed16."""
    return b"".join(round(value * 65536).to_bytes(4, "big", signed=True) for value in values)


def icc(space: bytes, connection: bytes, tags: dict[bytes, bytes], kind: bytes = b"mntr") -> bytes:
    """An ICC profile, version 2, of a colour space."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(D50), **tags}
    body, table, at = b"", len(tags).to_bytes(4, "big"), 132 + 12 * len(tags)
    for name, data in tags.items():
        data += bytes(-len(data) % 4)
        table += name + (at + len(body)).to_bytes(4, "big") + len(data).to_bytes(4, "big")
        body += data
    head = bytes(8) + b"\x02\x20\0\0" + kind + space + connection + bytes(12) + b"acsp" + bytes(28) + fixed(D50)
    profile = head + bytes(128 - len(head)) + table + body
    return len(profile).to_bytes(4, "big") + profile[4:]


D50 = [0.9642, 1.0, 0.8249]
P3 = [[0.51512, 0.24120, -0.00105], [0.29198, 0.69225, 0.04189], [0.15710, 0.06657, 0.78407]]
"""XYZ of Display P3's red, green and blue, for D50."""
SRGB_TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])


def wide_profile() -> bytes:
    """A profile with the primaries of Display P3 and a gamma of 2.2."""
    gamma = b"curv" + bytes(4) + b"\0\0\0\1" + round(2.2 * 256).to_bytes(2, "big")
    tags = {name + b"TRC": gamma for name in (b"r", b"g", b"b")}
    tags |= {name + b"XYZ": b"XYZ " + bytes(4) + fixed(xyz) for name, xyz in zip((b"r", b"g", b"b"), P3, strict=True)}
    return icc(b"RGB ", b"XYZ ", tags)


def ink_profile() -> bytes:
    """A profile of CMYK whose cyan ink is red: L*, a*, b* of every corner of the cube of inks."""
    ramp = bytes(range(256))
    corners = bytearray()
    for corner in range(16):
        cyan, magenta, yellow, key = (corner >> bit & 1 for bit in (3, 2, 1, 0))
        lab = (50.0, 50.0, 30.0) if cyan and not (magenta or yellow or key) else (100.0 * (1 - key), 0.0, 0.0)
        corners += bytes([round(lab[0] * 2.55), round(lab[1]) + 128, round(lab[2]) + 128])
    table = (
        b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + fixed([1, 0, 0, 0, 1, 0, 0, 0, 1]) + ramp * 4 + corners + ramp * 3
    )
    return icc(b"CMYK", b"Lab ", {b"A2B0": table, b"A2B1": table}, b"prtr")


@pytest.mark.parametrize(
    ("name", "mode"),
    [(f"a.{kind}", mode) for mode, kinds in MODES.items() for kind in kinds],
)
def test_read_clip_converts_a_photo_by_its_profile(tmp_path, name, mode):
    linear = (np.asarray(photo()) / 255.0 + 0.055) / 1.055
    wide = (255 * ((linear**2.4) @ SRGB_TO_P3.T) ** (1 / 2.2)).round().astype(np.uint8)
    stored = Image.fromarray(wide)
    stored = stored.quantize(8) if mode == "P" else stored.convert(mode)
    lossless = {"lossless": True} if name == "a.webp" else {"quality": 98}
    stored.save(tmp_path / name, icc_profile=wide_profile(), **lossless)
    assert probe(tmp_path / name).notes == ()
    assert_same(tmp_path / name, photo(), 4)


def test_read_clip_converts_cmyk_by_its_profile(tmp_path):
    image = np.zeros((40, 60, 4), np.uint8)
    image[:, :30, 0], image[:, 30:, 3] = 255, 128
    Image.fromarray(image, "CMYK").save(tmp_path / "a.tif", icc_profile=ink_profile())
    frame = read_clip(tmp_path / "a.tif").frames[0].astype(int)
    assert np.abs(frame[20, [10, 50]] - [(203, 76, 71), (118, 118, 118)]).max() <= 4


def test_read_clip_leaves_a_photo_in_srgb_as_it_is(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(values).save(tmp_path / "a.png", icc_profile=profile)
    np.testing.assert_array_equal(read_clip(tmp_path / "a.png").frames[0], values)


@pytest.mark.parametrize("profile", [b"no profile", wide_profile()[:200], ink_profile()])
def test_probe_notes_a_profile_that_cannot_be_used(tmp_path, profile):
    photo().save(tmp_path / "a.png", icc_profile=profile)
    (note,) = probe(tmp_path / "a.png").notes
    assert note.startswith(f"{tmp_path / 'a.png'}: its colour profile cannot be used") and "\n" not in note
    assert_same(tmp_path / "a.png", photo(), 0)


def test_read_clip_refuses_an_animated_webp(tmp_path):
    other = photo().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    photo().save(tmp_path / "a.webp", save_all=True, append_images=[other], duration=100)
    with pytest.raises(MediaError, match=r"a\.webp: an animated WebP, .*convert it to MP4"):
        read_clip(tmp_path / "a.webp")


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
