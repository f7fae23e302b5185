"""Colours of videos as their tags say, brought to RGB of BT.709: by ffmpeg's zscale, or in NumPy where that is missing.

HDR is display light in which 203 cd/m², the diffuse white of BT.2408, is white. Light up to ``KNEE`` of that stays as
it is, and brighter light is pressed into the rest. HLG takes its system gamma of 1.2 channel by channel, as zscale does
by default; the exact way of zscale differs between versions of ffmpeg, by 13 of 255 on greys and 47 on red.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thcli.records import Float, Image

FILTERS = ("zscale", "tonemap")
"""Filters of ffmpeg that convert colours in ``in_rgb``."""
WHITE = 203.0
"""Light in cd/m² that is shown as white (BT.2408)."""
PEAKS = {"arib-std-b67": 1000.0, "smpte2084": 10_000.0}
"""Light in cd/m² of the highest code value, by the transfer: HLG on its reference display, and PQ."""
KNEE = 0.95
"""Light relative to white above which it is pressed together."""
PRIMARIES = {
    "bt709": (0.64, 0.33, 0.30, 0.60, 0.15, 0.06),
    "bt2020": (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    "smpte432": (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    "bt470bg": (0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    "smpte170m": (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    "smpte240m": (0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
}
"""Chromaticities x, y of red, green and blue with the white D65, by name; others are taken for BT.709."""
MATRICES = {
    "bt709": ("bt709", "709"),
    "bt470bg": ("bt470", "470bg"),
    "smpte170m": ("smpte170m", "170m"),
    "smpte240m": ("smpte240m", "240m"),
    "fcc": ("fcc", "fcc"),
    "bt2020nc": ("bt2020", "2020_ncl"),
}
"""Names of the matrices of YUV in swscale and in zscale."""
_D65 = (0.3127, 0.3290)
_GAMMA = 2.4
"""Exponent of an SDR display (BT.1886)."""
_SWSCALE_WHITE = 255 << 8
"""White of the RGB of 16 bits that swscale makes of YUV; 65535 would be right."""


@dataclass(frozen=True)
class Tags:
    """Colours that a video's stream is tagged with, by ffmpeg's names, "unknown" without a tag.

    matrix: colour matrix of YUV; "gbr" for RGB
    primaries, transfer: primaries and transfer curve
    full_range: whether YUV takes all code values
    alpha: whether the frames have transparency
    """

    matrix: str = "unknown"
    primaries: str = "unknown"
    transfer: str = "unknown"
    full_range: bool = False
    alpha: bool = False

    @property
    def gamut(self) -> str:
        """Name of the primaries in ``PRIMARIES``."""
        if self.primaries in PRIMARIES:
            return self.primaries
        return "bt2020" if self.transfer in PEAKS else "bt709"

    @property
    def converted(self) -> bool:
        """Whether the colours differ from those of BT.709, for which a video without tags is taken."""
        return self.transfer in PEAKS or self.gamut != "bt709"


def in_rgb(frames: Any, tags: Tags, size: tuple[int, int], hd: bool, convert: bool) -> Any:
    """Return an ffmpeg-python stream of RGB of (width, height) px, on white where it has transparency.

    hd: whether the video is HD
    convert: whether to convert it to BT.709, which needs ``FILTERS``; otherwise ``to_bt709`` does it
    """
    tags = tags if tags.matrix != "unknown" else replace(tags, matrix=_assumed_matrix(tags, hd))
    # Interpolated chroma takes 1.6 times the processor time, and in HD its pixels are small compared with a face.
    flags = "bicubic+accurate_rnd" if hd else "bicubic+accurate_rnd+full_chroma_int"
    if tags.alpha:
        # Laid on white before it is scaled, which would mix in the colours below.
        frames, tags = _on_white(frames.filter("scale", flags=flags, **_given(tags))), replace(tags, matrix="gbr")
    if not (convert and tags.converted):
        return frames.filter("scale", *size, flags=flags, **_given(tags))
    kept = {"out_range": "full"} if _given(tags).get("in_range") else {}
    return _to_bt709(frames.filter("scale", *size, flags=flags, **_given(tags), **kept), tags)


def _assumed_matrix(tags: Tags, hd: bool) -> str:
    """Return the matrix that is usual where none is tagged; swscale would take all for BT.601."""
    if tags.gamut == "bt2020":
        return "bt2020nc"
    return "bt709" if hd else "smpte170m"


def _given(tags: Tags) -> dict[str, str]:
    """Return swscale's options for the tags of YUV, which some filters of ffmpeg 7 lose."""
    if tags.matrix not in MATRICES:
        return {}
    return {"in_color_matrix": MATRICES[tags.matrix][0], **({"in_range": "full"} if tags.full_range else {})}


def _on_white(frames: Any) -> Any:
    frames = frames.filter("format", "gbrap").split()
    white = frames[1].filter("lutrgb", r="maxval", g="maxval", b="maxval", a="maxval")
    return white.overlay(frames[0], format="gbrp")


def _to_bt709(frames: Any, tags: Tags) -> Any:
    yuv, rgb = tags.matrix in MATRICES, {"m": "gbr", "r": "full"}
    given = {
        "min": MATRICES[tags.matrix][1] if yuv else "gbr",
        "rin": "full" if tags.full_range or not yuv else "limited",
        "tin": tags.transfer if tags.transfer in PEAKS else "bt709",
        "pin": tags.gamut,
    }
    # In its own depth, as swscale's white is wrong where it is not; 4:4:4, as zscale refuses 4:2:0 of an odd size.
    frames = frames.filter("format", "yuv444p|yuv444p10le|yuv444p12le" if yuv else "gbrp16le")
    if tags.transfer not in PEAKS:
        return frames.filter("zscale", t="bt709", p="bt709", **given, **rgb).filter("format", "gbrp")
    return (
        frames.filter("zscale", t="linear", p="bt709", npl=WHITE, **given, **rgb)
        .filter("format", "gbrpf32le")
        .filter("tonemap", "mobius", param=KNEE, peak=PEAKS[tags.transfer] / WHITE, desat=0)
        .filter("zscale", tin="linear", pin="bt709", t="bt709", p="bt709", min="gbr", rin="full", **rgb)
        .filter("format", "gbrp")
    )


def to_bt709(frame: NDArray[np.uint16], tags: Tags) -> Image:
    """Convert a frame [H, W, 3] of swscale's 16-bit RGB to [H, W, 3] uint8 of BT.709, as zscale does."""
    light = _light(tags.transfer)[frame] @ _from_primaries(tags.gamut)
    if tags.transfer in PEAKS:
        # The maximum along the last axis takes ten times as long.
        most = np.maximum(np.maximum(light[..., :1], light[..., 1:2]), light[..., 2:])
        light *= _tone(most, PEAKS[tags.transfer] / WHITE)
    code = np.clip(light, 0, 1) ** np.float32(1 / _GAMMA)
    return (code * 255 + np.float32(0.5)).astype(np.uint8)


@lru_cache(maxsize=4)
def _light(transfer: str) -> Float:
    """Return the display light, relative to white, of every 16-bit code value: [65536] float32."""
    code = np.minimum(np.arange(1 << 16) / _SWSCALE_WHITE, 1)
    if transfer == "smpte2084":
        power = code ** (1 / 78.84375)
        light = (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
    elif transfer == "arib-std-b67":
        scene = np.where(code <= 0.5, code**2 / 3, (np.exp((code - 0.55991073) / 0.17883277) + 0.28466892) / 12)
        light = scene**1.2
    else:
        light = code**_GAMMA
    return (light * PEAKS.get(transfer, WHITE) / WHITE).astype(np.float32)


@lru_cache(maxsize=8)
def _from_primaries(name: str) -> Float:
    """Return the matrix [3, 3] float32 that takes linear RGB of some primaries to BT.709's, applied from the right."""
    return (_to_xyz(name).T @ np.linalg.inv(_to_xyz("bt709")).T).astype(np.float32)


def _to_xyz(name: str) -> NDArray[np.float64]:
    chromaticities = [*zip(PRIMARIES[name][::2], PRIMARIES[name][1::2], strict=True), _D65]
    *columns, white = (np.array([x / y, 1, (1 - x - y) / y]) for x, y in chromaticities)
    basis = np.stack(columns, axis=1)
    return np.asarray(basis * np.linalg.solve(basis, white))


def _tone(most: Float, peak: float) -> Float:
    """Return factors for light whose highest channel is ``most``: ffmpeg's Möbius curve, linear up to ``KNEE``."""
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    bright = np.maximum(most, np.float32(KNEE))
    pressed = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a) * (bright + a) / (bright + b)
    return np.where(most > KNEE, pressed / bright, np.float32(1)).astype(np.float32)
