"""``files``: pairs are found, measured one after the other, and summed up."""

import gc
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thcli.errors import MediaError, UsageError, WeightsError
from thcli.evaluation import files
from thcli.evaluation.files import PREDICTED, ROWS, EvaluateOptions, Files, evaluate, find_pairs, summary
from thcli.evaluation.metric import Figure, Metric, Pooled


def levels(pair, models):
    """Each frame has one feature, its mean."""
    return tuple(one.frames.mean((1, 2, 3), dtype=np.float64)[:, None] for one in (pair.predicted, pair.reference))


def distance(made, true):
    return Figure(float(made.mean() - true.mean()), len(made))


LEVEL = Metric("level", "level", "", "", "", "lower", lambda pair, models: Figure(0.0), Pooled(levels, distance))
COUNT = Metric("count", "count", "", "", "", "lower", lambda pair, models: Figure(float(len(pair)), len(pair)))


@pytest.fixture
def pairs(recording, pair, monkeypatch):
    """Two pairs, of 10 and of 30 frames; the predicted videos are darker by 20 and by 60. They are made, not read."""
    made = {}
    for name, frames, darker in (("a", 10, 20), ("b", 30, 60)):
        true = recording(frames)
        bright = np.full_like(true.frames, 200)
        made[name] = pair(replace(true, frames=bright - np.uint8(darker)), replace(true, frames=bright))
    monkeypatch.setattr(files, "read_pair", lambda predicted, *_: made[predicted.stem])
    return [Files(name, Path(f"{name}.mp4"), Path(f"{name}.mp4")) for name in made]


@pytest.fixture
def folders(tmp_path):
    def make(**names):
        for folder, inside in names.items():
            (tmp_path / folder).mkdir()
            for name in inside:
                (tmp_path / folder / name).write_bytes(b"")
        return [tmp_path / folder for folder in names]

    return make


def test_find_pairs_takes_two_files_for_a_pair_even_where_they_do_not_exist():
    assert find_pairs(Path("x/a.mp4"), Path("b.mp4")) == ([Files("a", Path("x/a.mp4"), Path("b.mp4"))], "")


def test_find_pairs_pairs_the_videos_of_folders_by_name(folders):
    made, real = folders(made=["b.mp4", "a.mov", "x.mp4"], real=["a.mp4", "b.mp4"])
    pairs, note = find_pairs(made, real)
    assert pairs == [Files("a", made / "a.mov", real / "a.mp4"), Files("b", made / "b.mp4", real / "b.mp4")]
    assert note == f"no partner of that name, left out: {made / 'x.mp4'}"
    assert find_pairs(real, real)[1] == ""


def test_find_pairs_refuses_folders_without_a_pair_and_a_folder_with_a_file(folders):
    made, real = folders(made=["a.mp4"], real=["b.mp4"])
    with pytest.raises(MediaError, match="no video of one has the name of a video of the other"):
        find_pairs(made, real)
    with pytest.raises(UsageError, match=r"is a folder and .* is a file"):
        find_pairs(made, real / "b.mp4")


def test_evaluate_gives_every_pair_the_same_rows(pairs):
    told = []
    outcomes = list(evaluate(pairs, [COUNT], EvaluateOptions(), lambda: told.append(1)))
    assert [outcome.files.clip for outcome in outcomes] == ["a", "b"]
    for outcome in outcomes:
        assert [row.method for row in outcome.rows] == [
            "predicted", "real", "first frame", "nearest frame", "shuffled"
        ]  # fmt: skip
    assert len(told) == 2 * ROWS


def test_summary_pools_metrics_over_the_frames_of_all_pairs(pairs):
    outcomes = list(evaluate(pairs, [LEVEL, COUNT], EvaluateOptions()))
    assert [outcome.rows[0].figures["level"].value for outcome in outcomes] == [-20, -60]
    mean = {row.method: row for row in summary(outcomes, [LEVEL, COUNT])}
    assert mean[PREDICTED].figures["level"] == Figure(-50.0, 40), "the mean over the pairs would be -40"
    assert mean["real"].figures["level"] == Figure(0.0, 40)
    assert mean[PREDICTED].figures["count"].value == 20


def test_evaluate_goes_on_after_a_pair_that_fails_where_it_is_asked_to(pairs):
    def measure(pair, models):
        if len(pair) == 10:
            raise ZeroDivisionError("division by zero")
        return Figure(1.0)

    odd = Metric("odd", "odd", "", "", "", "lower", measure)
    outcomes = list(evaluate(pairs, [odd], EvaluateOptions(), keep_going=True))
    assert outcomes[0].error.startswith("a bug in thgen (ZeroDivisionError: division by zero; test_files.py line ")
    assert (outcomes[0].rows, outcomes[1].error, len(outcomes[1].rows)) == ((), "", ROWS)
    with pytest.raises(ZeroDivisionError):
        list(evaluate(pairs, [odd], EvaluateOptions()))


def test_evaluate_stops_at_an_error_of_all_pairs(pairs):
    def measure(pair, models):
        raise WeightsError("net.onnx: broken")

    with pytest.raises(WeightsError):
        list(evaluate(pairs, [Metric("odd", "", "", "", "", "lower", measure)], EvaluateOptions(), keep_going=True))


@pytest.mark.parametrize("fails", [False, True])
def test_evaluate_releases_the_frames_of_a_pair(recording, pair, monkeypatch, fails):
    kept = []

    def read_pair(*_):
        made = pair(recording(5))
        kept.append(weakref.ref(made.predicted.frames))
        if fails:
            raise MediaError("a.mp4: broken")
        return made

    monkeypatch.setattr(files, "read_pair", read_pair)
    twice = [Files("a", Path("a.mp4"), Path("a.mp4"))] * 2
    outcomes = []
    for outcome in evaluate(twice, [LEVEL, COUNT], EvaluateOptions(), keep_going=True):
        outcomes.append(outcome)
        gc.collect()
        assert [frames() for frames in kept] == [None] * len(outcomes)
