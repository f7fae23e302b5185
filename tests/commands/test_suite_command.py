"""``thgen evaluate --suite`` renders and measures the rows of its tables, resumes, and refuses wrong use."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thcli.commands.main import COMMANDS, main


@pytest.fixture
def store(thgen, media, nodding) -> Path:
    """Make a store of one clip of four seconds in which the nodding tracker finds its face."""
    image, tone = "testsrc2=size=128x128:rate=25:duration=4", "sine=frequency=200:duration=4"
    media("videos/val/bars.mp4", "-f", "lavfi", "-i", image, "-f", "lavfi", "-i", tone, "-pix_fmt", "yuv420p")
    assert thgen("preprocess", "all", "videos", "--out", "store").code == 0
    return Path("store")


def test_suite_renders_measures_and_resumes(thgen, store):
    call = ("evaluate", "--suite", store, "--drive", "landmarks", "--references", "1", "--seconds", "1",
            "--metrics", "lmd,jitter", "--out", "tables", "--format", "csv", "--ablate", "warping",
            "--renderer", "warp")  # fmt: skip
    said = thgen(*call)
    assert said.code == 0, said.err
    assert {"tables/table.md", "tables/results.json", "tables/results.jsonl"} <= set(said.new)
    assert all(name.startswith("tables/") for name in said.new)
    lines = said.out.splitlines()
    assert lines[0] == "clip,method,lmd,jitter"
    names = {line.split(",")[1] for line in lines[1:]}
    assert names == {"real", "first frame", "nearest frame", "shuffled audio (K=1)", "frontal texture (K=1)",
                     "warp (K=1)", "geometric (K=1)", "thgen (K=1)", "w/o warping (K=1)"}  # fmt: skip
    assert "tables/table.md: 9 videos" in said.err
    table = Path("tables/table.md").read_text()
    assert "thgen evaluate" in table and "--ablate warping" in table and "VoxCeleb2" in table
    assert json.loads(Path("tables/results.json").read_text())["options"]["ablate"] == ["warping"]
    again = thgen(*call)
    assert (again.code, again.out, again.new) == (0, said.out, ())
    assert "9 of them from an earlier run" in again.err


SUITE = ("--suite", "store", "--drive", "landmarks", "--out", "tables")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--suite", "nowhere", "--drive", "audio", "--out", "tables"), 3, "nowhere: no index.jsonl there"),
        (("--suite", "store", "--out", "tables"), 2, "--suite needs --drive"),
        (("--suite", "store", "--drive", "audio"), 2, "--suite needs --out"),
        ((*SUITE, "--references", "0"), 2, "--references 0: expected 1 to 32"),
        ((*SUITE, "--references", "1,33"), 2, "--references 33: expected 1 to 32"),
        ((*SUITE, "--references", "1,many"), 2, "--references 1,many: expected numbers"),
        ((*SUITE, "--references", ","), 2, "--references: no number is given"),
        ((*SUITE, "--ablate", "hair"), 2, "--ablate hair: no such part"),
        ((*SUITE, "--ablation-weights", "six"), 2, "--ablation-weights six: draws what --ablate names; add --ablate"),
        ((*SUITE, "--ablate", "all", "--ablation-weights", "six"), 5, "six/full.safetensors: no such checkpoint"),
        ((*SUITE, "--metrics", "beauty"), 2, "--metrics beauty: no such metric"),
        ((*SUITE, "--split", "test"), 3, "no clip of split 'test', it has val"),
        ((*SUITE, "--clips", "nobody"), 2, "--clips nobody: no such clip"),
        ((*SUITE, "--seconds", "0.2"), 2, "--seconds 0.2: expected 1 or more"),
        ((*SUITE, "--device", "abacus"), 6, "--device abacus: no such device"),
        ((*SUITE, "--identity", "none.onnx"), 5, "none.onnx: no such file"),
        (("made.mp4", "real.mp4", *SUITE), 2, "PREDICTED cannot be used with --suite"),
        ((*SUITE, "-o", "figures.csv"), 2, "--output cannot be used with --suite"),
        (("made.mp4", "real.mp4", "--drive", "audio"), 2, "--drive is for --suite DATA"),
        (("made.mp4", "real.mp4", "--ablate", "all"), 2, "--ablate is for --suite DATA"),
        (("made.mp4", "real.mp4", "--ablation-weights", "six"), 2, "--ablation-weights is for --suite DATA"),
        (("made.mp4", "real.mp4", "--renderer", "network"), 2, "--renderer is for --suite DATA"),
        # The tone of the clip does not fit its frames.
        (("--suite", "store", "--drive", "audio", "--out", "tables"), 3, "av_lag is null"),
    ],
)
def test_suite_refuses_wrong_use_in_one_line(thgen, kept_store, arguments, code, words):
    said = thgen("evaluate", *arguments)
    assert (said.code, said.new) == (code, ())
    assert words in said.err and said.err.count("\n") == 1


@pytest.fixture
def kept_store(folder) -> Path:
    """Make the index of a store with one clip whose sound is not known to fit."""
    (folder / "store").mkdir()
    meta = {"clip": "bars", "subject": "bars", "split": "val", "frames": 100, "av_lag": None}
    (folder / "store" / "index.jsonl").write_text(json.dumps(meta) + "\n")
    return Path("store")


def test_evaluate_help_names_every_ablation():
    from click.testing import CliRunner

    from thcli.evaluation.suite.options import ABLATIONS, DRIVES

    assert "evaluate" in COMMANDS
    text = " ".join(CliRunner().invoke(main, ["evaluate", "--help"]).output.split()).replace("- ", "-")
    assert all(name in text for name in (*ABLATIONS, *DRIVES))
