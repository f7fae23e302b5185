"""``thgen preprocess takes`` from a store to a set of takes; but for one test, of pictures that are not drawn."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import thcli.preprocess.episodes
from thcli.clips.encode import VideoWriter
from thcli.commands.preprocess import command
from thcli.data.episodes import Take, read_index, read_take
from thcli.data.store import CROP, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.preprocess.episodes import PAST, TakesOptions, _shown, _windows

FRAMES = 60
CLIPS = (ClipMeta("ada_one", "ada", "train", FRAMES), ClipMeta("ada_two", "ada", "train", FRAMES),
         ClipMeta("bob_one", "bob", "val", FRAMES))  # fmt: skip
TWO = ("--windows", 2)
"""Windows, so that clips of 44 frames will do."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory, portrait_png, talking) -> Path:
    """A store of three clips, each frame of which is brighter than the one before."""
    root = tmp_path_factory.mktemp("filled")
    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    for seed, meta in enumerate(CLIPS):
        with StoreWriter(root).clip(meta) as folder:
            with VideoWriter(folder / CROP, (256, 256), None, FRAMES) as video:
                for t in range(FRAMES):
                    video.write((portrait * (0.4 + 0.01 * t)).astype(np.uint8))
            save_track(folder / TRACK, talking(seed, FRAMES))
    write_index(root)
    return root


@pytest.fixture
def store(filled, folder) -> Store:
    """A copy of it in the current folder, as ``store``."""
    shutil.copytree(filled, folder / "store")
    return Store(folder / "store")


@pytest.fixture
def undrawn(monkeypatch) -> None:
    """Takes whose pictures are not drawn: real frames in their place."""

    def copied(person, clip, track, windows, random):
        frames = np.concatenate([[first, first + 1] for first in windows])
        real, landmarks = clip.frames[frames], track.landmarks[frames, :, :2]
        references = person.track.landmarks[person.chosen, :, :2]
        matched = random.integers(0, len(references), len(frames))
        return Take(person.crops, references, real, real, real, landmarks, matched)

    monkeypatch.setattr(thcli.preprocess.episodes, "draw_take", copied)


TRACKED = "cannot be used with 'takes': its clips have been tracked."


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in root.iterdir()}


def size(root: Path) -> str:
    return f"{sum(path.stat().st_size for path in root.glob('*.safetensors')) / 2**20:.1f} MiB"


def test_a_set_is_drawn(thgen, store, folder):
    said = thgen("preprocess", "takes", "store", "--out", "takes", "--frames", 8, *TWO)
    root = folder / "takes"
    assert said.err == f"takes: 2 of 2 clips; there are 2 takes now, of 8 frames, {size(root)}\n"
    assert (said.code, said.out) == (0, "")
    assert said.new == ("takes/ada_two.0.safetensors", "takes/bob_one.0.safetensors", "takes/takes.jsonl")
    metas = read_index(root)
    assert [(meta.file, meta.subject, meta.split, meta.frames) for meta in metas] == [
        ("ada_two.0.safetensors", "ada", "train", 4), ("bob_one.0.safetensors", "bob", "val", 4)
    ]  # fmt: skip
    for meta in metas:
        take = read_take(root / meta.file)
        assert take.meta == meta and len(take.reference_landmarks) == meta.references
        real, drawn = (take.pictures(name, range(4)).astype(int) for name in ("real", "geometric"))
        # drawn from the same portrait, if darker or brighter
        assert np.corrcoef(real[:, 60:200, 60:200].ravel(), drawn[:, 60:200, 60:200].ravel())[0, 1] > 0.8
        assert not np.array_equal(real, drawn)


@pytest.mark.usefixtures("undrawn", "store")
def test_windows_come_from_beside_the_references(thgen, folder):
    """Frames tell their number by how bright they are."""
    assert thgen("preprocess", "takes", "store", "--out", "takes", *TWO).code == 0
    for meta in read_index(folder / "takes"):
        take = read_take(folder / "takes" / meta.file)
        real, references = (
            np.array([picture.mean() for picture in take.pictures(name, range(len(take.jpegs[name])))])
            for name in ("real", "references")
        )
        assert (np.diff(real)[::2] > 0).all() and not ((real > references.min()) & (real < references.max())).any()


@pytest.mark.usefixtures("undrawn", "store")
def test_a_take_depends_on_seed_clip_and_number_alone(thgen, folder):
    for out, *given in (
        ("first", "--takes", 2), ("more",), ("other", "--takes", 2, "--seed", 1), ("even", "--frames", 12),
    ):  # fmt: skip
        assert thgen("preprocess", "takes", "store", "--out", out, *TWO, *given).code == 0
    first, more, other, even = (contents(folder / out) for out in ("first", "more", "other", "even"))
    assert len(first) == len(other) == 3 * 2 + 1 and len(more) == 3 * 3 + 1 and len(even) == 3 + 1
    assert all(more[name] == first[name] for name in first if name != "takes.jsonl")
    assert all(even[name] == first[name] for name in even if name != "takes.jsonl")
    assert not any(other[name] == first[name] for name in first if name != "takes.jsonl")
    assert len(set(first.values())) == len(first)


@pytest.mark.usefixtures("store")
def test_several_workers_draw_the_same(thgen, folder, filled):
    """Processes of their own, so the pictures are drawn; a bad clip stops no other."""
    (folder / "store/ada_two" / CROP).write_bytes(b"this is no video")
    said = thgen("preprocess", "takes", "store", "--out", "many", "--takes", 1, "--windows", 1, "--workers", 2)
    alone = thgen("preprocess", "takes", "store", "--out", "one", "--takes", 1, "--windows", 1)
    assert (said.code, alone.code) == (7, 7)
    assert contents(folder / "many") == contents(folder / "one") and len(contents(folder / "one")) == 3


@pytest.mark.usefixtures("undrawn", "store")
def test_resume_makes_what_is_missing(thgen, folder):
    root, arguments = folder / "takes", ("preprocess", "takes", "store", "--out", "takes", *TWO)
    assert thgen(*arguments).code == 0
    first = contents(root)
    stamp = (root / "ada_one.0.safetensors").stat().st_mtime_ns
    (root / "ada_two.1.safetensors").unlink()
    (root / "takes.jsonl").unlink()
    (root / ".bob_one.0.safetensors.999999999.partial").write_bytes(b"half")
    said = thgen(*arguments, "--resume")
    assert said.err == f"takes: 3 of 3 clips; there are 9 takes now, of 36 frames, {size(root)}\n"
    assert contents(root) == first
    assert (root / "ada_one.0.safetensors").stat().st_mtime_ns == stamp
    # more takes than there are is not done yet
    assert thgen(*arguments, "--resume", "--takes", 4).code == 0
    assert len(contents(root)) == 3 * 4 + 1


@pytest.mark.usefixtures("undrawn", "store")
def test_a_run_that_is_cut_off_is_taken_up(thgen, folder, monkeypatch):
    arguments = ("preprocess", "takes", "store", *TWO, "--takes", 2, "--out")
    thgen(*arguments, "whole")
    replace, calls = os.replace, iter(range(100))

    def cut_off(source, target):
        if next(calls) == 3:  # in the second clip, its second file written but not in its place
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", cut_off)
        said = thgen(*arguments, "cut")
    assert (said.code, said.err) == (130, "thgen: interrupted\n")
    assert said.new == (
        "cut/ada_one.0.safetensors", "cut/ada_one.1.safetensors", "cut/ada_two.0.safetensors", "cut/takes.jsonl",
    )  # fmt: skip
    assert [meta.file for meta in read_index(folder / "cut")] == [Path(name).name for name in said.new[:-1]]
    assert thgen(*arguments, "cut", "--resume").code == 0
    assert contents(folder / "cut") == contents(folder / "whole")


@pytest.mark.usefixtures("undrawn", "store")
def test_drawn_anew_a_clip_s_takes_replace_those_it_had(thgen, folder):
    for takes in (3, 1):
        assert thgen("preprocess", "takes", "store", "--out", "takes", *TWO, "--takes", takes).code == 0
    assert sorted(contents(folder / "takes")) == [*(f"{meta.clip}.0.safetensors" for meta in CLIPS), "takes.jsonl"]
    assert len(read_index(folder / "takes")) == 3


@pytest.mark.usefixtures("undrawn")
def test_bad_clips_do_not_stop_the_others(thgen, store, folder, monkeypatch):
    one, two = (folder / "store" / clip for clip in ("ada_one", "ada_two"))
    (one / CROP).write_bytes(b"this is no video")
    track = store.track("ada_two")
    save_track(two / TRACK, dataclasses.replace(track, confidence=np.zeros(FRAMES, np.float32)))
    said = thgen("preprocess", "takes", "store", "--out", "takes", *TWO)
    assert (said.code, said.err.splitlines()) == (7, [
        "thgen: store/ada_one/crop.mp4: not a video, photo or sound file that ffmpeg reads; expected MP4, MOV, WAV, "
        "MP3, JPEG…",
        "thgen: ada_two: the face was found in no two frames on end but those of references; leave the clip out",
        f"takes: 1 of 3 clips; there are 3 takes now, of 12 frames, {size(folder / 'takes')}",
        "thgen: error: 2 of 3 clips failed; the others are in takes",
    ])  # fmt: skip
    save_track(one / TRACK, dataclasses.replace(track, size=(128, 128)))
    shutil.copy(folder / "store/bob_one" / CROP, one / CROP)
    save_track(two / TRACK, track.select(slice(30)))
    said = thgen("preprocess", "takes", "store", "--out", "takes", *TWO)
    assert said.err.splitlines()[:2] == [
        "thgen: store/ada_one/crop.mp4: 256x256 pixels, tracked at 128x128, expected 256x256; preprocess it again",
        "thgen: store/ada_two/crop.mp4: 30 frames, its index says 60; preprocess it again",
    ]
    monkeypatch.setattr(thcli.preprocess.episodes, "draw_take", lambda *_: [][0])
    said = thgen("preprocess", "takes", "store", "--out", "takes", *TWO)
    assert said.code == 7 and "thgen: bob_one: a bug in thgen (IndexError: list index out of range; " in said.err


@pytest.mark.usefixtures("undrawn")
def test_short_clips_are_left_out_and_counted(thgen, store, folder):
    index = [dataclasses.replace(meta, frames=FRAMES if meta.subject == "bob" else 43) for meta in store.clips]
    (folder / "store/index.jsonl").write_text("".join(json.dumps(vars(meta)) + "\n" for meta in index))
    said = thgen("preprocess", "takes", "store", "--out", "takes", *TWO)
    assert (said.code, said.err.splitlines()) == (0, [
        "thgen: 2 of 3 clips are left out: they have fewer than 44 frames, 40 for references and 4 to draw",
        f"takes: 1 of 1 clips; there are 3 takes now, of 12 frames, {size(folder / 'takes')}",
    ])  # fmt: skip
    said = thgen("preprocess", "takes", "store", "--out", "none", "--windows", 11)
    assert (said.code, said.err, said.new) == (3, (
        "thgen: error: store: no clip of 62 frames or more, the longest has 60; give longer ones, or fewer --windows\n"
    ), ())  # fmt: skip


@pytest.mark.usefixtures("undrawn", "store")
@pytest.mark.parametrize(
    ("frames", "takes"), [(4, (0, 0, 1)), (8, (0, 1, 1)), (15, (1, 1, 1)), (20, (1, 2, 2)), (50, (4, 4, 4))]
)
def test_frames_in_all_are_spread_over_the_clips(thgen, folder, frames, takes):
    assert thgen("preprocess", "takes", "store", "--out", "takes", "--frames", frames, *TWO).code == 0
    metas = read_index(folder / "takes")
    assert tuple(sum(meta.file.startswith(clip.clip) for meta in metas) for clip in CLIPS) == takes
    assert sum(meta.frames for meta in metas) <= frames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("takes", "store", "--tracker", "builtin"), f"--tracker {TRACKED}"),
        (("takes", "store", "--layout", "lrw"), f"--layout {TRACKED}"),
        (("all", "store", "--takes", 3), "--takes is for 'preprocess takes'."),
        (("mesh", "store", "--frames", 30), "--frames is for 'preprocess takes'."),
        (("audio", "store", "--windows", 3), "--windows is for 'preprocess takes'."),
        (("all", "store", "--quality", 80), "--quality is for 'preprocess takes'."),
        (("all", "store", "--seed", 1), "--seed is for 'preprocess takes'."),
        (("takes", "store", "--takes", 1, "--frames", 9), "--frames says how many takes there are; leave out --takes."),
        (("takes", "store", "more"), "takes: 2 sources, expected one folder that 'thgen preprocess all' made."),
        (("takes", "store", "--quality", 96), "Invalid value for '--quality': 96 is not in the range 1<=x<=95."),
    ],
)  # fmt: skip
def test_options_that_do_not_go_with_a_kind_are_refused(thgen, arguments, message):
    said = thgen("preprocess", *arguments, "--out", "out")
    assert (said.code, said.new) == (2, ())
    assert said.err == f"thgen: error: {message} See 'thgen preprocess --help'.\n"


def test_what_is_no_store_and_too_few_frames_are_refused(thgen, filled, folder):
    (folder / "videos").mkdir()
    said = thgen("preprocess", "takes", "videos", "--out", "takes")
    assert (said.code, said.new, said.err) == (3, (), (
        "thgen: error: videos: no index.jsonl there, expected preprocessed clips; make them with "
        "'thgen preprocess all'\n"
    ))  # fmt: skip
    said = thgen("preprocess", "takes", filled, "--out", "takes", "--frames", 3, *TWO)
    assert (said.code, said.new, said.err) == (2, (), (
        "thgen: error: --frames 3: one take alone has 4; give more, or fewer --windows\n"
    ))  # fmt: skip


def test_the_command_has_the_defaults_of_the_library():
    given = command.make_context("preprocess", ["takes", "store", "--out", "takes"]).params
    for field in dataclasses.fields(TakesOptions):
        assert given[field.name] == field.default, field.name


def test_windows_lie_apart_and_hold_no_reference():
    random = np.random.default_rng(0)
    for _ in range(500):
        windows = int(random.integers(1, 12))
        length = int(random.integers(PAST[0] + 2 * windows, 300))
        shown = _shown(length, windows, random)
        assert PAST[0] <= shown.stop - shown.start <= PAST[1] and shown.start >= 0 and shown.stop <= length
        firsts = _windows(np.ones(length, np.float32), shown, windows, random)
        assert len(firsts) == windows and firsts == sorted(firsts)
        frames = {t for first in firsts for t in (first, first + 1)}
        assert len(frames) == 2 * windows and frames <= set(range(length)) - set(range(shown.start, shown.stop))


def test_frames_where_the_face_was_lost_are_not_drawn():
    random = np.random.default_rng(0)
    confidence = np.ones(100, np.float32)
    confidence[50:] = 0
    confidence[[60, 61, 75]] = 0.9
    assert _windows(confidence, slice(0, 50), 8, random) == [60]
    assert _windows(confidence[50:], slice(0, 20), 8, random) == []
