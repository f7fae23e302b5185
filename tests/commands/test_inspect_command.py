"""``thgen inspect`` prints figures and writes a contact sheet; the tracker here finds a face everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from skimage import data

from thcli.inspection import clip


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
@pytest.mark.parametrize(
    ("longest", "length"), [(1.0, "the first 1.0 s of 2.0, 25 frames"), (2.0, "2.0 s, 50 frames")], ids=["more", "all"]
)
def test_inspect_says_how_much_of_a_long_clip_it_looked_at(thgen, faceless_clip, monkeypatch, longest, length):
    monkeypatch.setattr(clip, "LONGEST", longest)
    assert thgen("inspect", faceless_clip).out.splitlines()[1] == f"picture    160x120, {length} at 25 a second"


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


def test_inspect_names_cuts_and_measures_the_shot_that_is_best(thgen, portrait_png, folder):
    from thcli.clips.encode import VideoWriter

    portrait = np.asarray(Image.open(portrait_png).convert("RGB"))
    room = np.asarray(Image.fromarray(data.coffee()).resize((256, 256)))
    with VideoWriter(folder / "cut.mp4", (256, 256), None, 40) as writer:
        for picture in [room] * 15 + [portrait] * 25:
            writer.write(np.ascontiguousarray(picture))
    said = thgen("inspect", "cut.mp4")
    assert said.code == 0
    lines = said.out.splitlines()
    assert lines[1] == "picture    256x256, 1.0 s, 25 frames at 25 a second"
    advice = [line.removeprefix("advice     ") for line in lines if line.startswith("advice")]
    assert advice[0] == (
        "the clip is cut at 0.60 s: measured is one shot, from 0.60 to 1.60 s; --start chooses another"
    )
    assert advice[-1] == "a reference best begins with --start 0.60"
