"""Which clips the suite draws and what of each clip is known: ``clips``, ``case`` and ``options``."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.audio import read_speech
from thcli.data.store import Store
from thcli.errors import MediaError, UsageError
from thcli.evaluation.suite.case import in_step, load_case
from thcli.evaluation.suite.clips import choose_clips
from thcli.evaluation.suite.options import ABLATIONS, SuiteOptions
from thcli.records import SAMPLES_PER_FRAME, Speech


def chosen(store, **options):
    return choose_clips(Store(store), SuiteOptions(**{"drive": "landmarks", **options}))


def case_of(store, clip, **options):
    options = SuiteOptions(**{"drive": "landmarks", "device": "cpu", "clips": (clip,), **options})
    return load_case(Store(store), *choose_clips(Store(store), options).clips[0], options)


def test_choose_clips_names_clips_that_cannot_be_drawn_and_why(store):
    landmarks, audio = chosen(store), chosen(store, drive="audio")
    assert [meta.clip for meta, _ in landmarks.clips] == ["nodding", "still", "unknown"]
    assert [meta.clip for meta, _ in audio.clips] == ["nodding", "still"]
    assert len(landmarks.left_out) == 1 and "short: 80 frames" in landmarks.left_out[0]
    assert any("unknown" in one and "av_lag" in one for one in audio.left_out)
    assert (landmarks.subjects, audio.subjects) == (3, 2)


def test_choose_clips_lends_the_same_sound_however_many_clips_are_chosen(store):
    whole = {meta.clip: other.clip for meta, other in chosen(store).clips}
    assert all(clip != other for clip, other in whole.items())
    for clip, other in whole.items():
        assert [pair[1].clip for pair in chosen(store, clips=(clip,)).clips] == [other]


def test_choose_clips_refuses_unknown_splits_and_clips_and_a_choice_of_nothing(store):
    with pytest.raises(MediaError, match=r"no clip of split 'test', it has train, val"):
        chosen(store, split="test")
    with pytest.raises(UsageError, match=r"--clips nobody: no such clip in split 'val'"):
        chosen(store, clips=("nobody",))
    with pytest.raises(MediaError, match=r"no clip that the suite can draw \(short: 80 frames"):
        chosen(store, clips=("short",))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"references": (0,)}, "--references 0: expected 1 to 32"),
        ({"references": (8, 33)}, "--references 33: expected 1 to 32"),
        ({"references": ()}, "no number is given"),
        ({"ablate": ("hair",)}, "--ablate hair: no such part"),
        ({"drive": "text"}, "--drive text: expected audio or landmarks"),
        ({"seconds": 0.5}, "--seconds 0.5"),
        ({"ablation_weights": Path("six")}, "--ablation-weights six: draws what --ablate names"),
        ({"renderer": "oil"}, "--renderer oil: expected network or warp"),
    ],
)
def test_suite_options_refuse_values_out_of_range(options, words):
    with pytest.raises(UsageError, match=words):
        SuiteOptions(**{"drive": "audio", **options})


def test_suite_options_keep_ablations_in_the_order_of_table_3():
    assert SuiteOptions("audio", ablate=("baseline", "3d-aware")).ablations == ("3d-aware", "baseline")
    assert SuiteOptions("audio", ablate=("all",)).ablations == ABLATIONS


@pytest.mark.parametrize("lag", [-3, 0, 2])
def test_in_step_moves_the_sound_to_the_mouth(tmp_path, lag):
    # The mouth opens at frame 10 + lag for a click at frame 10.
    samples = np.zeros(40 * SAMPLES_PER_FRAME, np.float32)
    samples[10 * SAMPLES_PER_FRAME] = 1
    moved = in_step(Speech(samples, tmp_path), lag).samples
    assert np.flatnonzero(moved) == [(10 + lag) * SAMPLES_PER_FRAME]


def test_load_case_cuts_a_clip_at_frame_64(store):
    case = case_of(store, "nodding")
    whole = Store(store).track("nodding")
    assert (len(case.past), len(case)) == (64, 27)
    np.testing.assert_array_equal(case.past_track.mesh, whole.mesh[:64])
    np.testing.assert_array_equal(case.track.pose, whole.pose[64:91])
    assert case.past_track.scale == case.track.scale == whole.scale
    assert len(case.real.frames) == len(case.real.track) == len(case.track) == 27
    # Its mouth leads by a frame, so frame 64 gets the sound of frame 65.
    stored = read_speech(Store(store).speech("nodding")).samples
    first = 65 * SAMPLES_PER_FRAME
    np.testing.assert_array_equal(case.real.speech.samples, stored[first : first + 27 * SAMPLES_PER_FRAME])
    assert len(case.other.samples) == 27 * SAMPLES_PER_FRAME


def test_load_case_leaves_out_sound_that_may_not_fit(store):
    case = case_of(store, "unknown")
    assert case.real.speech is None and case.past_speech is None
    assert case.person(2).audio.log_mel.shape == (0, 4, 80)


def test_load_case_limits_what_is_drawn_to_the_seconds_asked_for(store):
    assert len(case_of(store, "still", seconds=1.0)) == 25


def test_load_case_lends_the_only_clip_of_a_split_its_own_sound_out_of_step(store):
    case = case_of(store, "other", split="train")
    stored = read_speech(Store(store).speech("other")).samples[64 * SAMPLES_PER_FRAME :]
    own = stored[: len(case) * SAMPLES_PER_FRAME]
    np.testing.assert_array_equal(case.other.samples, np.roll(own, len(own) // 2))


def test_case_person_is_made_of_the_first_frames_alone(store):
    case = case_of(store, "nodding")
    person = case.person(3)
    chosen = person.reference_indices
    assert len(chosen) == 3 and chosen.max() < 64
    np.testing.assert_array_equal(person.reference_images, case.past.frames[chosen])
    blind = replace(case, track=case.track.select(slice(0)), real=case.real.select(slice(0)))
    np.testing.assert_array_equal(blind.person(3).neutral_mesh, person.neutral_mesh)


def test_choose_clips_lends_another_subject_s_sound_where_there_is_one(tmp_path):
    index = [
        {"clip": name, "subject": subject, "split": "val", "frames": frames, "av_lag": 0}
        for name, subject, frames in (("a0", "a", 100), ("a1", "a", 100), ("b0", "b", 100), ("b1", "b", 70))
    ]
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, index)))
    lenders = {meta.clip: other.clip for meta, other in chosen(tmp_path).clips}
    assert lenders == {"a0": "b0", "a1": "b0", "b0": "a0"}
    (tmp_path / "index.jsonl").write_text("\n".join(map(json.dumps, index[:2])))
    assert {meta.clip: other.clip for meta, other in chosen(tmp_path).clips} == {"a0": "a1", "a1": "a0"}
