"""Small files that claim to be huge, and inputs without an end, are refused before memory or time runs out."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips import audio, decode, ffmpeg
from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.ffmpeg import MAX_PIXELS, Reader, executable, run
from thcli.errors import MediaError
from thcli.inspection import clip


def png(width: int, height: int) -> bytes:
    """Return a PNG that claims a size and holds almost no data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(50_000, 50_000), (10_000, 10_000), (2**31 - 1, 2**31 - 1)])
def test_generate_and_inspect_refuse_a_photo_of_gigapixels(thgen, generate, folder, size):
    (folder / "a.png").write_bytes(png(*size))
    message = f"a.png: more than {(Image.MAX_IMAGE_PIXELS or 0) // 10**6} megapixels; make the photo smaller"
    generate("a.png").refused(3, message)
    thgen("inspect", "a.png").refused(3, message)


def test_inspect_refuses_a_video_of_gigapixels(thgen, folder, media):
    media("a.avi", "-i", "clip.mp4", "-frames:v", 1, "-an", "-c:v", "rawvideo", "-pix_fmt", "bgr24")
    data = bytearray((folder / "a.avi").read_bytes())
    for at in (data.index(b"avih") + 8 + 32, data.index(b"strf") + 8 + 4):
        struct.pack_into("<II", data, at, 30_000, 30_000)
    (folder / "a.avi").write_bytes(data)
    thgen("inspect", "a.avi").refused(
        3, f"a.avi: 30000x30000 pixels, expected at most {MAX_PIXELS // 10**6} megapixels; make the picture smaller"
    )


def test_inspect_refuses_pixels_a_hundred_times_as_wide_as_high(thgen, media):
    media("a.mkv", "-i", "clip.mp4", "-frames:v", 1, "-an", "-vf", "scale=1024:1024,setsar=100", "-c:v", "ffv1")
    said = thgen("inspect", "a.mkv")
    assert (said.code, said.out, said.new) == (3, "", ())
    assert said.err == (
        f"thgen: error: a.mkv: 102400x1024 pixels, expected at most {MAX_PIXELS // 10**6} megapixels; "
        "make the picture smaller\n"
    )


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0xFFFFFFFE, 0x7FFFFFFF])
def test_read_speech_ignores_a_claim_of_four_gigabytes(generate, folder, claimed):
    data = bytearray((folder / "speech.wav").read_bytes())
    for at in (4, data.index(b"data") + 4):
        struct.pack_into("<I", data, at, claimed)
    (folder / "a.wav").write_bytes(data)
    assert len(read_speech(folder / "a.wav").samples) == 3200
    assert generate("photo.png", "a.wav").code == 0


def test_generate_and_inspect_survive_an_mp4_that_claims_a_billion_frames(thgen, generate, folder):
    data = bytearray((folder / "clip.mp4").read_bytes())
    for box, offset in ((b"stsz", 12), (b"stts", 12), (b"mvhd", 20), (b"mdhd", 20), (b"tkhd", 24)):
        at = data.index(box)
        struct.pack_into(">I", data, at + offset - 4 if box in (b"stsz", b"stts") else at + offset, 10**9)
    (folder / "a.mp4").write_bytes(data)
    for said in (thgen("inspect", "a.mp4"), generate("a.mp4")):
        assert said.code in (0, 3) and said.err.count("\n") == 1
        if said.code:
            assert said.new == ()


def test_generate_refuses_sound_with_a_gap_of_a_day(generate, media, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SECONDS", 3600)
    media("a.mkv", "-i", "speech.wav", "-af", "asetpts=PTS+if(gt(N\\,0)\\,100000/TB\\,0)", "-c:a", "pcm_s16le")
    generate("photo.png", "a.mkv").refused(3, "a.mkv: more than 1 hours of sound; cut it into parts")


def test_inspect_reads_the_first_seconds_of_a_video_with_a_gap_of_a_day(thgen, generate, media, monkeypatch):
    """The video has two frames, the second after a day, and no duration in its header."""
    media("a.mkv", "-i", "clip.mp4", "-frames:v", 2, "-an", "-vf", "setpts=PTS+if(gt(N\\,0)\\,100000/TB\\,0)",
         "-c:v", "ffv1", "-live", 1)  # fmt: skip
    monkeypatch.setattr(clip, "LONGEST", 4.0)
    monkeypatch.setattr(decode, "MAX_BYTES", 100 * 256 * 256 * 3)
    said = thgen("inspect", "a.mkv")
    assert (said.code, said.new) == (0, ("a_inspect.png",))
    assert said.out.splitlines()[1] == "picture    256x256, the first 4.0 s, 100 frames at 25 a second"
    with pytest.raises(MediaError, match=r"a\.mkv: longer than 4 s at 256x256, the most that is read at a time; cut"):
        read_clip(Path("a.mkv"))
    assert len(read_clip(Path("a.mkv"), seconds=0.4).frames) == 10


def test_generate_refuses_standard_input_without_an_end(thgen, monkeypatch):
    monkeypatch.setattr(audio, "MAX_SPOOLED", 1 << 20)
    given = ("generate", "--renderer", "warp", "--ref", "photo.png", "-o", "out.mp4", "--audio", "-")
    said = thgen(*given, stdin=bytes(3 << 20))
    said.refused(3, "standard input: more than 0 GB came; pipe a shorter recording")


ENDLESS = ["-v", "quiet", "-f", "lavfi", "-i", "nullsrc=s=16x16:r=1", "-f", "null", "-"]
WAITS = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_run_ends_an_ffmpeg_that_does_not_end():
    with pytest.raises(MediaError, match=r"^a\.mp4: ffmpeg had nothing to show after 0\.2 s; .*copy or export it"):
        run([executable(), *ENDLESS], "a.mp4", 0.2)


def test_reader_ends_an_ffmpeg_that_writes_nothing(monkeypatch):
    start, started = ffmpeg.start, []

    def recorded(*given, **streams):
        started.append(start(*given, **streams))
        return started[-1]

    monkeypatch.setattr(ffmpeg, "MAX_SECONDS", 0.2)
    monkeypatch.setattr(ffmpeg, "start", recorded)
    with (
        pytest.raises(MediaError, match=r"^a\.mp4: ffmpeg had nothing to show after 0\.2 s"),
        Reader(WAITS, "a.mp4") as reader,
    ):
        reader.fill(memoryview(bytearray(10)))
    assert [process.poll() is None for process in started] == [False]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits another process")
def test_run_limits_the_memory_of_ffmpeg(monkeypatch):
    monkeypatch.setattr(ffmpeg, "MAX_MEMORY", 1 << 30)
    greedy = [sys.executable, "-c", "import time; time.sleep(0.5); bytearray(2 << 30)"]
    status, log = run(greedy, "a.mp4")
    assert status == 1 and "MemoryError" in log
    assert run([sys.executable, "-c", "bytearray(1 << 20)"], "a.mp4")[0] == 0
    assert np.prod(np.array([7680, 4320])) < MAX_PIXELS
