"""Answers to a study: which are refused, and the figures and tests of the others."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from thcli.errors import MediaError, UsageError
from thcli.evaluation.study import report
from thcli.evaluation.study.answers import Answers, missing, read_answers
from thcli.evaluation.study.key import QUESTIONS, Key, StudyVideo, read_key
from thcli.evaluation.study.scoring import Result, score


def make_key(methods: tuple[str, ...] = ("a", "b"), clips: int = 2) -> Key:
    places = [(method, f"clip{clip}") for method in methods for clip in range(clips)]
    videos = {f"{i:012x}": StudyVideo(*place, "x.mp4", "0", "0") for i, place in enumerate(places)}
    return Key("f00d", "A study", "0", videos)


def rated(key: Key, viewer: str, rating: Callable[[str, str, str], int | None]) -> Answers:
    """The answers of a viewer who rates by rating(question, method, clip)."""
    asked = {(name, q.name): rating(q.name, v.method, v.clip) for name, v in key.videos.items() for q in QUESTIONS}
    return Answers(
        viewer, Path(f"{viewer}.json"), {place: value for place, value in asked.items() if value is not None}
    )


def random_result(
    viewers: int, methods: tuple[str, ...] = ("a", "b", "c"), clips: int = 4
) -> tuple[Result, np.ndarray]:
    """A study, and its ratings [questions, methods, viewers, clips]."""
    grid = np.random.default_rng(5).integers(0, 11, (len(QUESTIONS), len(methods), viewers, clips))
    grid[:, 0] = np.minimum(grid[:, 0] + 3, 10)
    key = make_key(methods, clips)
    names = [q.name for q in QUESTIONS]
    answers = [
        rated(key, f"v{v}", lambda q, m, c, v=v: int(grid[names.index(q), methods.index(m), v, int(c[4:])]))
        for v in range(viewers)
    ]
    return score(key, answers), grid


@pytest.mark.parametrize("viewers", [8, 20])
def test_score_gives_scipy_s_figures(viewers):
    result, grid = random_result(viewers)
    flat = iter(result.scores)
    for question in grid:
        for ratings in question:
            one, means = next(flat), ratings.mean(axis=1)
            low, high = stats.t.interval(0.95, viewers - 1, means.mean(), stats.sem(means))
            assert one.mean == pytest.approx(ratings.mean())
            assert (one.low, one.high) == pytest.approx((max(low, 0), min(high, 10)))
            assert one.deviation == pytest.approx(ratings.std(ddof=1))
    pairs = [(0, 1), (0, 2), (1, 2)]
    for i, question in enumerate(grid):
        for j, (a, b) in enumerate(pairs):
            one = result.comparisons[3 * i + j]
            per_viewer = (question[a] - question[b]).mean(axis=1)
            assert one.p == pytest.approx(stats.wilcoxon(per_viewer[per_viewer != 0]).pvalue)
            assert one.difference == pytest.approx(per_viewer.mean())


def test_score_corrects_by_the_closed_form_of_holm():
    result, _ = random_result(9)
    raw = np.array([one.p for one in result.comparisons])
    by_hand = [max(min(1.0, p * (raw >= p).sum()) for p in raw[raw <= own]) for own in raw]
    assert [one.holm for one in result.comparisons] == pytest.approx(by_hand)
    assert any(one.holm > one.p for one in result.comparisons)


def test_score_counts_a_viewer_once_however_many_clips_there_are():
    opinions = [3, 2, -1, 4, 1, 2, -2]

    def p(clips: int) -> float | None:
        key = make_key(clips=clips)
        answers = [rated(key, f"v{i}", lambda q, m, c, d=d: 5 + (d if m == "a" else 0)) for i, d in enumerate(opinions)]
        return score(key, answers).comparisons[0].p

    assert p(1) == p(10) is not None


@pytest.mark.parametrize("viewers", [1, 2, 5])
def test_score_gives_no_p_for_too_few_viewers(viewers):
    key = make_key()
    answers = [rated(key, f"v{i}", lambda q, m, c: 9 if m == "a" else 2) for i in range(viewers)]
    result = score(key, answers)
    for one in result.comparisons:
        assert (one.p, one.holm, one.difference) == (None, None, 7.0)
        assert one.why == f"no test: it takes 6 viewers who rate them differently, found {viewers}"
    assert (result.scores[0].low is None) == (viewers == 1)


def test_score_gives_no_p_for_equal_methods():
    key = make_key()
    result = score(key, [rated(key, f"v{i}", lambda q, m, c: 5) for i in range(20)])
    assert {(one.p, one.difference) for one in result.comparisons} == {(None, 0.0)}
    assert result.comparisons[0].why == "no test: it takes 6 viewers who rate them differently, found 0"


def test_score_leaves_out_a_clip_that_was_rated_for_one_method_alone():
    # Whoever rated a clip for one method alone says nothing about the difference there.
    key = make_key()
    full = rated(key, "full", lambda q, m, c: 6 if m == "a" else 4)
    part = rated(key, "part", lambda q, m, c: None if (m, c) == ("b", "clip1") else (8 if c == "clip0" else 0))
    none = rated(key, "none", lambda q, m, c: None)
    result = score(key, [full, part, none], missing([full, part, none], key))
    a, b = result.scores[:2]
    assert (a.mean, a.viewers, a.ratings) == ((6 + 4) / 2, 2, 4)
    assert (b.mean, b.viewers, b.ratings) == ((4 + 8) / 2, 2, 3)
    assert (result.comparisons[0].difference, result.comparisons[0].viewers) == ((2 + 0) / 2, 2)
    assert result.notes == (
        "part: answered 6 of 8 questions; what is there counts",
        "none: answered 0 of 8 questions; what is there counts",
    )


def test_score_and_reports_hold_no_nan_without_any_answer():
    key = make_key()
    result = score(key, [rated(key, "v", lambda q, m, c: None)])
    assert {(one.mean, one.deviation, one.low, one.ratings) for one in result.scores} == {(None, None, None, 0)}
    assert all(one.difference is None for one in result.comparisons)
    for write in (report.markdown, report.to_json, report.to_csv):
        assert "nan" not in write(result).lower()


def test_score_of_one_method_has_means_and_no_tests():
    key = make_key(("only",))
    result = score(key, [rated(key, "v", lambda q, m, c: 7)])
    assert [one.mean for one in result.scores] == [7.0, 7.0] and result.comparisons == ()
    assert "difference" not in report.markdown(result)


GOOD = {"format": 1, "study": "f00d", "viewer": "Ann", "answers": {"000000000000": {"realism": 3, "sync": 10}}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"study": "beef"}, "answers to the study beef, expected f00d"),
        ({"format": 2}, "not the answers that a viewer saved"),
        ({"viewer": " "}, "the viewer has no name"),
        ({"viewer": 4}, "not the answers that a viewer saved"),
        ({"answers": []}, "not the answers that a viewer saved"),
        ({"answers": {"zz": {"sync": 1}}}, "answers for 'zz', which is no video of this study"),
        ({"answers": {"000000000000": 3}}, "answers for '000000000000'"),
        ({"answers": {"000000000000": {"beauty": 1}}}, "an answer to 'beauty', expected realism and sync"),
        (
            {"answers": {"000000000000": {"sync": 11}}},
            "rates 000000000000 with 11, expected a whole number from 0 to 10",
        ),
        ({"answers": {"000000000000": {"sync": -1}}}, "with -1"),
        ({"answers": {"000000000000": {"sync": 2.5}}}, r"with 2\.5"),
        ({"answers": {"000000000000": {"sync": True}}}, "with True"),
        ({"answers": {"000000000000": {"sync": "7"}}}, "with '7'"),
    ],
)
def test_read_answers_refuses_answers_that_do_not_fit(tmp_path, change, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD))
    assert read_answers([path], make_key())[0].ratings == {("000000000000", "realism"): 3, ("000000000000", "sync"): 10}
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(MediaError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_answers([path], make_key())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_read_answers_and_read_key_refuse_what_is_no_json_object(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for read in (lambda: read_answers([path], make_key()), lambda: read_key(path)):
        with pytest.raises(MediaError, match=r"a\.json: not (a )?JSON"):
            read()


def test_read_answers_refuses_the_same_viewer_twice(tmp_path):
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    first.write_text(json.dumps(GOOD))
    second.write_text(json.dumps(GOOD | {"viewer": "ann "}))
    with pytest.raises(UsageError, match=r"1\.json and .*2\.json: both are by the viewer 'ann'; give one of them"):
        read_answers([first, second], make_key())


def test_read_key_refuses_what_is_no_key(tmp_path):
    path = tmp_path / "key.json"
    for content in (GOOD, {"format": 1}, {"format": 1, "videos": {"a": {"method": "x"}}}, {"format": 1, "videos": 3}):
        path.write_text(json.dumps(content))
        with pytest.raises(MediaError, match="not the key of a study"):
            read_key(path)
    path.write_text(json.dumps({"format": 9}))
    with pytest.raises(MediaError, match="a key of format 9, expected 1"):
        read_key(path)


def test_reports_hold_the_same_figures_in_all_formats():
    result, _ = random_result(8)
    data = json.loads(report.to_json(result))
    rows = list(csv.DictReader(io.StringIO(report.to_csv(result))))
    assert [float(row["mean"]) for row in rows if not row["versus"]] == [one["mean"] for one in data["scores"]]
    assert [float(row["holm"]) for row in rows if row["versus"]] == [one["holm"] for one in data["comparisons"]]
    assert [one["normalised"] for one in data["scores"]] == [one["mean"] / 10 for one in data["scores"]]
    text = report.markdown(result)
    assert f"| realism | a | {result.scores[0].mean:.2f} |" in text
    assert f"| realism | a − b | {result.comparisons[0].difference:+.2f} |" in text


def test_markdown_escapes_a_hostile_method():
    key = make_key(("a|<b>", "c"))
    text = report.markdown(score(key, [rated(key, "v", lambda q, m, c: 7)]))
    assert "a\\|\\<b>" in text and "<b>" not in text.replace("\\<b>", "")
