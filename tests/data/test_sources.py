"""Names, subjects and splits of the clips behind files and folders."""

import json

import pytest

from thcli.data.sources import VIDEOS, check_splits, find_sources
from thcli.errors import MediaError, UsageError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def known(root, paths=None):
    found = find_sources(paths or [root], VIDEOS).clips
    return [(s.path.relative_to(root).as_posix(), s.meta.clip, s.meta.subject, s.meta.split) for s in found]


def test_find_sources_reads_split_and_subject_from_folders(tmp_path):
    touch(tmp_path, "train/ada/a.mp4", "val/b.MOV", "val/notes.txt", "train/ada/kitchen/c.mkv")
    assert known(tmp_path) == [
        ("train/ada/a.mp4", "ada_a", "ada", "train"),
        ("train/ada/kitchen/c.mkv", "ada_kitchen_c", "ada", "train"),
        ("val/b.MOV", "b", "b", "val"),
    ]


def test_find_sources_draws_stable_splits_that_hold_out_about_a_tenth(tmp_path):
    touch(tmp_path, *(f"s{number:03}/clip.mp4" for number in range(300)))
    splits = {subject: split for _, _, subject, split in known(tmp_path)}
    assert 15 <= sum(split == "val" for split in splits.values()) <= 50
    touch(tmp_path, "another/clip.mp4")
    assert {s: split for _, _, s, split in known(tmp_path) if s != "another"} == splits


def test_find_sources_reads_records_of_an_index(tmp_path):
    touch(tmp_path, "val/one.mp4", "two.mp4", "unlisted.mp4")
    lines = [
        {"clip": "one", "subject": "s1", "split": "val", "frames": 7, "av_lag": -2, "license": "CC0", "face_px": 9},
        {"clip": "two", "subject": "s2", "split": "train", "frames": 7, "av_lag": None},
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert known(tmp_path) == [("val/one.mp4", "one", "s1", "val"), ("two.mp4", "two", "s2", "train")]
    first = find_sources([tmp_path], VIDEOS).clips[0].meta
    assert (first.av_lag, first.license, first.frames) == (-2, "CC0", 0)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"clip": "../../etc/passwd", "subject": "s", "split": "val"}, "expected names, such as train or val"),
        ({"clip": "a", "subject": "s", "split": ".."}, "expected names, such as train or val"),
        ({"clip": "gone", "subject": "s", "split": "val"}, "lists 'gone', but there is no such file"),
        ({"subject": "s"}, "line 1 is no record of a clip"),
        ([], "line 1 is no record of a clip"),
    ],
)
def test_find_sources_refuses_an_index_that_cannot_be_true(tmp_path, record, message):
    (tmp_path / "index.jsonl").write_text(json.dumps(record))
    with pytest.raises(MediaError, match=message):
        find_sources([tmp_path], VIDEOS)


def test_find_sources_takes_a_split_of_another_name_which_shares_subjects_with_train_but_not_with_val(tmp_path):
    touch(tmp_path, "train_silent/mute.mp4", "train/loud.mp4", "val/held.mp4")
    lines = [
        {"clip": "mute", "subject": "s1", "split": "train_silent"},
        {"clip": "loud", "subject": "s1", "split": "train"},
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert [split for *_, split in known(tmp_path)] == ["train_silent", "train"]
    check_splits(find_sources([tmp_path], VIDEOS).clips)
    lines.append({"clip": "held", "subject": "s1", "split": "val"})
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UsageError, match="both show 's1'; move all clips of a subject to one split"):
        check_splits(find_sources([tmp_path], VIDEOS).clips)


def test_find_sources_refuses_two_clips_of_one_name(tmp_path):
    touch(tmp_path, "a/clip.mp4", "b/clip.mp4")
    paths = [tmp_path / "a/clip.mp4", tmp_path / "b/clip.mp4"]
    with pytest.raises(UsageError, match="would both become 'clip'; rename one of them, or name one"):
        find_sources(paths, VIDEOS)
    assert len(find_sources([paths[0], paths[0]], VIDEOS).clips) == 1


def test_find_sources_leaves_out_results_and_hidden_files(tmp_path):
    touch(tmp_path, "ada/a.mp4", "ada/._a.mp4", ".cache/b.mp4", "store/ada_a/crop.mp4")
    found = find_sources([tmp_path], VIDEOS, leave_out=tmp_path / "store")
    assert [source.meta.clip for source in found.clips] == ["ada_a"]


def test_check_splits_refuses_a_subject_in_two_splits(tmp_path):
    touch(tmp_path, "train/ada/a.mp4", "train/bob/a.mp4", "val/ada/b.mp4")
    clips = find_sources([tmp_path], VIDEOS).clips
    check_splits(clips[:2])
    with pytest.raises(UsageError, match=r"a.mp4 is for train and .*b.mp4 for val, but both show 'ada'"):
        check_splits(clips)


def test_find_sources_reads_an_index_with_few_listings_of_folders(tmp_path, monkeypatch):
    """An index is read with a few listings of folders, however many clips it names."""
    touch(tmp_path, *(f"train/c{number}.mp4" for number in range(50)))
    records = [{"clip": f"c{number}", "subject": "s", "split": "train"} for number in range(50)]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, records)))
    listings, listed = [], type(tmp_path).iterdir
    monkeypatch.setattr(type(tmp_path), "iterdir", lambda path: listings.append(path) or listed(path))
    monkeypatch.setattr(type(tmp_path), "glob", lambda path, pattern: pytest.fail("a listing a clip"))
    assert len(find_sources([tmp_path], VIDEOS).clips) == 50
    assert len(listings) <= 3
