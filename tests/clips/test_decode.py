"""Frames at 25 fps by timestamps, whatever the file has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.decode import frame_count, read_clip, stream_frames
from thcli.clips.ffmpeg import executable
from thcli.clips.probe import probe
from thcli.errors import MediaError

TESTSRC = ("-f", "lavfi", "-i")


def levels_of(path: Path, **part: float) -> np.ndarray:
    return read_clip(path, **part).frames[:, 24, 32].mean(axis=-1)


def shown_at(times: np.ndarray, ends: float) -> np.ndarray:
    """Index of the image on show in the middle of each 25 fps frame; one that begins just then comes next."""
    middles = (np.arange(round(ends * 25)) + 0.5) / 25
    return np.searchsorted(times, middles - 1e-6, side="right") - 1


@pytest.mark.parametrize("fps", ["24000/1001", "24", "25", "30000/1001", "30", "50", "60", "12"])
def test_read_clip_follows_the_timestamps_at_any_rate(counter, fps):
    rate = eval(fps)
    levels = np.linspace(20, 230, int(rate * 2)).astype(np.uint8)
    got = levels_of(counter("a.mp4", levels, fps))
    expected = levels[shown_at(np.arange(len(levels)) / rate, len(levels) / rate)]
    assert len(got) == len(expected)
    assert np.abs(got - expected).max() < 3


def test_read_clip_holds_each_image_of_a_variable_rate_for_its_time(counter):
    levels = np.array([30, 90, 150, 210, 60, 120], np.uint8)
    # Images at 0, 1, 4, 9, 16, 25 ticks of 40 ms; the last lasts one tick.
    path = counter("vfr.mkv", levels, 25, "-vf", "setpts=N*N", "-enc_time_base", "1/25")
    got = levels_of(path)
    expected = np.repeat(levels, [1, 3, 5, 7, 9, 1])
    assert len(got) in (26, len(expected))
    assert np.abs(got[:26] - expected[:26]).max() < 3


@pytest.mark.parametrize("start", [0.0, 0.4, 1.2, 2.04])
def test_read_clip_and_stream_frames_of_a_part_give_what_the_whole_has_there(counter, start):
    levels = np.linspace(20, 230, 75).astype(np.uint8)
    path = counter("a.mp4", levels, 25, "-g", 30)
    whole = read_clip(path).frames
    part = read_clip(path, start=start, seconds=0.6)
    first = round(start * 25)
    np.testing.assert_array_equal(part.frames, whole[first : first + 15])
    assert part.start == start
    np.testing.assert_array_equal(np.stack(list(stream_frames(path, start, 0.6))), part.frames)


def test_read_clip_shows_the_image_held_at_the_start_of_a_part(counter):
    path = counter("slow.mp4", np.array([50, 200], np.uint8), 2)
    assert abs(levels_of(path, start=0.2, seconds=0.2)[0] - 50) < 3


def quadrants(frame: np.ndarray) -> np.ndarray:
    """Mean colour of the four corners, row by row."""
    height, width = frame.shape[:2]
    corners = [frame[y : y + 8, x : x + 8] for y in (2, height - 10) for x in (2, width - 10)]
    return np.array([corner.mean(axis=(0, 1)) for corner in corners])


COLOURS = "color=red:s=64x32:d=0.2:r=25,drawbox=32:0:32:16:lime:fill,drawbox=0:16:32:16:blue:fill"


def test_read_clip_turns_frames_as_their_metadata_say(make):
    upright = make("up.mp4", *TESTSRC, COLOURS, "-pix_fmt", "yuv420p")
    data = bytearray(upright.read_bytes())
    matrix = data.index(b"tkhd") + 44  # of a version 0 track header
    data[matrix : matrix + 20] = np.array([0, -1 << 16, 0, 1 << 16, 0], ">i4").tobytes()
    turned = upright.with_name("turned.mp4")
    turned.write_bytes(data)
    info = probe(turned)
    assert (info.width, info.height) == (32, 64)
    frame = read_clip(turned).frames[0]
    assert frame.shape == (64, 32, 3)
    # 90 degrees anticlockwise: the right column becomes the top row.
    expected = quadrants(read_clip(upright).frames[0])[[1, 3, 0, 2]]
    assert np.abs(quadrants(frame) - expected).max() < 25


@pytest.mark.parametrize(("sar", "size"), [("2/1", (128, 48)), ("1/2", (64, 96)), ("16/15", (68, 48))])
def test_read_clip_makes_pixels_square(make, sar, size):
    path = make("sar.mp4", *TESTSRC, "testsrc=s=64x48:d=0.2:r=25", "-vf", f"setsar={sar}", "-pix_fmt", "yuv420p")
    info = probe(path)
    assert (info.width, info.height) == size
    assert read_clip(path).frames.shape[1:3] == size[::-1]


@pytest.mark.parametrize("options", [("-pix_fmt", "yuv420p10le"), ("-pix_fmt", "yuv444p"), ("-pix_fmt", "yuvj420p")])
def test_read_clip_keeps_the_colours_of_all_pixel_formats(make, options):
    path = make("a.mkv", *TESTSRC, COLOURS, "-c:v", "libx264", "-qp", 0, *options)
    red, green, blue, _ = quadrants(read_clip(path).frames[0])
    assert red[0] > 230 and red[1:].max() < 25
    assert green[1] > 230 and green[[0, 2]].max() < 25
    assert blue[2] > 230 and blue[:2].max() < 25


def test_read_clip_keeps_odd_sizes(make):
    path = make("odd.avi", *TESTSRC, "testsrc=s=67x51:d=0.2:r=25", "-c:v", "ffv1")
    frames = read_clip(path).frames
    assert frames.shape == (5, 51, 67, 3)


def test_read_clip_deinterlaces_interlaced_video_alone(make):
    def combing(path: Path) -> float:
        frames = read_clip(path).frames.astype(float).mean(axis=-1)[3:8]
        return float(np.abs(frames[:, 1:-1] - (frames[:, :-2] + frames[:, 2:]) / 2).mean())

    moving = "testsrc2=s=96x96:d=0.6:r=50"
    woven = ("-vf", "tinterlace=interleave_top", "-c:v", "libx264", "-qp", 0, "-pix_fmt", "yuv420p")
    flagged = make("i.mp4", *TESTSRC, moving, *woven, "-flags", "+ilme+ildct", "-x264opts", "tff=1")
    unflagged = make("p.mp4", *TESTSRC, moving, *woven[:1], woven[1] + ",setfield=prog", *woven[2:])
    assert len(read_clip(flagged)) == 15
    assert combing(flagged) < 0.8 * combing(unflagged)


def test_read_clip_holds_the_first_frame_of_a_video_that_begins_late(make):
    path = make(
        "late.mkv", "-itsoffset", 0.4, *TESTSRC, "testsrc=s=64x48:d=0.6:r=25", *TESTSRC, "sine=d=1",
        "-map", "0", "-map", "1", "-c:v", "ffv1",
    )  # fmt: skip
    frames = read_clip(path).frames
    assert len(frames) == 25
    np.testing.assert_array_equal(frames[0], frames[9])


def test_probe_takes_an_animated_gif_for_a_video(make):
    path = make("a.gif", *TESTSRC, "testsrc=s=64x48:d=1:r=10")
    info = probe(path)
    assert info.video and not info.image
    assert len(read_clip(path)) == 25


def test_probe_does_not_take_cover_art_for_a_video(make, tmp_path):
    cover = make("cover.png", *TESTSRC, "color=red:s=64x64:d=0.04", "-frames:v", 1)
    path = make("song.mp3", *TESTSRC, "sine=d=1", "-i", cover, "-map", 0, "-map", 1, "-disposition:v", "attached_pic")
    info = probe(path)
    assert info.audio and not info.video
    with pytest.raises(MediaError, match="no video stream"):
        read_clip(path)


def test_probe_reads_the_header_and_no_metadata_that_look_like_it(make):
    lie = ("-metadata", "title=Duration: 9\n  Duration: 9")
    path = make("a.mp4", *TESTSRC, "testsrc=s=64x48:d=2:r=30", *TESTSRC, "sine=d=2", *lie)
    info = probe(path)
    assert (info.width, info.height, info.fps, info.video, info.audio, info.image) == (64, 48, 30.0, True, True, False)
    assert info.duration == pytest.approx(2.0, abs=0.1)


def test_closing_stream_frames_ends_its_ffmpeg(make, open_descriptors, monkeypatch):
    started = []

    class Remembered(subprocess.Popen):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            started.append(self)

    path = make("a.mp4", *TESTSRC, "testsrc=s=640x480:d=4:r=25", "-preset", "ultrafast")
    monkeypatch.setattr(subprocess, "Popen", Remembered)
    before = open_descriptors()
    stream = stream_frames(path)
    next(stream)
    assert any(process.poll() is None for process in started)
    stream.close()
    assert open_descriptors() == before
    assert all(process.returncode is not None for process in started)  # waited for, not only ended


def test_frame_count_forgives_the_last_bit_of_a_float():
    assert [frame_count(s) for s in (0.04, 3.0, 0.28 * 25 / 25, 1.001)] == [1, 75, 7, 26]


def refuses(path: Path, words: str, **part: float) -> None:
    """The error is one line that names the file."""
    with pytest.raises(MediaError, match=words) as caught:
        read_clip(path, **part)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message


def test_read_clip_refuses_a_missing_file_a_folder_an_empty_file_and_text(tmp_path):
    refuses(tmp_path / "none.mp4", "no such file")
    refuses(tmp_path, "a folder")
    (tmp_path / "empty.mp4").touch()
    refuses(tmp_path / "empty.mp4", "empty")
    (tmp_path / "text.mp4").write_text("Dear Sir or Madam,\n" * 50)
    refuses(tmp_path / "text.mp4", "not a video")


def test_read_clip_refuses_a_truncated_mp4_without_index(make):
    path = make("a.mp4", *TESTSRC, "testsrc=s=64x48:d=1:r=25")
    path.write_bytes(path.read_bytes()[:2000])
    refuses(path, "cut off")


def test_read_clip_reads_a_truncated_mp4_only_up_to_the_cut(make):
    path = make("a.mp4", *TESTSRC, "testsrc2=s=320x240:d=4:r=25", "-g", 10, "-movflags", "+faststart")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    refuses(path, "damaged or cut off")
    assert len(read_clip(path, seconds=0.4)) == 10


def test_read_clip_refuses_a_start_beyond_the_end_and_sound_alone(make):
    refuses(make("a.mp4", *TESTSRC, "testsrc=s=64x48:d=1:r=25"), "lasts 1.00 s", start=5.0)
    refuses(make("a.wav", *TESTSRC, "sine=d=1"), "no video stream")


def test_read_clip_refuses_a_video_stream_without_frames(make):
    path = make("a.mkv", *TESTSRC, "testsrc=s=64x48:d=1:r=25", "-c:v", "ffv1")
    subprocess.run(
        [executable(), "-v", "error", "-y", "-i", path, "-c", "copy", "-frames:v", "0", path.with_name("b.mkv")],
        check=False,
    )
    refuses(path.with_name("b.mkv"), "no video|cut off|not a video")


@pytest.mark.parametrize("name", ["list.m3u8", "list.mp4", "list.txt", "list.ffconcat"])
def test_read_clip_refuses_playlists(make, tmp_path, name):
    secret = make("secret.ts", *TESTSRC, "testsrc=s=64x48:d=1:r=25")
    if name.endswith(("m3u8", "mp4")):
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{secret}\n#EXT-X-ENDLIST\n"
    else:
        text = f"ffconcat version 1.0\nfile {secret.name}\n"
    (tmp_path / name).write_text(text)
    refuses(tmp_path / name, "playlist")


def test_read_clip_reads_files_whose_names_look_like_options_or_urls(make, tmp_path, monkeypatch):
    source = make("a.mkv", *TESTSRC, "testsrc=s=64x48:d=0.2:r=25", "-c:v", "ffv1")
    monkeypatch.chdir(tmp_path)
    for name in ("-i.mkv", "http:x.mkv", "concat:a.mkv|b.mkv", "100%03d 'ä'.mkv"):
        Path(name).write_bytes(source.read_bytes())
        assert len(read_clip(Path(name))) == 5
