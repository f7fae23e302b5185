"""The page of a study, its key, and what answers come to."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from thcli.clips.ffmpeg import executable
from thcli.clips.probe import MediaInfo
from thcli.errors import MediaError, UsageError
from thcli.evaluation.study import make, report
from thcli.evaluation.study.answers import Answers, missing, read_answers
from thcli.evaluation.study.key import QUESTIONS, Key, StudyVideo, read_key
from thcli.evaluation.study.make import Study, make_study
from thcli.evaluation.study.page import render
from thcli.evaluation.study.scoring import Result, score

HOSTILE = "</script><script>alert('ö\"&')"


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two methods with the same two clips of 0.2 s, of telling names."""
    root = tmp_path_factory.mktemp("films")
    for method, picture in (("ours", "testsrc"), ("theirs", "smptebars")):
        (root / method).mkdir()
        for clip in ("speaker-a", "speaker 'ü'"):
            video(root / method / f"{clip}.mp4", picture)
    return {"ours-method": root / "ours", "theirs-method": root / "theirs"}


def video(path: Path, picture: str = "testsrc", size: str = "64x64", seconds: float = 0.2) -> None:
    inputs = ("-f", "lavfi", "-i", f"{picture}=s={size}:r=25:d={seconds}", "-f", "lavfi", "-i", f"sine=d={seconds}")
    tags = ("-metadata", f"title={path.stem}", "-metadata", f"comment=by {path.parent.name}")
    subprocess.run([executable(), "-v", "error", *inputs, *tags, "-pix_fmt", "yuv420p", path], check=True)


@pytest.fixture
def study(films, tmp_path) -> Study:
    return make_study(films, tmp_path / "study.html", "A & B <b>", seed=3)


class Scripts(HTMLParser):
    """The page's scripts by their id, and all its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: dict[str, str] = {}
        self.attributes: list[tuple[str, str | None]] = []
        self._open: str | None = None
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += attrs
        self._open = dict(attrs).get("id", "code") if tag == "script" else None

    def handle_endtag(self, tag: str) -> None:
        self._open = None

    def handle_data(self, data: str) -> None:
        if self._open:
            self.texts[self._open] = self.texts.get(self._open, "") + data


def test_page_and_key_hold_the_same_videos(study, films):
    page, key = Scripts(study.page.read_text("utf-8")), read_key(study.key)
    facts = json.loads(page.texts["study"])
    assert facts["study"] == key.study
    assert facts["videos"] == sorted(key.videos) and len(facts["videos"]) == 4
    assert key.page_sha256 == hashlib.sha256(study.page.read_bytes()).hexdigest()
    for name, entry in key.videos.items():
        copy = base64.b64decode(page.texts[f"video-{name}"])
        assert entry.sha256 == hashlib.sha256(copy).hexdigest()
        source = films[entry.method] / f"{entry.clip}.mp4"
        assert (entry.source, entry.source_sha256) == (str(source), hashlib.sha256(source.read_bytes()).hexdigest())
    assert key.methods == ("ours-method", "theirs-method")
    assert (study.methods, study.clips, study.notes) == (2, 2, ())


def test_nothing_in_the_page_tells_a_method_or_a_file(study, films):
    text = study.page.read_bytes()
    videos = [base64.b64decode(t) for name, t in Scripts(text.decode()).texts.items() if name.startswith("video-")]
    source = (films["ours-method"] / "speaker-a.mp4").read_bytes()
    telling = (b"ours", b"theirs", b"speaker", b"films", b"Lavf", b"x264")
    assert any(word in source for word in telling)
    # Base64 may spell any short word by chance, so the text is searched without the videos.
    rest = re.sub(rb'(id="video-\w+">)[^<]+', rb"\1", text)
    assert not [word for word in telling for part in (rest, *videos) if word in part]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ffmpeg: a video's copy is its path."""
    info = MediaInfo(64, 64, 25.0, 1.0, video=True, audio=True, image=False, format="mp4")
    monkeypatch.setattr(make, "probe", lambda path: info)
    monkeypatch.setattr(make, "anonymous_mp4", lambda path: "/".join(path.parts[-2:]).encode())


@pytest.mark.usefixtures("quick")
def test_order_in_the_page_tells_nothing(films, tmp_path):
    """The first video in the page is by either method about equally often."""
    keys = [read_key(make_study(films, tmp_path / f"{seed}.html", "", seed=seed).key) for seed in range(40)]
    ours = sum(key.videos[min(key.videos)].method == "ours-method" for key in keys)
    assert 10 < ours < 30


@pytest.mark.usefixtures("quick")
def test_seed_fixes_the_page_and_none_draws_anew(films, tmp_path):
    def made(name: str, seed: int | None, folders: dict[str, Path] = films) -> bytes:
        return make_study(folders, tmp_path / f"{name}.html", "", seed=seed).page.read_bytes()

    assert made("a", 1) == made("b", 1)
    assert len({made("c", 1), made("d", 2), made("e", None), made("f", None)}) == 4
    # Another study of the same seed has another name, so that answers to one are not taken for the other's.
    made("g", 1, {"ours-method": films["ours-method"]})
    assert read_key(tmp_path / "g.key.json").study != read_key(tmp_path / "a.key.json").study


@pytest.mark.usefixtures("quick")
def test_page_too_large_for_browsers_is_refused(films, tmp_path, monkeypatch):
    monkeypatch.setattr(make, "LARGEST", 50)
    with pytest.raises(MediaError, match=r"s\.html: more than 0 MB of video; use fewer, shorter or smaller clips"):
        make_study(films, tmp_path / "s.html", "")


def test_page_asks_nothing_of_the_network(study):
    page = Scripts(study.page.read_text("utf-8"))
    assert [
        name for name, _ in page.attributes if name in ("src", "href", "action", "style") or name.startswith("on")
    ] == []
    policy = next(value for name, value in page.attributes if name == "content" and value.startswith("default-src"))
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    code = base64.b64encode(hashlib.sha256(page.texts["code"].encode()).digest()).decode()
    assert f"script-src 'sha256-{code}'" in policy
    assert "fetch(" not in page.texts["code"] and "XMLHttp" not in page.texts["code"]


def test_hostile_title_is_text(study):
    text = study.page.read_text("utf-8")
    assert "<title>A &amp; B &lt;b&gt;</title>" in text
    page = Scripts(render("0", HOSTILE, {"a1": b"x"}, 1.0, 1).decode())
    assert sorted(page.texts) == ["code", "study", "video-a1"]
    assert "alert" not in "".join(page.texts.values())


def test_what_tells_methods_apart_is_said(films, tmp_path):
    folders = {method: tmp_path / method for method in ("a", "b")}
    for folder, size, seconds in zip(folders.values(), ("64x64", "96x64"), (0.2, 0.8), strict=True):
        folder.mkdir()
        video(folder / "x.mp4", size=size, seconds=seconds)
    assert make_study(folders, tmp_path / "s.html", "").notes == (
        "x: its videos differ in shape; viewers may tell the methods by it",
        "x: its videos last 0.2 to 0.8 s; viewers may tell the methods by it",
    )


def test_unfit_folders_are_refused_and_nothing_is_written(films, tmp_path):
    page = tmp_path / "s.html"
    ours = films["ours-method"]

    def refused(message: str, **folders: Path) -> None:
        with pytest.raises(MediaError, match=message):
            make_study(folders, page, "")
        assert not page.exists() and not page.with_suffix(".key.json").exists()

    refused("gone: no such folder", a=ours, b=tmp_path / "gone")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused("empty: no videos in it", a=ours, b=empty)
    video(empty / "speaker-a.mp4")
    refused("empty: no video of speaker 'ü', which other methods have", a=ours, b=empty)
    video(empty / "speaker-a.mov")
    refused(r"speaker-a\.mp4: the same clip as speaker-a\.mov", a=ours, b=empty)


# Answers and figures


def make_key(methods: tuple[str, ...] = ("a", "b"), clips: int = 2) -> Key:
    places = [(method, f"clip{clip}") for method in methods for clip in range(clips)]
    videos = {f"{i:012x}": StudyVideo(*place, "x.mp4", "0", "0") for i, place in enumerate(places)}
    return Key("f00d", "A study", "0", videos)


def rated(key: Key, viewer: str, rating: Callable[[str, str, str], int | None]) -> Answers:
    """A viewer who answers rating(question, method, clip)."""
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


def test_saved_answers_give_the_known_means(study, tmp_path):
    key = read_key(study.key)
    given = {"ours-method": (9, 8), "theirs-method": (4, 1)}
    paths = []
    for viewer, more in (("Ann", 0), ("Ben", 1)):
        answers = {
            name: {"realism": given[entry.method][0] + more, "sync": given[entry.method][1]}
            for name, entry in key.videos.items()
        }
        paths.append(tmp_path / f"answers_{viewer}.json")
        content = {"format": 1, "study": key.study, "viewer": viewer, "order": list(answers), "answers": answers}
        paths[-1].write_text(json.dumps(content))
    result = score(key, read_answers(paths, key))
    assert {(s.question, s.method): s.mean for s in result.scores} == {
        ("realism", "ours-method"): 9.5, ("realism", "theirs-method"): 4.5,
        ("sync", "ours-method"): 8.0, ("sync", "theirs-method"): 1.0,
    }  # fmt: skip
    ours = result.scores[0]
    assert (ours.viewers, ours.ratings, ours.normalised) == (2, 4, 0.95)
    assert ours.deviation == pytest.approx(np.std([9, 9, 10, 10], ddof=1))
    assert (result.viewers, result.clips) == (2, 2)


@pytest.mark.parametrize("viewers", [8, 20])
def test_figures_are_scipys(viewers):
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


def test_holm_is_the_closed_form():
    result, _ = random_result(9)
    raw = np.array([one.p for one in result.comparisons])
    by_hand = [max(min(1.0, p * (raw >= p).sum()) for p in raw[raw <= own]) for own in raw]
    assert [one.holm for one in result.comparisons] == pytest.approx(by_hand)
    assert any(one.holm > one.p for one in result.comparisons)


def test_more_clips_of_the_same_opinion_are_no_more_evidence():
    """A viewer who repeats an opinion over ten clips counts once."""
    opinions = [3, 2, -1, 4, 1, 2, -2]

    def p(clips: int) -> float | None:
        key = make_key(clips=clips)
        answers = [rated(key, f"v{i}", lambda q, m, c, d=d: 5 + (d if m == "a" else 0)) for i, d in enumerate(opinions)]
        return score(key, answers).comparisons[0].p

    assert p(1) == p(10) is not None


@pytest.mark.parametrize("viewers", [1, 2, 5])
def test_too_few_viewers_give_no_p(viewers):
    key = make_key()
    answers = [rated(key, f"v{i}", lambda q, m, c: 9 if m == "a" else 2) for i in range(viewers)]
    result = score(key, answers)
    for one in result.comparisons:
        assert (one.p, one.holm, one.difference) == (None, None, 7.0)
        assert one.why == f"no test: it takes 6 viewers who rate them differently, found {viewers}"
    assert (result.scores[0].low is None) == (viewers == 1)


def test_equal_methods_give_no_p():
    key = make_key()
    result = score(key, [rated(key, f"v{i}", lambda q, m, c: 5) for i in range(20)])
    assert {(one.p, one.difference) for one in result.comparisons} == {(None, 0.0)}
    assert result.comparisons[0].why == "no test: it takes 6 viewers who rate them differently, found 0"


def test_gaps_are_left_out_in_pairs():
    """Whoever rated a clip for one method alone says nothing about the difference there."""
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


def test_nobody_answered_anything():
    key = make_key()
    result = score(key, [rated(key, "v", lambda q, m, c: None)])
    assert {(one.mean, one.deviation, one.low, one.ratings) for one in result.scores} == {(None, None, None, 0)}
    assert all(one.difference is None for one in result.comparisons)
    for write in (report.markdown, report.to_json, report.to_csv):
        assert "nan" not in write(result).lower()


def test_one_method_has_means_and_no_tests():
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
def test_answers_that_do_not_fit_are_refused(tmp_path, change, message):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD))
    assert read_answers([path], make_key())[0].ratings == {("000000000000", "realism"): 3, ("000000000000", "sync"): 10}
    path.write_text(json.dumps(GOOD | change))
    with pytest.raises(MediaError, match=f"^{re.escape(str(path))}: .*{message}"):
        read_answers([path], make_key())


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    for read in (lambda: read_answers([path], make_key()), lambda: read_key(path)):
        with pytest.raises(MediaError, match=r"a\.json: not (a )?JSON"):
            read()


def test_one_viewer_twice_is_refused(tmp_path):
    first, second = tmp_path / "1.json", tmp_path / "2.json"
    first.write_text(json.dumps(GOOD))
    second.write_text(json.dumps(GOOD | {"viewer": "ann "}))
    with pytest.raises(UsageError, match=r"1\.json and .*2\.json: both are by the viewer 'ann'; give one of them"):
        read_answers([first, second], make_key())


def test_key_that_is_none_is_refused(tmp_path):
    path = tmp_path / "key.json"
    for content in (GOOD, {"format": 1}, {"format": 1, "videos": {"a": {"method": "x"}}}, {"format": 1, "videos": 3}):
        path.write_text(json.dumps(content))
        with pytest.raises(MediaError, match="not the key of a study"):
            read_key(path)
    path.write_text(json.dumps({"format": 9}))
    with pytest.raises(MediaError, match="a key of format 9, expected 1"):
        read_key(path)


def test_formats_hold_the_same_figures():
    result, _ = random_result(8)
    data = json.loads(report.to_json(result))
    rows = list(csv.DictReader(io.StringIO(report.to_csv(result))))
    assert [float(row["mean"]) for row in rows if not row["versus"]] == [one["mean"] for one in data["scores"]]
    assert [float(row["holm"]) for row in rows if row["versus"]] == [one["holm"] for one in data["comparisons"]]
    assert [one["normalised"] for one in data["scores"]] == [one["mean"] / 10 for one in data["scores"]]
    text = report.markdown(result)
    assert f"| realism | a | {result.scores[0].mean:.2f} |" in text
    assert f"| realism | a − b | {result.comparisons[0].difference:+.2f} |" in text


def test_hostile_method_does_not_break_the_table():
    key = make_key(("a|<b>", "c"))
    text = report.markdown(score(key, [rated(key, "v", lambda q, m, c: 7)]))
    assert "a\\|\\<b>" in text and "<b>" not in text.replace("\\<b>", "")
