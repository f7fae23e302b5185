"""The MP4 that is written, and that none is left when something fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from thcli.clips import encode
from thcli.clips import ffmpeg as binaries
from thcli.clips.audio import measure_levels, read_speech
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.probe import probe
from thcli.clips.provenance import provenance
from thcli.errors import MediaError
from thcli.records import SAMPLE_RATE

SINE = ("-f", "lavfi", "-i")


def frames(n: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """Coloured gradients that move: [n, H, W, 3] uint8."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    return np.stack(
        [
            np.stack([200 * x + 20, 180 * y + 20, np.full_like(x, 40 + t % 150)], axis=-1).astype(np.uint8)
            for t in range(n)
        ]
    )


def write(target: Path | None, images: np.ndarray, audio: Path | None = None, **options: object) -> None:
    size = (images.shape[2], images.shape[1])
    with VideoWriter(target, size, audio, len(images), **options) as writer:
        for image in images:
            writer.write(image)


def header(path: Path) -> str:
    command = [binaries.executable(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, stderr=subprocess.PIPE, check=False).stderr.decode()


@pytest.mark.parametrize("size", [(64, 48), (65, 48), (64, 47), (63, 47), (256, 256)])
def test_video_writer_keeps_frames_and_colours(tmp_path, size):
    images = frames(10, size)
    write(tmp_path / "a.mp4", images)
    back = read_clip(tmp_path / "a.mp4").frames[:, : size[1], : size[0]]
    assert back.shape == images.shape
    assert np.abs(back.astype(int) - images).mean() < 2.5
    text = header(tmp_path / "a.mp4")
    assert "h264" in text and "yuv420p(tv, bt709" in text and "Audio" not in text


@pytest.mark.parametrize("seconds", [0.3, 1.0, 1.99])
@pytest.mark.parametrize("source", ["wav8", "m4a", "mp3", "surround", "video"])
def test_video_writer_cuts_or_pads_sound_to_the_frames(make, tmp_path, source, seconds):
    sine = (*SINE, f"sine=f=440:d={seconds}")
    audio = {
        "wav8": lambda: make("s.wav", *sine, "-ar", 8000),
        "m4a": lambda: make("s.m4a", *sine),
        "mp3": lambda: make("s.mp3", *sine, "-ar", 44100),
        "surround": lambda: make("s.wav", *sine, "-af", "aformat=channel_layouts=5.1"),
        "video": lambda: make("s.mkv", *SINE, f"testsrc=s=64x48:d={seconds}", *sine),
    }[source]()
    write(tmp_path / "a.mp4", frames(25), audio)
    assert len(read_clip(tmp_path / "a.mp4")) == 25
    sound = read_speech(tmp_path / "a.mp4").samples
    assert abs(len(sound) / SAMPLE_RATE - 1.0) <= 0.04
    assert probe(tmp_path / "a.mp4").duration == pytest.approx(1.0, abs=0.04)
    heard = np.flatnonzero(np.abs(sound) > 0.02)
    assert heard[0] < 0.03 * SAMPLE_RATE
    assert abs(heard[-1] / SAMPLE_RATE - min(seconds, 1.0)) < 0.05


def test_video_writer_takes_sound_from_a_later_start(write_wav, tmp_path):
    samples = np.zeros(SAMPLE_RATE * 3)
    samples[int(1.5 * SAMPLE_RATE) :] = 0.5 * np.sin(np.arange(int(1.5 * SAMPLE_RATE)) * 0.2)
    write(tmp_path / "a.mp4", frames(25), write_wav("s.wav", samples), audio_start=1.2)
    heard = np.flatnonzero(np.abs(read_speech(tmp_path / "a.mp4").samples) > 0.1)
    assert abs(heard[0] / SAMPLE_RATE - 0.3) < 0.03


def test_video_writer_brings_sound_beyond_full_scale_to_a_peak_of_one(write_wav, tmp_path):
    rising = np.minimum(np.arange(SAMPLE_RATE) / 4000, 4)  # AAC overshoots where a tone begins all at once
    path = write_wav("hot.wav", rising * np.sin(np.arange(SAMPLE_RATE) * 0.1))
    write(tmp_path / "a.mp4", frames(25), path, audio_peak=measure_levels(path).peak)
    assert 0.9 < measure_levels(tmp_path / "a.mp4").peak < 1.05


def test_video_writer_takes_the_default_of_several_tracks(make, tmp_path):
    tracks = (*SINE, "aevalsrc=0:d=1", *SINE, "sine=d=1", "-map", 0, "-map", 1, "-c:a", "pcm_s16le")
    sound = make("s.mkv", *tracks, "-disposition:a:0", 0, "-disposition:a:1", "default")
    write(tmp_path / "a.mp4", frames(25), sound)
    assert measure_levels(tmp_path / "a.mp4").peak > 0.05


def test_video_writer_writes_metadata_provenance_and_the_index_in_front(make, tmp_path):
    source = make("s.m4a", *SINE, "sine=d=1", "-metadata", "title=private", "-metadata", "comment=secret")
    said = {"title": "a=b; 'ä'", **provenance("thgen 0 <&>")}
    write(tmp_path / "a.mp4", frames(5), source, metadata=said)
    text = header(tmp_path / "a.mp4")
    assert "a=b; 'ä'" in text and said["comment"] in text and "private" not in text and "secret" not in text
    data = (tmp_path / "a.mp4").read_bytes()
    assert b"digitalsourcetype/trainedAlgorithmicMedia" in data and b"thgen 0 &lt;&amp;&gt;" in data
    assert data.index(b"moov") < data.index(b"mdat")
    assert len(read_clip(tmp_path / "a.mp4")) == 5


def test_video_writer_writes_the_same_bytes_for_the_same_input(make, tmp_path):
    sound = make("s.wav", *SINE, "sine=d=1")
    for name in ("a.mp4", "b.mp4"):
        write(tmp_path / name, frames(10), sound, metadata=provenance("thgen"))
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_video_writer_writes_a_streamable_mp4_to_standard_output(make, tmp_path):
    sound = make("s.wav", *SINE, "sine=d=1")
    program = (
        "import numpy as np, pathlib, sys\n"
        "from thcli.clips.encode import VideoWriter\n"
        "with VideoWriter(None, (64, 48), pathlib.Path(sys.argv[1]), 25, {'xmp': '<x/>', 'comment': 'c'}) as writer:\n"
        "    for t in range(25): writer.write(np.full((48, 64, 3), t * 10, np.uint8))\n"
    )
    done = subprocess.run([sys.executable, "-c", program, sound], stdout=subprocess.PIPE, check=True)
    (tmp_path / "out.mp4").write_bytes(done.stdout)
    assert done.stdout.index(b"moof") < done.stdout.index(b"mdat") and done.stdout.endswith(b"<x/>")
    assert len(read_clip(tmp_path / "out.mp4")) == 25
    assert abs(read_speech(tmp_path / "out.mp4").seconds - 1) <= 0.04


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_video_writer_says_that_standard_output_has_no_space():
    program = (
        "import numpy as np\n"
        "from thcli.clips.encode import VideoWriter\n"
        "from thcli.errors import MediaError\n"
        "try:\n"
        "    with VideoWriter(None, (64, 48), None, 60) as writer:\n"
        "        for t in range(60): writer.write(np.zeros((48, 64, 3), np.uint8))\n"
        "except MediaError as error: raise SystemExit(str(error))\n"
    )
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == 1 and b"standard output: no space left" in done.stderr


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_video_writer_leaves_nothing_behind_on_an_error(tmp_path, error, open_descriptors):
    (tmp_path / "a.mp4").write_text("what was there")
    before = open_descriptors()
    with pytest.raises(error), VideoWriter(tmp_path / "a.mp4", (64, 48), None, 10) as writer:
        writer.write(frames(1)[0])
        raise error
    assert [path.name for path in tmp_path.iterdir()] == ["a.mp4"]
    assert (tmp_path / "a.mp4").read_text() == "what was there"
    assert open_descriptors() == before


def test_video_writer_refuses_too_few_too_many_and_wrong_frames(tmp_path):
    for images, announced in ((frames(3), 5), (frames(6), 5), (frames(5, (32, 32)), 5)):
        with pytest.raises(ValueError), VideoWriter(tmp_path / "a.mp4", (64, 48), None, announced) as writer:
            for image in images:
                writer.write(image)
    assert not list(tmp_path.iterdir())


def refuses(target: Path, words: str, audio: Path | None = None) -> None:
    with pytest.raises(MediaError, match=words) as caught:
        write(target, frames(5), audio)
    assert "\n" not in str(caught.value) and str(target) in str(caught.value)


def test_video_writer_refuses_targets_that_cannot_be_written(tmp_path, monkeypatch):
    refuses(tmp_path / "none" / "a.mp4", "does not exist")
    refuses(tmp_path, "a folder or a device")
    refuses(Path("/dev/null"), "a folder or a device")

    def read_only(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(encode, "open", read_only, raising=False)
    refuses(tmp_path / "a.mp4", "cannot be written to")


def test_video_writer_leaves_nothing_where_the_sound_has_none(make, tmp_path):
    silent = make("s.mkv", *SINE, "testsrc=s=64x48:d=1", "-c:v", "ffv1")
    refuses(tmp_path / "a.mp4", "writing the video failed", silent)
    assert [path.name for path in tmp_path.iterdir()] == ["s.mkv"]


@pytest.fixture
def ffmpeg_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """ffmpeg_with(*encoders): from now on the only ffmpeg is one that lists no others."""
    real = binaries.executable()
    folder = tmp_path / "bin"
    folder.mkdir()

    def install(*encoders: str) -> None:
        script = folder / f"ffmpeg{len(encoders)}"
        listing = "\n".join(f" V....D {name} H.264" for name in encoders)
        script.write_text(f'#!/bin/sh\ncase "$*" in *-encoders*) echo "{listing}"; exit;; esac\nexec "{real}" "$@"\n')
        script.chmod(0o755)
        monkeypatch.setattr(binaries, "candidates", lambda: (str(script),))
        binaries.h264_encoder.cache_clear()

    yield install
    binaries.h264_encoder.cache_clear()


def test_video_writer_takes_another_encoder_where_x264_is_missing(tmp_path, ffmpeg_with):
    if b"libopenh264" not in subprocess.run([binaries.executable(), "-encoders"], capture_output=True).stdout:
        pytest.skip("this ffmpeg has no openh264")
    ffmpeg_with("libopenh264")
    write(tmp_path / "a.mp4", frames(25, (256, 256)))
    assert np.abs(read_clip(tmp_path / "a.mp4").frames.astype(int) - frames(25, (256, 256))).mean() < 4


def test_video_writer_refuses_an_ffmpeg_without_h264(tmp_path, ffmpeg_with):
    ffmpeg_with()
    with pytest.raises(MediaError, match=r"no H\.264 encoder"):
        write(tmp_path / "b.mp4", frames(5))


def test_video_writer_follows_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a.mp4", frames(5))
    finally:
        os.umask(before)
    assert (tmp_path / "a.mp4").stat().st_mode & 0o777 == 0o640
