"""A video's own frames are read at its size, rate and time stamps, bit by bit where it is stored as YUV 4:2:0."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.clips.probe import probe
from thcli.clips.timed import stored, stream_stored
from thcli.errors import MediaError
from thcli.yuv import YuvColours

MOVING = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=30000/1001:duration=0.5")


def hdr(transfer: str) -> tuple[str, ...]:
    """Options of ffmpeg that tag a lossless video as HDR."""
    tags = f"setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc={transfer}"
    return ("-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1")


def seconds(path: Path) -> list[float]:
    return [float(one.time * one.unit) for one in stream_stored(probe(path), timed=True)]


def test_time_stamps_of_2997_frames_a_second_are_exact(media):
    path = media("a.mp4", *MOVING, "-pix_fmt", "yuv420p")
    assert np.allclose(seconds(path), np.arange(15) * 1001 / 30000, atol=1e-9)


def test_varying_time_stamps_are_kept(media):
    path = media("a.mkv", *MOVING, "-vf", "select='not(eq(mod(n,5),3))'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p")
    kept = [n for n in range(15) if n % 5 != 3]
    assert np.allclose(seconds(path), np.array(kept) * 1001 / 30000, atol=0.001)


def test_values_are_those_that_are_stored(media, ffmpeg, folder):
    path = media("a.mp4", *MOVING, "-pix_fmt", "yuv420p")
    ffmpeg("-i", path, "-f", "rawvideo", "raw.yuv")
    raw = np.frombuffer((folder / "raw.yuv").read_bytes(), np.uint8).reshape(15, -1)
    assert np.array_equal(np.stack([one.frame.data for one in stream_stored(probe(path))]), raw)


def test_only_some_frames_are_read_in_order(media):
    path = media("a.mp4", *MOVING, "-pix_fmt", "yuv420p")
    every = [one.frame.data for one in stream_stored(probe(path))]
    some = [one.frame.data for one in stream_stored(probe(path), only=[2, 7, 8])]
    assert np.array_equal(np.stack(some), np.stack([every[i] for i in (2, 7, 8)]))


def test_an_odd_side_grows_by_its_last_column(media):
    path = media(
        "a.mkv", "-f", "lavfi", "-i", "testsrc=size=65x49:rate=25:duration=0.1", "-pix_fmt", "yuv420p", "-c:v", "ffv1"
    )
    how = stored(probe(path))
    frame = next(stream_stored(probe(path))).frame
    assert how.size == (66, 50) and how.notes == ()
    assert np.array_equal(frame.y[:, 65], frame.y[:, 64]) and np.array_equal(frame.y[49], frame.y[48])


def test_values_of_ten_bits_are_those_that_are_stored(media, ffmpeg, folder):
    path = media("a.mkv", *MOVING, "-pix_fmt", "yuv420p10le", "-c:v", "ffv1")
    ffmpeg("-i", path, "-f", "rawvideo", "raw.yuv")
    raw = np.frombuffer((folder / "raw.yuv").read_bytes(), np.int16).reshape(15, -1)
    assert np.array_equal(np.stack([one.frame.data for one in stream_stored(probe(path))]), raw)
    assert stored(probe(path)).notes == () and raw.max() > 900


@pytest.mark.parametrize("pixels", ["yuv422p10le", "yuv420p12le"])
def test_other_depths_are_said(media, pixels):
    path = media("a.mkv", *MOVING, "-pix_fmt", pixels, "-c:v", "ffv1")
    how = stored(probe(path))
    assert how.notes == (f"a.mkv: {pixels} is stored as yuv420p10le, with 10 bits",) and how.colours.bits == 10


@pytest.mark.parametrize("transfer", ["arib-std-b67", "smpte2084"])
def test_hdr_is_kept(media, transfer):
    how = stored(probe(media("a.mkv", *MOVING, *hdr(transfer))))
    assert (how.colours, how.notes) == (YuvColours("bt2020nc", False, 10), ())
    assert how.tags == {
        "range": "tv", "colorspace": "bt2020nc", "color_primaries": "bt2020", "color_trc": transfer,
    }  # fmt: skip


def test_without_an_encoder_of_ten_bits_all_is_brought_to_eight(media, monkeypatch):
    monkeypatch.setattr("thcli.clips.timed.deep_encoder", lambda: None)
    plain = probe(media("a.mkv", *MOVING, "-pix_fmt", "yuv420p10le", "-c:v", "ffv1"))
    assert stored(plain).notes == ("a.mkv: yuv420p10le is stored as yuv420p, with 8 bits",)
    light = probe(media("b.mkv", *MOVING, *hdr("arib-std-b67")))
    assert stored(light).notes == ("b.mkv: HDR is brought to BT.709, with 8 bits",)
    assert all(next(stream_stored(one)).frame.data.dtype == np.uint8 for one in (plain, light))


def test_the_full_range_is_kept(media):
    path = media("a.mp4", *MOVING, "-vf", "scale=out_range=full", "-pix_fmt", "yuvj420p")
    assert stored(probe(path)).colours.full_range and stored(probe(path)).tags["range"] == "pc"


def test_a_file_of_sound_alone_is_refused(speech_wav):
    with pytest.raises(MediaError, match="no video stream, only sound; expected a video"):
        stored(probe(speech_wav))
