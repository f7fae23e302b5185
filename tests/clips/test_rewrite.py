"""Frames of a video are written again at their time stamps, beside its other streams."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.clips.ffmpeg import arguments, open_input, run
from thcli.clips.probe import probe
from thcli.clips.rewrite import NewSound, VideoRewriter, other_streams
from thcli.clips.timed import stored, stream_stored

PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=64x48:rate=24:duration=1.5")
AAC_PRIMING = 1024 / 48000
TONE = ("-f", "lavfi", "-i", "sine=frequency=300:duration=1.5")


def sound(path: Path, **given: float) -> NewSound:
    values = {"begin": 0.0, "end": 1.5, "keep": 0.0, "peak": 0.5, "whole": True, **given}
    return NewSound(probe(path), **values)  # type: ignore[arg-type]


def rewritten(source: Path, target: Path, new: NewSound, frames: int | None = None) -> Path:
    info = probe(source)
    with closing(stream_stored(info, timed=True)) as stream:
        timed = list(stream)[:frames]
    last = timed[-1]
    duration = last.duration or timed[1].time - timed[0].time  # which older ffmpegs do not say of Matroska
    clock = (last.unit, duration, timed[0].time, last.time + duration)
    with VideoRewriter(target, info, stored(info), clock, new, other_streams(info), len(timed), {}) as writer:
        for one in timed:
            writer.write_stored(one.frame, one.time)
    return target


def stamps(path: Path) -> list[float]:
    return [float(one.time * one.unit) for one in stream_stored(probe(path), timed=True)]


def header(path: Path) -> str:
    return run(arguments(open_input(path).output("-", format="null", c="copy", t=0), loglevel="info"), "x")[1].split(
        "Output #0"
    )[0]


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_varying_time_stamps_and_the_picture_come_back(media, say, folder, name):
    video = media("a.mp4", *PICTURE, "-vf", "select='not(eq(mod(n,7),2))'", "-fps_mode", "vfr", "-pix_fmt", "yuv420p")
    made = rewritten(video, Path(name), sound(say(folder / "s.wav", 1.0)))
    if name.endswith("mkv"):  # older ffmpegs count from where its AAC begins, which is before zero
        late = stamps(made)[0]
        assert min(abs(late), abs(late - AAC_PRIMING)) < 0.0011
        assert np.allclose(np.subtract(stamps(made), late), stamps(video), atol=0.0011)
    else:
        assert np.allclose(stamps(made), stamps(video), atol=1e-6)
    before, after = ([one.frame.y for one in stream_stored(probe(path))] for path in (video, made))
    assert np.abs(np.stack(before).astype(int) - np.stack(after)).mean() < 2
    assert [path.name for path in folder.iterdir() if path.name.startswith(".thgen")] == []


@pytest.mark.parametrize("name", ["out.mp4", "out.mkv"])
def test_ten_bits_and_their_tags_come_back(media, say, folder, name):
    tags = "setparams=range=tv:colorspace=bt2020nc:color_primaries=bt2020:color_trc=arib-std-b67"
    video = media("a.mkv", *PICTURE, "-vf", f"format=yuv420p10le,{tags}", "-c:v", "ffv1")
    made = rewritten(video, Path(name), sound(say(folder / "s.wav", 1.0)))
    assert probe(made).codec == "hevc yuv420p10le"
    assert stored(probe(made)).tags == stored(probe(video)).tags and len(stored(probe(made)).tags) == 4
    before, after = ([one.frame.y for one in stream_stored(probe(path))] for path in (video, made))
    assert np.abs(np.stack(before) - np.stack(after)).mean() < 4  # of 1023


def test_a_late_first_frame_stays_late(media, say, folder):
    video = media("a.mkv", *PICTURE, *TONE, "-vf", "setpts=PTS+0.5/TB", "-fps_mode", "passthrough", "-c:v", "ffv1")
    made = rewritten(video, Path("out.mp4"), sound(say(folder / "s.wav", 1.0)))
    assert stamps(made)[0] == pytest.approx(stamps(video)[0], abs=0.002) == pytest.approx(0.5, abs=0.01)


def test_other_tracks_subtitles_and_chapters_are_kept(media, say, folder):
    (folder / "t.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
    (folder / "c.txt").write_text(";FFMETADATA1\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=700\ntitle=first\n")
    video = media(
        "a.mkv", *PICTURE, *TONE, *TONE, "-i", "t.srt", "-i", "c.txt", "-map", 0, "-map", 1, "-map", 2, "-map", 3,
        "-map_chapters", 4, "-pix_fmt", "yuv420p", "-c:a", "aac", "-metadata:s:a:1", "language=fra",
    )  # fmt: skip
    for name in ("out.mp4", "out.mkv"):
        said = header(rewritten(video, Path(name), sound(say(folder / "s.wav", 1.0))))
        assert said.count(": Audio: aac") == 2 and "(fra): Audio" in said
        assert said.count(": Subtitle:") == 1 and "first" in said


def test_the_speech_takes_the_place_of_a_part_of_the_sound(media, say, folder):
    video = media("a.mp4", *PICTURE, *TONE, "-pix_fmt", "yuv420p")
    part = sound(say(folder / "s.wav", 1.0, 0.0), begin=0.5, end=1.0, whole=False)
    heard = read_speech(rewritten(video, Path("out.mp4"), part)).samples
    level = [float(np.abs(heard[int(16_000 * t) : int(16_000 * (t + 0.2))]).mean()) for t in (0.1, 0.65, 1.2)]
    assert level[1] < 0.05 * level[0] and level[2] == pytest.approx(level[0], rel=0.2)


def test_the_videos_own_sound_is_kept_below_the_speech(media, say, folder):
    video = media("a.mp4", *PICTURE, *TONE, "-pix_fmt", "yuv420p")
    silence = say(folder / "s.wav", 1.0, 0.0)
    own = read_speech(video).samples
    kept = read_speech(rewritten(video, Path("out.mp4"), sound(silence, keep=0.1))).samples
    middle = slice(4000, 16_000)
    assert np.abs(kept[middle]).mean() == pytest.approx(0.1 * np.abs(own[middle]).mean(), rel=0.1)


def test_an_error_leaves_nothing(media, say, folder):
    video = media("a.mp4", *PICTURE, "-pix_fmt", "yuv420p")
    info = probe(video)
    first = next(stream_stored(info, timed=True))
    clock = (first.unit, first.duration, 0, 10 * first.duration)
    given = (info, stored(info), clock, sound(say(folder / "s.wav", 1.0)), other_streams(info), 10, {})
    with pytest.raises(RuntimeError, match="enough"), VideoRewriter(Path("out.mp4"), *given) as writer:
        writer.write_stored(first.frame, 0)
        raise RuntimeError("enough")
    assert sorted(path.name for path in folder.iterdir()) == ["a.mp4", "s.wav"]
