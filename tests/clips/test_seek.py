"""Parts of a video from any container: the frames that a whole reading shows there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.clips.decode import read_clip

LEVELS = (np.arange(375) * 7 % 220 + 18).astype(np.uint8)
"""Grey of each frame of the recording: neighbours differ by 7 or more."""


@pytest.fixture
def recording(counter) -> Path:
    """15 s with a keyframe every 10 s."""
    return counter(
        "recording.mp4", LEVELS, 25, "-g", 250, "-sc_threshold", 0, "-bf", 2, "-pix_fmt", "yuv420p", "-qp", 10
    )


@pytest.mark.parametrize("start", [1.52, 5.0, 11.2])
@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.flv", "a.avi", "a.h264", "fragments.mp4"])
def test_read_clip_of_a_part_has_the_frames_of_the_mp4(make, recording, name, start):
    options = ("-movflags", "frag_keyframe+empty_moov") if name == "fragments.mp4" else ()
    path = make(name, "-i", recording, "-c", "copy", *options)
    # FLV, AVI and fragments begin with the sound's or the decoder's delay, by their own clock.
    whole, part = read_clip(path).frames, read_clip(path, start, 0.8).frames
    first = round(start * 25 + 1e-6)
    assert len(part) == 20
    np.testing.assert_array_equal(part, whole[first : first + 20])
    if name in ("a.ts", "a.mkv", "a.h264"):
        np.testing.assert_array_equal(part, read_clip(recording, start, 0.8).frames)


@pytest.mark.parametrize("name", ["a.mpg", "a.ts", "a.m2v"])
def test_read_clip_of_a_part_of_mpeg2_has_the_frames_of_the_whole(make, recording, name):
    path = make(name, "-i", recording, "-c:v", "mpeg2video", "-g", 150, "-bf", 2, "-q:v", 2)
    whole = read_clip(path).frames
    for start in (3.0, 7.52, 12.0):
        first = round(start * 25)
        np.testing.assert_array_equal(read_clip(path, start, 0.4).frames, whole[first : first + 10])


def test_read_clip_of_a_part_of_a_stream_that_was_joined_in_the_middle_has_the_frames_of_the_whole(make, recording):
    path = make("a.ts", "-i", recording, "-c", "copy")
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 3 // 188 * 188 :])
    whole = read_clip(path).frames
    np.testing.assert_array_equal(read_clip(path, 3.0, 0.4).frames, whole[75:85])


def test_read_clip_shows_an_image_that_is_held_for_seconds_before_the_start(counter):
    levels = np.array([30, 90, 150, 210], np.uint8)
    path = counter("slides.mp4", levels, "1/4", "-bf", 0)
    assert abs(read_clip(path, 7.0, 0.2).frames[0].mean() - 90) < 3


@pytest.mark.parametrize("container", ["ts", "mpg"])
@pytest.mark.parametrize(("late", "heard"), [("sound", 1.4), ("picture", 0.6), ("neither", 1.0)])
def test_read_speech_and_read_clip_keep_sound_and_picture_of_mpeg_as_far_apart_as_they_are(
    make, container, late, heard
):
    """White frames from 1 s on, beep at 1 s; one of them comes 0.4 s later."""
    white = "color=black:s=64x48:r=25:d=3,drawbox=c=white:t=fill:enable='gte(t,1)'"
    beep = r"aevalsrc='gte(t,1)*sin(2*PI*440*t)':s=48000:d=3"
    delay = {name: ("-itsoffset", 0.4) if late == name else () for name in ("sound", "picture")}
    path = make(
        f"a.{container}", *delay["picture"], "-f", "lavfi", "-i", white, *delay["sound"], "-f", "lavfi", "-i", beep,
        "-c:v", "mpeg2video", "-c:a", "mp2", "-b:a", "192k",
    )  # fmt: skip
    seen = read_clip(path).frames.mean(axis=(1, 2, 3)).argmax() / 25
    sound = np.flatnonzero(np.abs(read_speech(path).samples) > 0.3)[0] / 16_000
    assert sound - seen == pytest.approx(heard - 1, abs=0.045)
