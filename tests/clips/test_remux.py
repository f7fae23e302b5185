"""Copies for viewers, without anything that tells where they are from."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip
from thcli.clips.encode import VideoWriter
from thcli.clips.ffmpeg import executable
from thcli.clips.probe import probe
from thcli.clips.provenance import provenance
from thcli.clips.remux import anonymous_mp4
from thcli.errors import MediaError

SOURCES = ("-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=1", "-f", "lavfi", "-i", "sine=f=300:d=1")
TAGS = ("-metadata", "title=SECRET", "-metadata", "comment=SECRET", "-metadata:s:v", "handler_name=SECRET",
        "-metadata:s:a", "title=SECRET", "-metadata:s:v", "language=deu")  # fmt: skip


def test_anonymous_mp4_copies_the_frames_and_no_metadata(make, tmp_path):
    source = make("a.mp4", *SOURCES, "-pix_fmt", "yuv420p", *TAGS)
    raw = source.read_bytes()
    assert b"SECRET" in raw and b"x264" in raw and b"Lav" in raw
    copy = anonymous_mp4(source)
    assert not any(mark in copy for mark in (b"SECRET", b"x264", b"Lav", b"deu"))
    assert copy == anonymous_mp4(source)
    target = tmp_path / "copy.mp4"
    target.write_bytes(copy)
    assert np.array_equal(read_clip(target).frames, read_clip(source).frames)
    before, after = read_speech(source).samples, read_speech(target).samples
    n = min(len(before), len(after))
    assert abs(len(before) - len(after)) < 1000
    assert np.corrcoef(before[:n], after[:n])[0, 1] > 0.99
    said = subprocess.run([executable(), "-i", target], capture_output=True, text=True, check=False).stderr
    assert "title" not in said and "comment" not in said and "encoder" not in said


def test_anonymous_mp4_drops_the_declaration_of_thgen(tmp_path, speech_wav):
    source = tmp_path / "a.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (5, 64, 64, 3), dtype=np.uint8)
    with VideoWriter(source, (64, 64), speech_wav, 5, provenance("thgen 1")) as writer:
        for frame in frames:
            writer.write(frame)
    assert b"trainedAlgorithmicMedia" in source.read_bytes() and b"thgen" in source.read_bytes()
    copy = anonymous_mp4(source)
    assert b"trainedAlgorithmicMedia" not in copy and b"thgen" not in copy


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("a.avi", ("-c:v", "mpeg4", "-c:a", "mp3")),
        ("a.webm", ("-c:v", "libvpx", "-c:a", "libvorbis")),
        ("a.mp4", ("-c:v", "libx264", "-pix_fmt", "yuv444p")),
        ("a.mkv", ("-c:v", "mpeg4", "-vf", "scale=63:47", "-c:a", "flac", "-ac", "6")),
    ],
)
def test_anonymous_mp4_converts_other_formats_to_what_browsers_play(make, tmp_path, name, options):
    source = make(name, *SOURCES, *options)
    target = tmp_path / "copy.mp4"
    target.write_bytes(anonymous_mp4(source))
    info = probe(target)
    assert info.codec == "h264 yuv420p" and info.audio
    assert (info.width % 2, info.height % 2) == (0, 0)
    before, after = read_clip(source).frames[:, : info.height, : info.width], read_clip(target).frames
    assert before.shape == after.shape
    # No closer: the test source's colours lose much to the subsampling of H.264.
    assert np.corrcoef(before.ravel(), after.ravel())[0, 1] > 0.95


def test_anonymous_mp4_keeps_sound_in_step(make, tmp_path):
    """White frame and beep at 0.6 s, before and after."""
    source = make(
        "a.mp4", "-f", "lavfi", "-i", "color=black:s=64x48:r=25:d=1,drawbox=c=white:t=fill:enable='gte(t,0.6)'",
        "-f", "lavfi", "-i", "aevalsrc='gte(t,0.6)*sin(2*PI*440*t)':d=1", "-pix_fmt", "yuv420p",
    )  # fmt: skip
    target = tmp_path / "copy.mp4"
    target.write_bytes(anonymous_mp4(source))
    assert read_clip(target).frames.mean(axis=(1, 2, 3)).argmax() == 15
    heard = np.flatnonzero(np.abs(read_speech(target).samples) > 0.2)
    assert heard[0] / 16_000 == pytest.approx(0.6, abs=0.01)


def test_anonymous_mp4_refuses_files_without_video_or_sound(make, portrait_png):
    with pytest.raises(MediaError, match=r"silent\.mp4: has no sound, .*add the sound to it"):
        anonymous_mp4(make("silent.mp4", *SOURCES[:4], "-pix_fmt", "yuv420p"))
    with pytest.raises(MediaError, match=r"sound\.wav: no video stream, expected a video"):
        anonymous_mp4(make("sound.wav", *SOURCES[4:]))
    with pytest.raises(MediaError, match=r"portrait\.png: a photo, expected a video"):
        anonymous_mp4(portrait_png)
