"""``thgen preprocess episodes`` makes a set of episodes; most tests copy real frames in place of rendering them."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from thcli.clips.encode import VideoWriter
from thcli.commands.preprocess import command
from thcli.data.episodes import Episode, read_episode, read_index
from thcli.data.store import CROP, TRACK, ClipMeta, Store, StoreWriter, save_track, write_index
from thcli.preprocess import episodes as preprocess
from thcli.preprocess.episodes import EpisodeOptions

FRAMES = 60
CLIPS = (ClipMeta("ada_one", "ada", "train", FRAMES), ClipMeta("ada_two", "ada", "train", FRAMES),
         ClipMeta("bob_one", "bob", "val", FRAMES))  # fmt: skip
TWO = ("--windows", 2)
"""Option for two windows per episode, for which clips of 44 frames are long enough."""


@pytest.fixture(scope="module")
def filled(tmp_path_factory, portrait_png, talking) -> Path:
    """Make a store of three clips, each frame of which is brighter than the one before."""
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
    """Copy that store into the current folder, as ``store``."""
    shutil.copytree(filled, folder / "store")
    return Store(folder / "store")


@pytest.fixture
def copied(monkeypatch) -> None:
    """Copy real frames into episodes in place of rendering any."""

    def copy(models, person, clip, track, windows, random):
        frames = np.concatenate([[first, first + 1] for first in windows])
        real, landmarks = clip.frames[frames], track.landmarks[frames, :, :2]
        references = person.track.landmarks[person.reference_indices, :, :2]
        matched = random.integers(0, len(references), len(frames))
        return Episode(person.reference_images, references, real, real, real, landmarks, matched)

    monkeypatch.setattr(preprocess, "render_episode", copy)


FRAMES_AND_EPISODES = "--frames sets the number of episodes; leave out --episodes."
TRACKED = "cannot be used with 'episodes': its clips have been tracked."


def contents(root: Path) -> dict[str, bytes]:
    """Return the files of a set by name."""
    return {path.name: path.read_bytes() for path in root.iterdir()}


def size(root: Path) -> str:
    """Return the size of a set as the command prints it."""
    return f"{sum(path.stat().st_size for path in root.glob('*.safetensors')) / 2**20:.1f} MiB"


def test_preprocess_episodes_renders_a_set(thgen, store, folder):
    said = thgen("preprocess", "episodes", "store", "--out", "episodes", "--frames", 8, *TWO)
    root = folder / "episodes"
    assert said.err == f"episodes: 2 of 2 clips; there are 2 episodes now, of 8 frames, {size(root)}\n"
    assert (said.code, said.out) == (0, "")
    assert said.new == ("episodes/ada_two.0.safetensors", "episodes/bob_one.0.safetensors", "episodes/takes.jsonl")
    metas = read_index(root)
    assert [(meta.file, meta.subject, meta.split, meta.frames) for meta in metas] == [
        ("ada_two.0.safetensors", "ada", "train", 4), ("bob_one.0.safetensors", "bob", "val", 4)
    ]  # fmt: skip
    for meta in metas:
        episode = read_episode(root / meta.file)
        assert episode.meta == meta and len(episode.reference_landmarks) == meta.references
        real, rendered = (episode.images(name, range(4)).astype(int) for name in ("real", "geometric"))
        # It is rendered from frames of the same portrait, which are darker or brighter.
        assert np.corrcoef(real[:, 60:200, 60:200].ravel(), rendered[:, 60:200, 60:200].ravel())[0, 1] > 0.8
        assert not np.array_equal(real, rendered)


@pytest.mark.usefixtures("store")
def test_preprocess_takes_writes_the_bytes_of_preprocess_episodes(thgen, folder):
    """``takes`` and ``--takes`` are the older names of the kind and of its option."""
    given = ("store", "--windows", 1, "--seed", 3)
    new = thgen("preprocess", "episodes", *given, "--out", "new", "--episodes", 1)
    old = thgen("preprocess", "takes", *given, "--out", "old", "--takes", 1)
    assert (new.code, old.code) == (0, 0)
    assert old.err == new.err.replace("new:", "old:")
    assert contents(folder / "old") == contents(folder / "new")
    assert sorted(contents(folder / "new")) == [*(f"{meta.clip}.0.safetensors" for meta in CLIPS), "takes.jsonl"]


@pytest.mark.usefixtures("copied", "store")
def test_preprocess_episodes_renders_frames_beside_the_references(thgen, folder):
    """The brightness of a frame tells its number."""
    assert thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO).code == 0
    for meta in read_index(folder / "episodes"):
        episode = read_episode(folder / "episodes" / meta.file)
        real, references = (
            np.array([image.mean() for image in episode.images(name, range(len(episode.jpegs[name])))])
            for name in ("real", "references")
        )
        assert (np.diff(real)[::2] > 0).all() and not ((real > references.min()) & (real < references.max())).any()


@pytest.mark.usefixtures("copied", "store")
def test_preprocess_episodes_depends_on_seed_clip_and_number_alone(thgen, folder):
    for out, *given in (
        ("first", "--episodes", 2), ("more",), ("other", "--episodes", 2, "--seed", 1), ("even", "--frames", 12),
    ):  # fmt: skip
        assert thgen("preprocess", "episodes", "store", "--out", out, *TWO, *given).code == 0
    first, more, other, even = (contents(folder / out) for out in ("first", "more", "other", "even"))
    assert len(first) == len(other) == 3 * 2 + 1 and len(more) == 3 * 3 + 1 and len(even) == 3 + 1
    assert all(more[name] == first[name] for name in first if name != "takes.jsonl")
    assert all(even[name] == first[name] for name in even if name != "takes.jsonl")
    assert not any(other[name] == first[name] for name in first if name != "takes.jsonl")
    assert len(set(first.values())) == len(first)


@pytest.mark.usefixtures("store")
def test_preprocess_episodes_with_workers_renders_the_same(thgen, folder, filled):
    """Workers are processes of their own, so that images are rendered; a bad clip stops no other."""
    (folder / "store/ada_two" / CROP).write_bytes(b"this is no video")
    said = thgen("preprocess", "episodes", "store", "--out", "many", "--episodes", 1, "--windows", 1, "--workers", 2)
    alone = thgen("preprocess", "episodes", "store", "--out", "one", "--episodes", 1, "--windows", 1)
    assert (said.code, alone.code) == (7, 7)
    assert contents(folder / "many") == contents(folder / "one") and len(contents(folder / "one")) == 3


@pytest.mark.usefixtures("copied", "store")
def test_preprocess_episodes_with_resume_makes_what_is_missing(thgen, folder):
    root, arguments = folder / "episodes", ("preprocess", "episodes", "store", "--out", "episodes", *TWO)
    assert thgen(*arguments).code == 0
    first = contents(root)
    stamp = (root / "ada_one.0.safetensors").stat().st_mtime_ns
    (root / "ada_two.1.safetensors").unlink()
    (root / "takes.jsonl").unlink()
    (root / ".bob_one.0.safetensors.999999999.partial").write_bytes(b"half")
    said = thgen(*arguments, "--resume")
    assert said.err == f"episodes: 3 of 3 clips; there are 9 episodes now, of 36 frames, {size(root)}\n"
    assert contents(root) == first
    assert (root / "ada_one.0.safetensors").stat().st_mtime_ns == stamp
    # More episodes are asked for than there are.
    assert thgen(*arguments, "--resume", "--episodes", 4).code == 0
    assert len(contents(root)) == 3 * 4 + 1


@pytest.mark.usefixtures("copied", "store")
def test_preprocess_episodes_resumes_an_interrupted_run(thgen, folder, monkeypatch):
    arguments = ("preprocess", "episodes", "store", *TWO, "--episodes", 2, "--out")
    thgen(*arguments, "whole")
    replace, calls = os.replace, iter(range(100))

    def cut_off(source, target):
        if next(calls) == 3:  # The second file of the second clip is written, but not renamed.
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


@pytest.mark.usefixtures("copied", "store")
def test_preprocess_episodes_replaces_the_episodes_of_an_earlier_run(thgen, folder):
    for count in (3, 1):
        assert thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO, "--episodes", count).code == 0
    assert sorted(contents(folder / "episodes")) == [*(f"{meta.clip}.0.safetensors" for meta in CLIPS), "takes.jsonl"]
    assert len(read_index(folder / "episodes")) == 3


@pytest.mark.usefixtures("copied")
def test_preprocess_episodes_goes_on_after_bad_clips_and_ends_with_code_7(thgen, store, folder, monkeypatch):
    one, two = (folder / "store" / clip for clip in ("ada_one", "ada_two"))
    (one / CROP).write_bytes(b"this is no video")
    track = store.track("ada_two")
    save_track(two / TRACK, dataclasses.replace(track, confidence=np.zeros(FRAMES, np.float32)))
    said = thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO)
    assert (said.code, said.err.splitlines()) == (7, [
        "thgen: store/ada_one/crop.mp4: not a video, photo or sound file that ffmpeg reads; expected MP4, MOV, WAV, "
        "MP3, JPEG…",
        "thgen: ada_two: the face was found in no two frames on end but those of references; leave the clip out",
        f"episodes: 1 of 3 clips; there are 3 episodes now, of 12 frames, {size(folder / 'episodes')}",
        "thgen: error: 2 of 3 clips failed; the others are in episodes",
    ])  # fmt: skip
    save_track(one / TRACK, dataclasses.replace(track, size=(128, 128)))
    shutil.copy(folder / "store/bob_one" / CROP, one / CROP)
    save_track(two / TRACK, track.select(slice(30)))
    said = thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO)
    assert said.err.splitlines()[:2] == [
        "thgen: store/ada_one/crop.mp4: 256x256 pixels, tracked at 128x128, expected 256x256; preprocess it again",
        "thgen: store/ada_two/crop.mp4: 30 frames, its index says 60; preprocess it again",
    ]
    monkeypatch.setattr(preprocess, "render_episode", lambda *_: [][0])
    said = thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO)
    assert said.code == 7 and "thgen: bob_one: a bug in thgen (IndexError: list index out of range; " in said.err


@pytest.mark.usefixtures("copied")
def test_preprocess_episodes_leaves_out_short_clips_and_counts_long_ones(thgen, store, folder, monkeypatch):
    index = [dataclasses.replace(meta, frames=FRAMES if meta.subject == "bob" else 43) for meta in store.clips]
    (folder / "store/index.jsonl").write_text("".join(json.dumps(vars(meta)) + "\n" for meta in index))
    said = thgen("preprocess", "episodes", "store", "--out", "episodes", *TWO)
    assert (said.code, said.err.splitlines()) == (0, [
        "thgen: 2 of 3 clips are left out: they have fewer than 44 frames, 40 for references and 4 to draw",
        f"episodes: 1 of 1 clips; there are 3 episodes now, of 12 frames, {size(folder / 'episodes')}",
    ])  # fmt: skip
    monkeypatch.setattr(preprocess, "LONGEST", 2.0)
    said = thgen("preprocess", "episodes", "store", "--out", "more", *TWO)
    assert said.err.splitlines()[1] == (
        "thgen: 1 of 3 clips are longer than 2 s: episodes come from their first 2 s, which is what is held in memory "
        "at a time"
    )
    said = thgen("preprocess", "episodes", "store", "--out", "none", "--windows", 11)
    assert (said.code, said.err, said.new) == (3, (
        "thgen: error: store: no clip of 62 frames or more, the longest has 60; give longer ones, or fewer --windows\n"
    ), ())  # fmt: skip


@pytest.mark.usefixtures("copied", "store")
@pytest.mark.parametrize(
    ("frames", "counts"), [(4, (0, 0, 1)), (8, (0, 1, 1)), (15, (1, 1, 1)), (20, (1, 2, 2)), (50, (4, 4, 4))]
)
def test_preprocess_episodes_spreads_frames_over_the_clips(thgen, folder, frames, counts):
    assert thgen("preprocess", "episodes", "store", "--out", "episodes", "--frames", frames, *TWO).code == 0
    metas = read_index(folder / "episodes")
    assert tuple(sum(meta.file.startswith(clip.clip) for meta in metas) for clip in CLIPS) == counts
    assert sum(meta.frames for meta in metas) <= frames


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("episodes", "store", "--tracker", "builtin"), f"--tracker {TRACKED}"),
        (("episodes", "store", "--layout", "lrw"), f"--layout {TRACKED}"),
        (("all", "store", "--episodes", 3), "--episodes applies to 'preprocess episodes' only."),
        (("mesh", "store", "--frames", 30), "--frames applies to 'preprocess episodes' only."),
        (("audio", "store", "--windows", 3), "--windows applies to 'preprocess episodes' only."),
        (("all", "store", "--quality", 80), "--quality applies to 'preprocess episodes' only."),
        (("all", "store", "--seed", 1), "--seed applies to 'preprocess episodes' only."),
        (("episodes", "store", "--episodes", 1, "--frames", 9), FRAMES_AND_EPISODES),
        (("episodes", "store", "more"), "episodes: 2 sources, expected one folder that 'thgen preprocess all' made."),
        (("episodes", "store", "--quality", 96), "Invalid value for '--quality': 96 is not in the range 1<=x<=95."),
    ],
)  # fmt: skip
def test_preprocess_refuses_options_of_another_kind(thgen, arguments, message):
    said = thgen("preprocess", *arguments, "--out", "out")
    assert (said.code, said.new) == (2, ())
    assert said.err == f"thgen: error: {message} See 'thgen preprocess --help'.\n"


def test_preprocess_episodes_refuses_a_folder_of_videos_and_too_few_frames(thgen, filled, folder):
    (folder / "videos").mkdir()
    said = thgen("preprocess", "episodes", "videos", "--out", "episodes")
    assert (said.code, said.new, said.err) == (3, (), (
        "thgen: error: videos: no index.jsonl there, expected preprocessed clips; make them with "
        "'thgen preprocess all'\n"
    ))  # fmt: skip
    said = thgen("preprocess", "episodes", filled, "--out", "episodes", "--frames", 3, *TWO)
    assert (said.code, said.new, said.err) == (2, (), (
        "thgen: error: --frames 3: one episode alone has 4; give more, or fewer --windows\n"
    ))  # fmt: skip


def test_preprocess_command_has_the_defaults_of_episode_options():
    given = command.make_context("preprocess", ["episodes", "store", "--out", "episodes"]).params
    for field in dataclasses.fields(EpisodeOptions):
        assert given[field.name] == field.default, field.name
