"""Reading of photos with Pillow: upright, sRGB, on white where they are transparent."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image as Pillow
from PIL import ImageCms, ImageOps, UnidentifiedImageError

from thcli.clips.ffmpeg import label
from thcli.errors import MediaError, ThgenError
from thcli.records import Image

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM")
"""Formats that are read, by Pillow's names."""
MOVING = ("GIF", "PNG")
"""Formats that may hold an animation (for ffmpeg); several images in a JPEG or TIFF are views or pages of a photo."""
_EXIF_ORIENTATION = 0x0112
"""EXIF tag of a photo's orientation."""
_UNUSABLE = (ImageCms.PyCMSError, OSError, ImportError)
"""Errors for a colour profile that is damaged or has other channels than the photo, or a Pillow without littleCMS."""
_SRGB_ROUNDING = 2
"""Most levels, of 255, by which littleCMS changes values in the conversion of sRGB to sRGB."""
_HEIC_BRANDS = (b"heic", b"heix", b"mif1", b"msf1", b"heim", b"avif")
"""Brands of the ISO media files that are HEIC or AVIF photos."""


@dataclass(frozen=True)
class PhotoSize:
    """Size of a photo.

    width, height: pixels of the upright photo
    format: Pillow's name of its format
    notes: lines on what cannot be read as the file states it
    """

    width: int
    height: int
    format: str
    notes: tuple[str, ...] = ()


def photo_size(path: Path) -> PhotoSize | None:
    """Return the size of a photo, or None where the file is not one but a video, audio or an animation.

    Raises MediaError for a HEIC or AVIF photo and for an animated WebP.
    """
    with open(path, "rb") as file:
        head = file.read(12)
    if head[4:8] == b"ftyp" and head[8:12] in _HEIC_BRANDS:
        # ffmpeg would read one tile of the grid that such a photo is made of.
        raise MediaError(f"{label(path)}: a HEIC or AVIF photo, which thgen does not read; convert it to JPEG or PNG")
    with _opened(path) as photo:
        if photo is None or (photo.format in MOVING and getattr(photo, "is_animated", False)):
            return None
        if photo.format == "WEBP" and getattr(photo, "is_animated", False):
            raise MediaError(f"{label(path)}: an animated WebP, which thgen does not read; convert it to MP4")
        if photo.format == "TIFF":
            photo.load()  # turns it, where Pillow has not swapped width and height on opening
        turned = photo.getexif().get(_EXIF_ORIENTATION) in (5, 6, 7, 8)
        width, height = photo.size[::-1] if turned else photo.size
        try:
            _to_srgb(photo)
        except _UNUSABLE as error:
            why = f"its colour profile cannot be used ({' '.join(str(error).split())}), and is left out"
            return PhotoSize(width, height, str(photo.format), (f"{label(path)}: {why}; export it as sRGB",))
        return PhotoSize(width, height, str(photo.format))


def read_photo(path: Path) -> Image:
    """Read a photo as [H, W, 3] uint8, sRGB by its colour profile, turned as its EXIF says."""
    with _opened(path) as photo:
        if photo is None:
            raise MediaError(f"{label(path)}: not a photo that Pillow reads; convert it to JPEG or PNG")
        return np.array(_rgb(ImageOps.exif_transpose(photo)))


@contextmanager
def _opened(path: Path) -> Iterator[Pillow.Image | None]:
    """Yield the open photo, or None where Pillow does not know the format; damage found in use becomes a MediaError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Pillow.DecompressionBombWarning)
        try:
            try:
                photo = Pillow.open(path, formats=FORMATS)
            except UnidentifiedImageError:
                yield None
                return
            with photo:
                yield photo
        except (Pillow.DecompressionBombError, Pillow.DecompressionBombWarning) as error:
            limit = (Pillow.MAX_IMAGE_PIXELS or 0) // 1_000_000
            raise MediaError(f"{label(path)}: more than {limit} megapixels; make the photo smaller") from error
        except (ThgenError, MemoryError):
            raise
        except Exception as error:
            # Pillow's readers raise all sorts of errors for damaged files: struct.error, KeyError…
            reason = " ".join(str(error).split()) or type(error).__name__
            raise MediaError(
                f"{label(path)}: the photo is damaged or cut off ({reason}); use a complete copy"
            ) from error


def _rgb(photo: Pillow.Image) -> Pillow.Image:
    try:
        to_srgb = _to_srgb(photo)
    except _UNUSABLE:
        to_srgb = None
    if photo.mode.startswith("I") or photo.mode == "F":
        grey = np.asarray(photo, dtype=np.float32)
        full = 65535.0 if grey.max() > 255 else 255.0  # Pillow would clip 16-bit grey at 255
        return _converted(Pillow.fromarray(np.clip(grey * (255.0 / full), 0, 255).astype(np.uint8)), to_srgb)
    if photo.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in photo.info:
        rgba = photo.convert("RGBA")
        below = _converted(rgba.convert(_channels(photo)), to_srgb)
        below.putalpha(rgba.getchannel("A"))
        white = Pillow.new("RGBA", rgba.size, "white")
        return Pillow.alpha_composite(white, below).convert("RGB")
    return _converted(photo.convert(_channels(photo)), to_srgb)


def _channels(photo: Pillow.Image) -> str:
    """Return the mode without transparency or palette in which a photo's colours are converted."""
    if photo.mode == "CMYK":
        return "CMYK"
    return "L" if photo.mode in ("1", "F") or (photo.mode.startswith(("L", "I")) and photo.mode != "LAB") else "RGB"


def _to_srgb(photo: Pillow.Image) -> ImageCms.ImageCmsTransform | None:
    """Return the transform from a photo's colour profile to sRGB, or None without a profile. Raises ``_UNUSABLE``."""
    profile = photo.info.get("icc_profile")
    if not profile:
        return None
    srgb, intent = ImageCms.createProfile("sRGB"), ImageCms.Intent.RELATIVE_COLORIMETRIC
    embedded = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    return ImageCms.buildTransform(embedded, srgb, _channels(photo), "RGB", intent)


def _converted(photo: Pillow.Image, to_srgb: ImageCms.ImageCmsTransform | None) -> Pillow.Image:
    """Return a photo in sRGB, unchanged where its profile is that of sRGB."""
    plain = photo.convert("RGB")
    if to_srgb is None:
        return plain
    converted = to_srgb.apply(photo)
    moved = np.abs(np.asarray(converted, np.int16) - np.asarray(plain, np.int16)).max()
    return plain if moved <= _SRGB_ROUNDING else converted
