"""The page of a study and its key, and answers that were saved from the page."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from thcli.clips.ffmpeg import executable
from thcli.clips.probe import MediaInfo
from thcli.errors import MediaError
from thcli.evaluation.study import make
from thcli.evaluation.study.answers import read_answers
from thcli.evaluation.study.key import read_key
from thcli.evaluation.study.make import Study, make_study
from thcli.evaluation.study.page import render
from thcli.evaluation.study.scoring import score

HOSTILE = "</script><script>alert('ö\"&')"


@pytest.fixture(scope="session")
def films(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of two methods with the same two clips of 0.2 s, whose names tell the method."""
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


def test_make_study_puts_the_same_videos_into_page_and_key(study, films):
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


def test_make_study_writes_no_method_or_file_name_into_the_page(study, films):
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
    """Makes studies without ffmpeg: the copy of a video is its path."""
    info = MediaInfo(Path("a.mp4"), 64, 64, 25.0, 1.0, video=True, audio=True, image=False, format="mp4")
    monkeypatch.setattr(make, "probe", lambda path: info)
    monkeypatch.setattr(make, "anonymous_mp4", lambda path: "/".join(path.parts[-2:]).encode())


@pytest.mark.usefixtures("quick")
def test_make_study_puts_either_method_first_about_equally_often(films, tmp_path):
    keys = [read_key(make_study(films, tmp_path / f"{seed}.html", "", seed=seed).key) for seed in range(40)]
    ours = sum(key.videos[min(key.videos)].method == "ours-method" for key in keys)
    assert 10 < ours < 30


@pytest.mark.usefixtures("quick")
def test_make_study_repeats_a_page_for_a_seed_and_draws_anew_without(films, tmp_path):
    def made(name: str, seed: int | None, folders: dict[str, Path] = films) -> bytes:
        return make_study(folders, tmp_path / f"{name}.html", "", seed=seed).page.read_bytes()

    assert made("a", 1) == made("b", 1)
    assert len({made("c", 1), made("d", 2), made("e", None), made("f", None)}) == 4
    # Another study of the same seed has another name, so that answers to one are not taken for the other's.
    made("g", 1, {"ours-method": films["ours-method"]})
    assert read_key(tmp_path / "g.key.json").study != read_key(tmp_path / "a.key.json").study


@pytest.mark.usefixtures("quick")
def test_make_study_refuses_a_page_too_large_for_browsers(films, tmp_path, monkeypatch):
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


def test_render_keeps_a_hostile_title_as_text(study):
    text = study.page.read_text("utf-8")
    assert "<title>A &amp; B &lt;b&gt;</title>" in text
    page = Scripts(render("0", HOSTILE, {"a1": b"x"}, 1.0, 1).decode())
    assert sorted(page.texts) == ["code", "study", "video-a1"]
    assert "alert" not in "".join(page.texts.values())


def test_make_study_notes_what_tells_methods_apart(films, tmp_path):
    folders = {method: tmp_path / method for method in ("a", "b")}
    for folder, size, seconds in zip(folders.values(), ("64x64", "96x64"), (0.2, 0.8), strict=True):
        folder.mkdir()
        video(folder / "x.mp4", size=size, seconds=seconds)
    assert make_study(folders, tmp_path / "s.html", "").notes == (
        "x: its videos differ in shape; viewers may tell the methods by it",
        "x: its videos last 0.2 to 0.8 s; viewers may tell the methods by it",
    )


def test_make_study_refuses_unfit_folders_and_writes_nothing(films, tmp_path):
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


def test_score_gives_the_means_of_saved_answers(study, tmp_path):
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
