"""``thgen inspect``, with a tracker that finds a face everywhere."""

import pytest
from PIL import Image


@pytest.mark.usefixtures("nodding")
def test_clip_gives_figures_and_a_sheet(thgen, faceless_clip, folder):
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
def test_photo_has_no_curves(thgen, portrait_png, folder):
    said = thgen("inspect", portrait_png, "-o", "sheet.png")
    assert (said.code, said.new) == (0, ("sheet.png",))
    assert "picture    256x256, a photo" in said.out
    assert "sound      none" in said.out
    with Image.open(folder / "sheet.png") as sheet:
        assert sheet.height < 500


def test_sheet_is_not_overwritten_unasked(thgen, faceless_clip, folder):
    (folder / "bars_inspect.png").write_text("mine")
    said = thgen("inspect", faceless_clip)
    assert (said.code, said.new) == (2, ())
    assert said.err == (
        "thgen: error: bars_inspect.png: exists already; add --overwrite, or name another file with -o\n"
    )
    assert (folder / "bars_inspect.png").read_text() == "mine"


def test_missing_clip_and_folder(thgen):
    said = thgen("inspect", "gone.mp4")
    assert (said.code, said.new) == (3, ())
    assert said.err == "thgen: error: gone.mp4: no such file; check the name and the folder\n"
    said = thgen("inspect", "gone.mp4", "-o", "no/sheet.png")
    assert said.err == "thgen: error: no: no such folder to write sheet.png to; make it first\n"
