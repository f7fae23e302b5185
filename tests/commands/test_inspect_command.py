"""``thgen inspect`` prints figures and writes a contact sheet; the tracker here finds a face everywhere."""

from __future__ import annotations

import pytest
from PIL import Image


@pytest.mark.usefixtures("nodding")
def test_inspect_of_a_clip_prints_figures_and_writes_a_sheet(thgen, faceless_clip, folder):
    said = thgen("inspect", faceless_clip)
    assert (said.code, said.new, said.err) == (0, ("bars_inspect.png",), "bars_inspect.png: contact sheet and curves\n")
    lines = said.out.splitlines()
    assert lines[1] == "picture    160x120, 2.0 s, 50 frames at 25 a second"
    assert lines[2].endswith("seen in 100% of the frames (nodding 1)")
    assert any(line.startswith("sound      2.0 s, speech in ") for line in lines)
    assert any(line.startswith("advice     the head hardly moves") for line in lines)
    with Image.open(folder / "bars_inspect.png") as sheet:
        assert sheet.format == "PNG"
        assert sheet.height > 900


@pytest.mark.usefixtures("nodding")
def test_inspect_of_a_photo_draws_no_curves(thgen, portrait_png, folder):
    said = thgen("inspect", portrait_png, "-o", "sheet.png")
    assert (said.code, said.new) == (0, ("sheet.png",))
    assert "picture    256x256, a photo" in said.out
    assert "sound      none" in said.out
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.height < 500


def test_inspect_keeps_an_existing_sheet_without_overwrite(thgen, faceless_clip, folder):
    (folder / "bars_inspect.png").write_text("mine")
    said = thgen("inspect", faceless_clip)
    assert (said.code, said.new) == (2, ())
    assert said.err == (
        "thgen: error: bars_inspect.png: exists already; add --overwrite, or name another file with -o\n"
    )
    assert (folder / "bars_inspect.png").read_text() == "mine"


def test_inspect_refuses_a_missing_clip_and_a_missing_folder(thgen):
    said = thgen("inspect", "gone.mp4")
    assert (said.code, said.new) == (3, ())
    assert said.err == "thgen: error: gone.mp4: no such file; check the name and the folder\n"
    said = thgen("inspect", "gone.mp4", "-o", "no/sheet.png")
    assert said.err == "thgen: error: no: no such folder to write sheet.png to; make it first\n"
