"""Made-up trees with the naming of real data sets: names, subjects and splits."""

import pytest

from thcli.data.sources import SOUNDS, VIDEOS, check_splits, find_sources
from thcli.errors import MediaError, UsageError


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")


def known(root, layout):
    found = find_sources([root], VIDEOS, layout)
    check_splits(found.clips)
    return {s.meta.clip: (s.meta.subject, s.meta.split) for s in found.clips}


def test_voxceleb2_gives_names_subjects_and_splits(tmp_path):
    touch(
        tmp_path,
        "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4",
        "dev/mp4/id00012/21Uxsk56VDQ/00002.mp4",
        "dev/mp4/id00012/-_abcdefghi/00001.mp4",
        "dev/aac/id00012/21Uxsk56VDQ/00001.m4a",
        "dev/txt/id00012/21Uxsk56VDQ/00001.txt",
        "vox2_test_mp4/mp4/id00017/01dfn2spqyE/00001.mp4",
        "test/mp4/id00061/5-_A2Cdefgh/00033.mp4",
    )
    assert known(tmp_path, "voxceleb2") == {
        "id00012_21Uxsk56VDQ_00001": ("id00012", "train"),
        "id00012_21Uxsk56VDQ_00002": ("id00012", "train"),
        "id00012_-_abcdefghi_00001": ("id00012", "train"),
        "id00017_01dfn2spqyE_00001": ("id00017", "val"),
        "id00061_5-_A2Cdefgh_00033": ("id00061", "val"),
    }


def test_voxceleb2_without_its_sets_is_split_by_subject(tmp_path):
    touch(tmp_path, *(f"mp4/id{n:05}/21Uxsk56VDQ/{m:05}.mp4" for n in range(60) for m in (1, 2)))
    splits = dict(known(tmp_path, "voxceleb2").values())
    assert len(splits) == 60 and set(splits.values()) == {"train", "val"}


def test_lrs3_gives_names_talks_and_splits(tmp_path):
    touch(
        tmp_path,
        "pretrain/0Fi83BHQsMA/00001.mp4",
        "pretrain/0Fi83BHQsMA/00001.txt",
        "trainval/0Fi83BHQsMA/00001.mp4",
        "trainval/zzXawbXDwYE/50007.mp4",
        "test/0akiEFwtkyA/00002.mp4",
    )
    assert known(tmp_path, "lrs3") == {
        "pretrain_0Fi83BHQsMA_00001": ("0Fi83BHQsMA", "train"),
        "trainval_0Fi83BHQsMA_00001": ("0Fi83BHQsMA", "train"),
        "trainval_zzXawbXDwYE_50007": ("zzXawbXDwYE", "train"),
        "test_0akiEFwtkyA_00002": ("0akiEFwtkyA", "val"),
    }
    (note,) = find_sources([tmp_path], VIDEOS, "lrs3").notes
    assert "names talks, not people" in note


def test_lrw_keeps_its_sets_and_notes_that_it_knows_no_subjects(tmp_path):
    sets = ("train", "val", "test")
    touch(tmp_path, *(f"lipread_mp4/{word}/{s}/{word}_00001.mp4" for word in ("ABOUT", "ABSOLUTELY") for s in sets))
    touch(tmp_path, "lipread_mp4/ABOUT/train/ABOUT_00001.txt")
    clips = known(tmp_path, "lrw")
    assert clips.keys() == {f"{word}_{s}_00001" for word in ("ABOUT", "ABSOLUTELY") for s in sets}
    assert all(subject == clip for clip, (subject, _) in clips.items())
    assert {clip for clip, (_, split) in clips.items() if split == "train"} == {
        "ABOUT_train_00001",
        "ABSOLUTELY_train_00001",
    }
    (note,) = find_sources([tmp_path], VIDEOS, "lrw").notes
    assert "does not say who speaks" in note


def test_grid_gives_names_and_subjects_of_all_its_forms(tmp_path):
    touch(
        tmp_path,
        "s1/bbaf2n.mpg",
        "s1/align/bbaf2n.align",
        "s2/video/mpg_6000/id2_6000_swwp2s.mpg",
        "s3/video/mpg_6000/lrwzzp.mpg",
        "s34.mpg_6000.part1/s34/video/mpg_6000/sbwe5n.mpg",
    )
    assert known(tmp_path, "grid") == {
        "s1_bbaf2n": ("s1", "val"),
        "s2_swwp2s": ("s2", "val"),
        "s3_lrwzzp": ("s3", "train"),
        "s34_sbwe5n": ("s34", "train"),
    }


def test_grid_in_two_qualities_is_refused(tmp_path):
    touch(tmp_path, "s3/video/mpg_6000/bbaf2n.mpg", "s3/video/mpg_vcd/bbaf2n.mpg")
    with pytest.raises(UsageError, match="would both become 's3_bbaf2n'"):
        find_sources([tmp_path], VIDEOS, "grid")


def test_crema_d_gives_its_videos_and_splits_them_by_actor(tmp_path):
    touch(
        tmp_path,
        *(f"VideoFlash/{actor}_{said}.flv" for actor in range(1001, 1092) for said in ("DFA_ANG_XX", "IEO_SAD_LO")),
    )
    touch(tmp_path, "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1040_ITH_SAD_X.flv")
    clips = known(tmp_path, "crema-d")
    assert len(clips) == 183 and clips["1001_DFA_ANG_XX"][0] == "1001" and clips["1040_ITH_SAD_X"][0] == "1040"
    held_out = {subject for subject, split in clips.values() if split == "val"}
    assert 3 <= len(held_out) <= 20
    # videos alone, even where sounds would do
    assert len(find_sources([tmp_path], VIDEOS | SOUNDS, "crema-d").clips) == 183


@pytest.mark.parametrize("inside", ["", "dev", "dev/mp4", "dev/mp4/id00012", "dev/mp4/id00012/21Uxsk56VDQ"])
def test_find_sources_takes_any_folder_of_a_data_set(tmp_path, inside):
    touch(tmp_path, "dev/mp4/id00012/21Uxsk56VDQ/00001.mp4")
    assert known(tmp_path / inside, "voxceleb2") == {"id00012_21Uxsk56VDQ_00001": ("id00012", "train")}


@pytest.mark.parametrize("layout", ["voxceleb2", "lrs3", "lrw", "grid", "crema-d"])
def test_find_sources_refuses_a_tree_that_is_not_the_data_set(tmp_path, layout):
    touch(tmp_path, "train/ada/a.mp4")
    with pytest.raises(MediaError, match=rf"no file named as in {layout}, expected such as .*, found train/ada/a.mp4"):
        find_sources([tmp_path], VIDEOS, layout)


def test_find_sources_leaves_out_files_with_other_names_and_says_so(tmp_path):
    touch(tmp_path, "s3/bbaf2n.mpg", "s3/preview.mp4", "s35/bbaf2n.mpg")
    found = find_sources([tmp_path], VIDEOS, "grid")
    assert [source.meta.clip for source in found.clips] == ["s3_bbaf2n"]
    assert found.notes == (f"{tmp_path}: 2 files are not named as in grid and left out, such as s3/preview.mp4",)


def test_find_sources_hints_at_the_layout_of_a_known_data_set(tmp_path):
    touch(tmp_path, *(f"dev/mp4/id{n:05}/21Uxsk56VDQ/00001.mp4" for n in range(30)))
    (note,) = find_sources([tmp_path], VIDEOS).notes
    assert "'--layout voxceleb2'" in note
    touch(tmp_path, "holiday.mp4")
    assert find_sources([tmp_path], VIDEOS).notes == ()
