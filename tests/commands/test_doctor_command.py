"""``thgen doctor`` prints its checks and ends with their exit code; its self-test makes a video and examines it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from thcli import generation
from thcli.doctor import installation, self_test
from thcli.doctor.check import Check
from thcli.errors import NoFaceError
from thcli.generation.result import Result
from thcli.version import __version__


@pytest.fixture
def quick(monkeypatch):
    """Put one check of each kind in place of the checks of the installation and the self-test."""
    monkeypatch.setattr(installation, "installation", lambda *_: iter([Check("python", True, "3.11")]))
    monkeypatch.setattr(self_test, "self_test", lambda *_: Check("self-test", True, "13 frames"))
    return monkeypatch


def test_doctor_prints_a_line_for_each_check(thgen, quick):
    said = thgen("doctor")
    assert (said.code, said.err, said.new) == (0, "", ())
    assert said.out.splitlines() == [f"ok    {'python':<27}3.11", f"ok    {'self-test':<27}13 frames"]


def test_doctor_finds_no_fault_in_this_environment(thgen):
    said = thgen("doctor", "--device", "cpu")
    assert (said.code, said.err, said.new) == (0, "", ())
    lines = said.out.splitlines()
    assert all(line.startswith("ok    ") for line in lines) and lines[-1].startswith("ok    self-test ")


def test_doctor_says_what_to_do_about_a_fault_and_ends_with_code_7(thgen, quick):
    quick.setattr(self_test, "self_test", lambda *_: Check("self-test", False, "no face", "look again"))
    said = thgen("doctor")
    assert (said.code, said.err) == (7, "thgen: 1 fault: self-test\n")
    assert said.out.splitlines()[1:] == [f"FAULT {'self-test':<27}no face", f"{'':<33}do: look again"]


@pytest.mark.parametrize("well", [True, False])
def test_doctor_with_json_prints_one_object(thgen, quick, well):
    last = Check("self-test", well, "what", "" if well else "do this")
    quick.setattr(self_test, "self_test", lambda *_: last)
    said = thgen("doctor", "--json")
    assert (said.code, said.err) == (0 if well else 7, "")
    assert json.loads(said.out) == {
        "thgen": __version__,
        "ok": well,
        "checks": [
            {"name": "python", "ok": True, "found": "3.11", "fix": ""},
            {"name": "self-test", "ok": well, "found": "what", "fix": last.fix},
        ],
    }


def test_self_test_makes_a_video_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    check = self_test.self_test("cpu")
    assert check.ok, check
    assert check.found.startswith("13 frames by tracker, Ψ, Φ and Θ on cpu: listen ")
    assert not any(tmp_path.iterdir())


def test_self_test_reports_an_error_of_generate(monkeypatch):
    def no_face(*_):
        raise NoFaceError("portrait.png: no face found; choose a picture with a face at least 64 pixels high")

    monkeypatch.setattr(generation, "generate", no_face)
    expected = ("portrait.png: no face found", "choose a picture with a face at least 64 pixels high")
    check = self_test.self_test("cpu")
    assert (check.ok, check.found, check.fix) == (False, *expected)
    monkeypatch.setattr(generation, "generate", lambda *_: 1 / 0)
    assert self_test.self_test("cpu").found == "ZeroDivisionError: division by zero"


def test_self_test_finds_a_video_that_does_not_move(monkeypatch, speech_wav):
    def still(reference, audio, output, options):
        from skimage.data import astronaut

        from thcli.clips.encode import VideoWriter

        with VideoWriter(output, (512, 512), None, 13) as writer:
            for _ in range(13):
                writer.write(astronaut())
        return Result(output, 13, (512, 512), {}, "cpu")

    monkeypatch.setattr(generation, "generate", still)
    assert self_test.self_test("cpu").found.startswith("nothing moves in the video")


def test_doctor_examines_a_video(thgen, faceless_clip):
    said = thgen("doctor", faceless_clip)
    assert (said.code, said.err) == (7, "thgen: 1 fault: declares\n")
    assert said.out.splitlines()[0].startswith("ok    file       bars.mp4: 160x120, 2.0 s, SHA-256 ")
    assert said.out.splitlines()[-1] == "note  metadata and sidecar are not signed: anyone can remove or change them"
    said = thgen("doctor", "gone.mp4")
    assert (said.code, said.err) == (3, "thgen: error: gone.mp4: no such file; check the name and the folder\n")
    assert Path(faceless_clip).is_file()
