"""Colours of videos: what a file says of them is honoured, by zscale and without it, and transparency lies on white."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips import ffmpeg as ffmpeg_module
from thcli.clips.decode import read_clip
from thcli.clips.probe import probe

PATCHES = np.array(
    [
        (255, 255, 255), (128, 128, 128), (20, 20, 20), (232, 180, 150), (90, 60, 50), (255, 0, 0), (230, 40, 30),
        (40, 200, 60), (50, 60, 230), (240, 200, 40), (50, 210, 220), (200, 50, 190),
    ]
)  # fmt: skip
"""sRGB of white, greys, skin and saturated colours, the purest red among them."""
SIDE = 16
TO_2020 = np.array([[0.6274, 0.3293, 0.0433], [0.0691, 0.9195, 0.0114], [0.0164, 0.0880, 0.8956]])
"""Linear RGB of BT.709 to that of BT.2020 (BT.2087)."""
TO_P3 = np.array([[0.8225, 0.1774, 0.0], [0.0332, 0.9669, 0.0], [0.0171, 0.0724, 0.9108]])
"""Linear RGB of BT.709 to that of Display P3."""
KR_KB = {"bt709": (0.2126, 0.0722), "bt2020nc": (0.2627, 0.0593)}


def pq(light: np.ndarray) -> np.ndarray:
    power = (light * 203 / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * power) / (1 + 18.6875 * power)) ** 78.84375


def hlg(light: np.ndarray) -> np.ndarray:
    scene = (light * 0.203) ** (1 / 1.2)
    bright = 0.17883277 * np.log(np.maximum(12 * scene - 0.28466892, 1e-9)) + 0.55991073
    return np.where(scene <= 1 / 12, np.sqrt(3 * scene), bright)


def sdr(light: np.ndarray) -> np.ndarray:
    return light ** (1 / 2.4)


@pytest.fixture
def patches(make, tmp_path):
    """patches(code, matrix, primaries, transfer, full=False): a 10-bit video of patches of R'G'B' [N, 3] in 0..1."""

    def run(code, matrix, primaries, transfer, full=False) -> Path:
        kr, kb = KR_KB[matrix]
        luma = code @ [kr, 1 - kr - kb, kb]
        blue, red = (code[:, 2] - luma) / (2 - 2 * kb), (code[:, 0] - luma) / (2 - 2 * kr)
        scale, low, chroma = (1023, 0, 1023) if full else (876, 64, 896)
        planes = np.stack([low + scale * luma, 512 + chroma * blue, 512 + chroma * red]).round().clip(0, 1023)
        image = np.repeat(np.repeat(planes[:, None], SIDE, axis=2), SIDE, axis=1).reshape(3, SIDE, -1)
        (tmp_path / "raw").write_bytes(image.astype("<u2").tobytes() * 3)
        raw = ("-f", "rawvideo", "-pix_fmt", "yuv444p10le", "-s", f"{image.shape[2]}x{SIDE}", "-r", 25)
        # Both: ffmpeg 4 tags by options alone, and ffmpeg 9 takes them for an order to convert frames without tags.
        names = {"colorspace": matrix, "color_primaries": primaries, "color_trc": transfer}
        names["color_range"] = "pc" if full else "tv"
        tags = [part for name, value in names.items() for part in (f"-{name}", value)]
        stated = ":".join(f"{name.replace('color_range', 'range')}={value}" for name, value in names.items())
        return make("a.mkv", *raw, "-i", tmp_path / "raw", "-vf", f"setparams={stated}", "-c:v", "ffv1", *tags)

    return run


@pytest.fixture
def without(tmp_path, monkeypatch):
    """without(word): the only ffmpeg is one whose lists of decoders and filters lack lines with the word."""

    def run(word: str) -> None:
        poor = tmp_path / "ffmpeg"
        real = f"'{ffmpeg_module.executable()}'"
        poor.write_text(f'#!/bin/sh\n[ $# -gt 2 ] && exec {real} "$@"\n{real} "$@" | grep -v {word}\n')
        poor.chmod(0o755)
        monkeypatch.setattr(ffmpeg_module, "candidates", lambda: (str(poor),))

    return run


def shown(path: Path, **part: float) -> np.ndarray:
    return read_clip(path, **part).frames[1, SIDE // 2, SIDE // 2 :: SIDE].astype(int)


def light(gamut: np.ndarray | None = None) -> np.ndarray:
    linear = (PATCHES / 255) ** 2.4
    return linear if gamut is None else np.clip(linear @ gamut.T, 0, 1)


@pytest.mark.parametrize("lacking", [None, "zscale", "tonemap"])
@pytest.mark.parametrize(("transfer", "curve"), [("arib-std-b67", hlg), ("smpte2084", pq)])
def test_read_clip_shows_hdr_as_its_sdr_twin(patches, without, lacking, transfer, curve):
    path = patches(curve(light(TO_2020)), "bt2020nc", "bt2020", transfer)
    if lacking:
        without(lacking)
    assert np.abs(shown(path) - PATCHES).max() <= 4


@pytest.mark.parametrize("lacking", [None, "zscale"])
@pytest.mark.parametrize("curve", [hlg, pq])
def test_read_clip_keeps_the_hue_of_light_beyond_white(patches, without, lacking, curve):
    bright = np.array([1.0, 2.0, 4.0])[:, None] * (1.0, 0.5, 0.25)
    transfer = {hlg: "arib-std-b67", pq: "smpte2084"}[curve]
    path = patches(curve(bright @ TO_2020.T), "bt2020nc", "bt2020", transfer)
    if lacking:
        without(lacking)
    got = shown(path)
    assert np.abs(got - 255 * np.array([1.0, 0.5, 0.25]) ** (1 / 2.4)).max() <= 5


@pytest.mark.parametrize("lacking", [None, "zscale"])
@pytest.mark.parametrize(
    ("matrix", "primaries", "transfer", "gamut"),
    [("bt709", "smpte432", "bt709", TO_P3), ("bt2020nc", "bt2020", "bt2020-10", TO_2020)],
)
def test_read_clip_converts_primaries(patches, without, lacking, matrix, primaries, transfer, gamut):
    path = patches(sdr(light(gamut)), matrix, primaries, transfer)
    if lacking:
        without(lacking)
    inside = PATCHES.min(axis=1) > 0  # a channel of none is too coarse in 10 bits
    assert np.abs(shown(path) - PATCHES)[inside].max() <= 4


@pytest.mark.parametrize("full", [False, True])
def test_read_clip_honours_the_range(patches, full):
    assert np.abs(shown(patches(PATCHES / 255, "bt709", "bt709", "bt709", full)) - PATCHES).max() <= 2


@pytest.mark.parametrize("full", [False, True])
def test_read_clip_honours_the_range_of_hdr(patches, full):
    path = patches(hlg(light(TO_2020)), "bt2020nc", "bt2020", "arib-std-b67", full)
    soft = PATCHES.min(axis=1) > 0
    assert np.abs(shown(path) - PATCHES)[soft].max() <= 4


def test_read_clip_reads_hdr_of_an_odd_size(make):
    tags = ("-colorspace", "bt2020nc", "-color_primaries", "bt2020", "-color_trc", "smpte2084")
    source = ("-f", "lavfi", "-i", "testsrc=s=67x51:d=0.2:r=25")
    path = make("a.mkv", *source, "-pix_fmt", "yuv420p10le", "-c:v", "ffv1", *tags)
    assert read_clip(path).frames.shape == (5, 51, 67, 3)
    assert read_clip(path, longest=40).frames.shape == (5, 30, 40, 3)


@pytest.fixture
def layers(tmp_path: Path) -> tuple[object, ...]:
    """Input of five frames: green that is transparent, opaque red, and blue that is half of each."""
    image = np.zeros((32, 48, 4), np.uint8)
    image[:, :16], image[:, 16:32], image[:, 32:] = (0, 255, 0, 0), (255, 0, 0, 255), (0, 0, 255, 128)
    Image.fromarray(image).save(tmp_path / "layers.png")
    return ("-loop", 1, "-framerate", 25, "-t", 0.2, "-i", tmp_path / "layers.png")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.mkv", ("-c:v", "ffv1", "-pix_fmt", "bgra")),
        ("a.mov", ("-c:v", "prores_ks", "-profile:v", "4444", "-pix_fmt", "yuva444p10le")),
        ("a.webm", ("-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p")),
        ("b.webm", ("-c:v", "libvpx", "-pix_fmt", "yuva420p", "-auto-alt-ref", 0, "-b:v", "2M")),
    ],
)
def test_read_clip_puts_white_behind_transparency(make, layers, name, options):
    path = make(name, *layers, *options)
    frame = read_clip(path).frames[2].astype(int)
    assert np.abs(frame[16, [6, 24, 42]] - [(255, 255, 255), (255, 0, 0), (128, 128, 255)]).max() <= 4


def test_read_clip_puts_white_behind_transparency_before_it_reduces(make, layers):
    path = make("a.mkv", *layers, "-c:v", "ffv1", "-pix_fmt", "bgra")
    left = read_clip(path, longest=24).frames[2, 8, :8].astype(int)
    assert left[:, 0].min() > 240  # no green from below at the border to the red


def test_probe_notes_transparency_that_no_ffmpeg_reads(make, layers, without):
    path = make("a.webm", *layers, "-c:v", "libvpx-vp9", "-pix_fmt", "yuva420p")
    assert probe(path).notes == ()
    without("libvpx")
    assert len(read_clip(path)) == 5
    (note,) = probe(path).notes
    assert note.startswith(f"{path}: its transparency is ignored") and "libvpx-vp9" in note


@pytest.mark.parametrize(("profile", "compatible", "noted"), [(5, 0, True), (8, 4, False)])
def test_probe_notes_dolby_vision_without_a_base_layer(make, profile, compatible, noted):
    path = make("a.mp4", "-f", "lavfi", "-i", "testsrc=s=64x48:d=0.2:r=25", "-pix_fmt", "yuv420p")
    path.write_bytes(with_dolby_vision(path.read_bytes(), profile, compatible))
    opened = subprocess.run([ffmpeg_module.executable(), "-i", path], capture_output=True, check=False)
    if b"DOVI" not in opened.stderr:
        pytest.skip("this ffmpeg does not know Dolby Vision")
    notes = probe(path).notes
    assert len(read_clip(path)) == 5
    assert bool(notes) == noted and all("Dolby Vision" in note for note in notes)


def with_dolby_vision(data: bytes, profile: int, compatible: int) -> bytes:
    """An MP4 whose H.264 track has a configuration record of Dolby Vision at the end of its sample entry."""
    record = bytes([1, 0, profile << 1, 4 << 3 | 0b101, compatible << 4]) + bytes(19)
    box = (8 + len(record)).to_bytes(4, "big") + b"dvvC" + record
    grown = bytearray(data)
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1"):
        at = grown.rindex(name) - 4
        size = int.from_bytes(grown[at : at + 4], "big")
        grown[at : at + 4] = (size + len(box)).to_bytes(4, "big")
    return bytes(grown[: at + size] + box + grown[at + size :])
