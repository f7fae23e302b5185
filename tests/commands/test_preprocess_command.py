"""``thgen preprocess`` makes a store of files, or writes parts of tracks; the tracker here finds a face everywhere."""

from __future__ import annotations

import json

import numpy as np
import pytest
import soundfile

from thcli.clips.decode import read_clip
from thcli.data.store import Store
from thcli.preprocess import clips


@pytest.fixture
def videos(media, faceless_clip, folder):
    """Make a folder with three clips of two subjects."""
    for place in ("train/ada/one.mp4", "train/ada/two.mp4", "val/bob/one.mp4"):
        target = folder / "videos" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes((folder / faceless_clip).read_bytes())
    return "videos"


@pytest.mark.usefixtures("nodding")
def test_preprocess_all_makes_a_store_that_training_reads(thgen, videos, folder):
    said = thgen("preprocess", "all", videos, "--out", "store")
    assert (said.code, said.err) == (0, "store: 3 of 3 clips\n")
    store = Store(folder / "store")
    assert [(m.clip, m.subject, m.split, m.frames) for m in store.clips] == [
        ("ada_one", "ada", "train", 50), ("ada_two", "ada", "train", 50), ("bob_one", "bob", "val", 50),
    ]  # fmt: skip
    track = store.track("ada_one")
    assert (len(track), track.size, track.tracker) == (50, (256, 256), "nodding 1")
    assert read_clip(store.crop("ada_one")).frames.shape == (50, 256, 256, 3)
    samples, rate = soundfile.read(store.speech("ada_one"))
    assert (len(samples), rate) == (50 * 640, 16_000)


@pytest.mark.usefixtures("nodding")
def test_preprocess_with_resume_keeps_what_is_done(thgen, videos, folder):
    thgen("preprocess", "all", videos, "--out", "store")
    stamp = (folder / "store/ada_one/track.npz").stat().st_mtime_ns
    (folder / "store/ada_two/meta.json").unlink()
    assert thgen("preprocess", "all", videos, "--out", "store", "--resume").code == 0
    assert (folder / "store/ada_one/track.npz").stat().st_mtime_ns == stamp
    assert (folder / "store/ada_two/meta.json").is_file()
    assert thgen("preprocess", "all", videos, "--out", "store").code == 0
    assert (folder / "store/ada_one/track.npz").stat().st_mtime_ns > stamp


@pytest.mark.usefixtures("nodding")
@pytest.mark.parametrize(
    ("kind", "shapes"),
    [
        ("landmarks", {"box": (50, 4), "landmarks": (50, 68, 3)}),
        ("poses", {"pose": (50, 6), "scale": ()}),
        ("mesh", {"mesh": (50, 478, 3)}),
    ],
)
def test_preprocess_writes_a_part_of_the_track(thgen, faceless_clip, folder, kind, shapes):
    said = thgen("preprocess", kind, faceless_clip, "--out", "tracks")
    assert (said.code, said.new) == (0, (f"tracks/bars.{kind}.npz",))
    with np.load(folder / said.new[0], allow_pickle=False) as arrays:
        assert {name: arrays[name].shape for name in shapes} == shapes
        assert (float(arrays["fps"]), tuple(arrays["size"]), str(arrays["tracker"])) == (25, (160, 120), "nodding 1")


def test_preprocess_audio_needs_no_face(thgen, faceless_clip, folder):
    said = thgen("preprocess", "audio", faceless_clip, "--out", "sound")
    assert (said.code, said.new) == (0, ("sound/bars.audio.npz",))
    with np.load(folder / said.new[0], allow_pickle=False) as arrays:
        assert (arrays["log_mel"].shape, arrays["activity"].shape) == ((50, 4, 80), (50,))


@pytest.mark.usefixtures("nodding")
def test_preprocess_goes_on_after_a_bad_clip_and_ends_with_code_7(thgen, videos, folder):
    (folder / "videos/val/bob/two.mp4").write_text("this is no video")
    said = thgen("preprocess", "all", videos, "--out", "store")
    assert said.code == 7
    assert said.err.splitlines() == [
        "thgen: videos/val/bob/two.mp4: not a video, photo or sound file that ffmpeg reads; "
        "expected MP4, MOV, WAV, MP3, JPEG…",
        "store: 3 of 4 clips",
        "thgen: error: 1 of 4 clips failed; the others are in store",
    ]
    index = [json.loads(line)["clip"] for line in (folder / "store/index.jsonl").read_text().splitlines()]
    assert index == ["ada_one", "ada_two", "bob_one"]
    assert not [name for name in said.new if "partial" in name or "bob_two" in name]


@pytest.mark.usefixtures("nodding")
def test_preprocess_resumes_an_interrupted_run(thgen, videos, folder, monkeypatch):
    save_track, cut_off = clips.save_track, iter([False, True])

    def save(*arguments):
        if next(cut_off, False):
            raise KeyboardInterrupt
        save_track(*arguments)

    monkeypatch.setattr(clips, "save_track", save)
    assert thgen("preprocess", "all", videos, "--out", "store").code == 130
    assert [m.clip for m in Store(folder / "store").clips] == ["ada_one"]
    assert sorted(path.name for path in (folder / "store").iterdir()) == ["ada_one", "index.jsonl"]
    stamp = (folder / "store/ada_one/track.npz").stat().st_mtime_ns
    assert thgen("preprocess", "all", videos, "--out", "store", "--resume").code == 0
    assert [m.clip for m in Store(folder / "store").clips] == ["ada_one", "ada_two", "bob_one"]
    assert (folder / "store/ada_one/track.npz").stat().st_mtime_ns == stamp


def test_preprocess_with_workers_goes_on_after_a_bad_clip(thgen, videos, folder):
    (folder / "videos/val/bob/two.mp4").write_text("this is no video")
    said = thgen("preprocess", "audio", videos, "--out", "sound", "--workers", 2)
    assert said.code == 7
    assert said.new == tuple(f"sound/{clip}.audio.npz" for clip in ("ada_one", "ada_two", "bob_one"))
    assert said.err.startswith("thgen: videos/val/bob/two.mp4: not a video") and said.err.count("\n") == 3


@pytest.mark.usefixtures("nodding")
def test_preprocess_all_names_clips_off_sync(thgen, videos, folder):
    lags = {"one": 6, "two": -4, "three": 3, "four": None}
    for place, clip in zip(sorted((folder / videos).rglob("*.mp4")), lags, strict=False):
        place.rename(folder / videos / f"{clip}.mp4")
    lines = [{"clip": c, "subject": "s", "split": "train", "av_lag": lag} for c, lag in list(lags.items())[:3]]
    (folder / videos / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    said = thgen("preprocess", "all", videos, "--out", "store")
    named = ["off sync: one: mouth 6 frames later than usual", "off sync: two: mouth 4 frames earlier than usual"]
    assert said.err.splitlines() == [*named, "store: 3 of 3 clips"]
    assert {m.clip: m.av_lag for m in Store(folder / "store").clips} == {"one": 6, "three": 3, "two": -4}
    # A resumed run names them again.
    assert thgen("preprocess", "all", videos, "--out", "store", "--resume").err.splitlines()[:2] == named


@pytest.mark.usefixtures("nodding")
def test_preprocess_all_reads_a_data_set_by_its_layout(thgen, videos, folder):
    clip = (folder / "videos/val/bob/one.mp4").rename(folder / "1001_DFA_ANG_XX.mp4")
    said = thgen("preprocess", "all", clip.name, "--layout", "crema-d", "--out", "store")
    assert (said.code, said.err) == (0, "store: 1 of 1 clips\n")
    (meta,) = Store(folder / "store").clips
    assert (meta.clip, meta.subject) == ("1001_DFA_ANG_XX", "1001")
    said = thgen("preprocess", "all", videos, "--layout", "lrw", "--out", "store")
    assert (said.code, said.err) == (3, (
        "thgen: error: videos: no file named as in lrw, expected such as ABOUT/train/ABOUT_00001.mp4, "
        "found train/ada/one.mp4; choose another --layout, or 'files'\n"
    ))  # fmt: skip


def test_preprocess_all_refuses_a_subject_in_both_splits(thgen, videos, folder):
    (folder / "videos/val/bob/one.mp4").rename(folder / "videos/val/bob/three.mp4")
    (folder / "videos/val/bob").rename(folder / "videos/val/ada")
    said = thgen("preprocess", "all", videos, "--out", "store")
    assert (said.code, said.new) == (2, ()) and "both show 'ada'" in said.err


def test_preprocess_refuses_folders_without_media(thgen, folder):
    (folder / "empty").mkdir()
    said = thgen("preprocess", "all", "empty", "--out", "store")
    assert (said.code, said.new) == (3, ())
    assert said.err == "thgen: error: empty: no media files there, expected such as .3gp, .avi, .flv, .m4v\n"
    assert thgen("preprocess", "all", "missing", "--out", "store").err == (
        "thgen: error: missing: no such file or folder; check the name\n"
    )
