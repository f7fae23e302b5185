"""``thgen study make`` makes a page of videos, and ``thgen study score`` makes figures of the answers."""

from __future__ import annotations

import json

import pytest


@pytest.fixture
def films(media):
    """Make folders ours/ and theirs/ with the clips one and two."""
    for method, image in (("ours", "testsrc"), ("theirs", "smptebars")):
        for clip in ("one", "two"):
            source = ("-f", "lavfi", "-i", f"{image}=s=64x64:r=25:d=0.2", "-f", "lavfi", "-i", "sine=d=0.2")
            media(f"{method}/{clip}.mp4", *source, "-pix_fmt", "yuv420p")
    return ("ours=ours", "theirs=theirs")


@pytest.fixture
def answered(thgen, films, folder):
    """Make a study, answered by seven viewers who like ours better; one of them left a question out."""
    assert thgen("study", "make", *films).code == 0
    key = json.loads((folder / "study.key.json").read_text())
    names = []
    for viewer in range(7):
        answers = {
            name: {"realism": (8 if video["method"] == "ours" else 2) - viewer % 3, "sync": 5}
            for name, video in key["videos"].items()
        }
        if viewer == 6:
            del answers[next(iter(answers))]["sync"]
        content = {"format": 1, "study": key["study"], "viewer": f"v{viewer}", "answers": answers}
        names.append(f"answers_{viewer}.json")
        (folder / names[-1]).write_text(json.dumps(content))
    return names


def test_study_make_writes_the_page_and_its_key(thgen, films, folder):
    said = thgen("study", "make", *films, "-o", "page.html", "--title", "Which is real?")
    assert (said.code, said.out, said.new) == (0, "", ("page.html", "page.key.json"))
    assert said.err == (
        "page.html: for the viewers (methods: 2, clips: 2, videos: 4)\n"
        "page.key.json: keep it to yourself; 'thgen study score' needs it\n"
    )
    assert "<h1>Which is real?</h1>" in (folder / "page.html").read_text()


def test_study_make_reports_progress(thgen, films):
    said = thgen("study", "make", *films, "--progress", "json")
    lines = [json.loads(line) for line in said.err.splitlines() if line.startswith("{")]
    assert (lines[0]["stage"], lines[0]["total"]) == ("videos", 4)
    assert lines[-1]["done"] == 4


def test_study_make_keeps_existing_files_without_overwrite(thgen, films, folder):
    (folder / "study.key.json").write_text("mine")
    said = thgen("study", "make", *films)
    assert (said.code, said.new) == (2, ())
    assert said.err == ("thgen: error: study.key.json: exists already; add --overwrite, or name another file with -o\n")
    assert (folder / "study.key.json").read_text() == "mine"
    assert thgen("study", "make", *films, "--overwrite").code == 0
    said = thgen("study", "make", *films, "-o", "no/study.html")
    assert (said.code, said.err) == (3, "thgen: error: no: no such folder to write study.html to; make it first\n")


@pytest.mark.parametrize(
    ("methods", "code", "message"),
    [
        (("ours",), 2, "'ours': expected METHOD=FOLDER, such as ours=made/. See 'thgen study make --help'."),
        (("=ours",), 2, "'=ours': expected METHOD=FOLDER, such as ours=made/. See 'thgen study make --help'."),
        (("a=ours", "a=theirs"), 2, "The method 'a' is given twice. See 'thgen study make --help'."),
        (("a=ours", "b=gone"), 3, "gone: no such folder, expected one with a method's videos"),
        (
            ("a=ours", "b=theirs"),
            3,
            "theirs: no video of two, which other methods have; viewers must see every clip by every method",
        ),
    ],
)
def test_study_make_refuses_wrong_methods_in_one_line(thgen, films, folder, methods, code, message):
    (folder / "theirs" / "two.mp4").unlink()
    said = thgen("study", "make", *methods)
    assert (said.code, said.out, said.new) == (code, "", ())
    assert said.err == f"thgen: error: {message}\n"


def test_study_score_prints_means_and_tests(thgen, answered):
    said = thgen("study", "score", "study.key.json", *answered)
    assert (said.code, said.new) == (0, ())
    assert said.err == "thgen: note: v6: answered 7 of 8 questions; what is there counts\n"
    lines = [line.split() for line in said.out.splitlines()]
    # Viewers v0 to v6 take 0, 1, 2, 0, 1, 2, 0 off, so that the mean is 8 - 6/7.
    assert lines[1][:4] == ["realism", "ours", "7.14", "0.71"] and lines[1][-2:] == ["7", "14"]
    assert lines[2][:4] == ["realism", "theirs", "1.14", "0.11"]
    assert lines[3][-2:] == ["7", "13"]
    # All seven agree, which has the probability 2 / 2^7; no other test is possible.
    assert ["realism", "ours", "−", "theirs", "+6.00", "0.016", "0.016", "7"] in lines
    assert "sync, ours and theirs: no test: it takes 6 viewers who rate them differently, found 0" in said.out


def test_study_score_writes_files_in_the_format_of_their_suffix(thgen, answered, folder):
    said = thgen("study", "score", "study.key.json", *answered, "--format", "json", "-o", "scores.csv")
    assert (said.code, said.new) == (0, ("scores.csv",))
    assert said.err.endswith("scores.csv: written\n")
    assert json.loads(said.out)["viewers"] == 7
    assert (folder / "scores.csv").read_text().startswith("question,method,versus,viewers,ratings,mean,normalised,")
    thgen("study", "score", "study.key.json", *answered, "-o", "scores.md")
    assert "| realism | ours | 7.14 | 0.71 |" in (folder / "scores.md").read_text()
    said = thgen("study", "score", "study.key.json", *answered, "-o", "scores.md")
    assert (said.code, said.out) == (2, "")
    said = thgen("study", "score", "study.key.json", *answered, "-o", "scores.xls")
    assert (said.code, said.err) == (
        2, "thgen: error: scores.xls: expected a name that ends in .md, .json, .csv, which says what to write\n"
    )  # fmt: skip


def test_study_score_refuses_answers_that_do_not_fit(thgen, answered, folder):
    said = thgen("study", "score", "study.key.json", "answers_0.json", "answers_0.json")
    assert (said.code, said.err) == (2, (
        "thgen: error: answers_0.json and answers_0.json: both are by the viewer 'v0'; give one of them, "
        'or change "viewer" in one if they are two people\n'
    ))  # fmt: skip
    said = thgen("study", "score", "study.key.json", "gone.json")
    assert (said.code, said.err) == (
        3, "thgen: error: gone.json: no such file, expected the answers that a viewer saved from the page\n"
    )  # fmt: skip
    said = thgen("study", "score", "answers_0.json", "answers_1.json")
    assert (said.code, said.err) == (
        3, "thgen: error: answers_0.json: not the key of a study; give the key.json that 'thgen study make' wrote\n"
    )  # fmt: skip
    content = json.loads((folder / "answers_0.json").read_text())
    (folder / "answers_0.json").write_text(json.dumps(content | {"study": "other"}))
    said = thgen("study", "score", "study.key.json", "answers_0.json")
    assert said.code == 3
    assert said.err.startswith("thgen: error: answers_0.json: answers to the study other, expected ")
    assert thgen("study", "score", "study.key.json").code == 2


def test_study_alone_shows_its_help(thgen):
    assert thgen("study").out == thgen("study", "--help").out
    assert "  make " in thgen("study").out and "  score " in thgen("study").out
