"""``thgen evaluate`` measures a pair or two folders; the tracker here finds a face everywhere but in the dark."""

import csv
import io
import json
import re
import shutil

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from thcli.evaluation.compare import all_metrics
from thcli.pipeline.models import Models

ROWS = ["predicted", "real", "first frame", "nearest frame", "shuffled"]
LEGEND = "↑ higher is better; ↓ lower is better; ≈ best where it comes near the real video's"
FEW = ("--metrics", "jitter,lmd,loudness_lag")


@pytest.fixture
def lit(nodding, monkeypatch):
    """Make every tracker the nodding one, which finds nothing in dark frames."""
    nodding_tracker = Models.tracker

    class Lit:
        name = "lit 1"

        def __init__(self, tracker):
            self.tracker = tracker

        def detect(self, frame):
            return self.tracker.detect(frame) if frame.mean() > 40 else []

        def mesh(self, frame, prior):
            mesh, confidence = self.tracker.mesh(frame, prior)
            return mesh, confidence if frame.mean() > 40 else 0.0

    monkeypatch.setattr(Models, "tracker", property(lambda models: Lit(nodding_tracker.fget(models))))


@pytest.fixture
def clip(media, lit):
    """clip(name, seconds=1, size="160x120", sound=True, dark=False) makes a test image with a tone."""

    def make(name, seconds=1, size="160x120", sound=True, dark=False):
        source = f"color=black:size={size}:rate=25" if dark else f"testsrc=size={size}:rate=25"
        tone = ("-f", "lavfi", "-i", f"sine=frequency=200:duration={seconds}") if sound else ()
        return media(name, "-f", "lavfi", "-i", f"{source}:duration={seconds}", *tone, "-pix_fmt", "yuv420p")

    return make


@pytest.fixture
def network(folder):
    """network(name, *shapes) makes an ONNX file with inputs of these shapes, which it returns."""

    def make(name, *shapes):
        ends = [
            [helper.make_tensor_value_info(f"{end}{i}", TensorProto.FLOAT, shape) for i, shape in enumerate(shapes)]
            for end in "xy"
        ]
        nodes = [helper.make_node("Identity", [f"x{i}"], [f"y{i}"]) for i in range(len(shapes))]
        graph = helper.make_graph(nodes, "same", *ends)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        onnx.save(model, folder / name)
        return name

    return make


def test_evaluate_prints_a_table_of_a_pair_and_its_baselines(thgen, clip):
    said = thgen("evaluate", clip("made.mp4"), clip("real.mp4", size="320x240"), *FEW)
    assert (said.code, said.new) == (0, ())
    lines = said.out.splitlines()
    assert lines[0].split("  ")[0] == "made"
    assert "LMD ↓" in lines[0] and "jitter ≈" in lines[0]
    assert [line.split("  ")[0] for line in lines[1:6]] == ROWS
    assert lines[-1] == LEGEND
    assert not any(line.endswith(" ") or "…" in line or "\x1b" in line for line in lines)
    assert said.err == "thgen: note: sizes differ (160x120 and 320x240): both are resized to 256x256\n"


def test_evaluate_prints_json_lines_with_figures_reasons_and_notes(thgen, clip):
    said = thgen("evaluate", clip("made.mp4", seconds=1.2, sound=False), clip("real.mp4"), *FEW, "--format", "jsonl")
    note = "lengths differ (1.20 s and 1.00 s): the shorter is compared"
    assert said.code == 0
    assert f"thgen: note: {note}\n" in said.err
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["clip"], row["method"]) for row in rows] == [("made", name) for name in ROWS]
    figures = rows[0]["figures"]
    assert list(figures) == ["lmd", "loudness_lag", "jitter"]
    assert figures["lmd"]["value"] >= 0
    assert figures["lmd"]["count"] == 25
    assert figures["loudness_lag"] == {"value": None, "count": 0, "model": "", "why": "made.mp4 has no sound"}
    assert rows[1]["figures"]["lmd"]["value"] == 0
    assert all(note in row["notes"] for row in rows)


def test_evaluate_measures_all_metrics_in_finite_numbers(thgen, clip, folder):
    made, real = clip("made.mp4", seconds=2.4), clip("real.mp4", seconds=2.4)
    said = thgen("evaluate", made, real, "--format", "csv", "-o", "all.jsonl")
    assert (said.code, said.new) == (0, ("all.jsonl",))
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert [row["method"] for row in rows] == ROWS
    names = [metric.name for metric in all_metrics()]
    assert list(rows[0]) == ["clip", "method", *names]
    for row, line in zip(rows, (folder / "all.jsonl").read_text().splitlines(), strict=True):
        figures = json.loads(line)["figures"]
        assert list(figures) == names
        for name, figure in figures.items():
            assert (row[name] == "") == (figure["value"] is None) == bool(figure["why"]), (row["method"], name)
            assert row[name] == "" or (np.isfinite(float(row[name])) and float(row[name]) == figure["value"])


@pytest.mark.parametrize(("name", "kind"), [("a.csv", "csv"), ("a.jsonl", "jsonl"), ("a.MD", "markdown")])
def test_evaluate_writes_a_file_in_the_format_of_its_suffix(thgen, clip, folder, name, kind):
    clips = clip("made.mp4", seconds=0.4), clip("real.mp4", seconds=0.4)
    said = thgen("evaluate", *clips, "--metrics", "lmd", "--format", kind, "-o", name)
    assert (said.code, said.new) == (0, (name,))
    assert said.err.endswith(f"{name}: written\n")
    assert (folder / name).read_text() == said.out != ""


def test_evaluate_refuses_an_output_that_exists_or_has_another_suffix(thgen, folder):
    (folder / "a.csv").write_text("mine")
    for arguments, code, message in (
        (("-o", "a.csv"), 2, "a.csv: exists already; add --overwrite, or name another file with -o"),
        (("-o", "a.txt"), 2, "a.txt: expected a name that ends in .md, .csv, .jsonl, which says what to write"),
        (("-o", "no/a.csv"), 3, "no: no such folder to write a.csv to; make it first"),
    ):
        said = thgen("evaluate", "made.mp4", "real.mp4", *arguments)
        assert (said.code, said.out, said.new) == (code, "", ())
        assert said.err == f"thgen: error: {message}\n"
    assert (folder / "a.csv").read_text() == "mine"


def test_evaluate_replaces_a_file_with_overwrite(thgen, clip, folder):
    (folder / "a.csv").write_text("old")
    made = clip("made.mp4", seconds=0.4)
    assert thgen("evaluate", made, made, "--metrics", "lmd", "-o", "a.csv", "--overwrite").code == 0
    assert (folder / "a.csv").read_text().startswith("clip,method,lmd\n")


def test_evaluate_pairs_folders_by_name_and_averages(thgen, clip):
    for name in ("made/a.mp4", "made/b.mov", "made/lonely.mp4", "real/a.mp4", "real/b.mp4", "real/other.mp4"):
        clip(name, seconds=0.6)
    said = thgen("evaluate", "made", "real", "--metrics", "lmd,jitter", "-o", "out.csv")
    assert said.code == 0
    assert "thgen: note: no partner of that name, left out: made/lonely.mp4, real/other.mp4\n" in said.err
    assert "thgen: note: b: measured on the head: " in said.err
    lines = said.out.splitlines()
    assert lines[0].startswith("mean of 2 clips  ")
    assert all(" ± " in line for line in lines[1:6])
    assert "±: standard deviation from clip to clip" in lines


def test_evaluate_prints_every_clip_of_folders_and_the_mean_in_csv(thgen, clip):
    for name in ("made/a.mp4", "made/b.mp4", "real/a.mp4", "real/b.mp4"):
        clip(name, seconds=0.6)
    rows = list(
        csv.DictReader(io.StringIO(thgen("evaluate", "made", "real", "--metrics", "lmd", "--format", "csv").out))
    )
    assert [(row["clip"], row["method"]) for row in rows] == [(c, m) for c in ("a", "b", "mean") for m in ROWS]
    values = [[float(row["lmd"]) for row in rows[i : i + 5]] for i in (0, 5, 10)]
    np.testing.assert_allclose(values[2], np.mean(values[:2], axis=0))


def test_evaluate_goes_on_after_a_broken_pair_and_ends_with_code_7(thgen, clip, folder):
    for name in ("made/a.mp4", "made/b.mp4", "real/a.mp4", "real/b.mp4"):
        clip(name, seconds=0.6)
    (folder / "made/a.mp4").write_text("no video")
    said = thgen("evaluate", "made", "real", "--metrics", "lmd")
    assert said.code == 7
    assert "thgen: a: made/a.mp4: not a video, photo or sound file" in said.err
    assert said.err.endswith("thgen: error: 1 of 2 pairs could not be measured\n")
    assert said.out.startswith("mean of 1 clip  ")
    (folder / "real/b.mp4").write_text("no video")
    said = thgen("evaluate", "made", "real", "--metrics", "lmd")
    assert (said.code, said.out) == (7, "")


@pytest.mark.usefixtures("lit")
def test_evaluate_refuses_what_cannot_be_compared(thgen, clip, folder):
    made = clip("made.mp4", seconds=0.4)
    (folder / "one").mkdir()
    (folder / "two").mkdir()
    shutil.copy(folder / made, folder / "one" / "a.mp4")
    shutil.copy(folder / made, folder / "two" / "b.mp4")
    for arguments, code, message in (
        ((), 2, "Name two videos or two folders: PREDICTED REFERENCE. See 'thgen evaluate --help'."),
        ((made,), 2, "Name two videos or two folders: PREDICTED REFERENCE. See 'thgen evaluate --help'."),
        ((made, "gone.mp4"), 3, "gone.mp4: no such file; check the name and the folder"),
        ((made, "one"), 2, "one is a folder and made.mp4 is a file; name two videos or two folders"),
        (("one", "gone"), 2, "one is a folder and gone is not there; name two videos or two folders"),
        (("one", "two"), 3, "one and two: no video of one has the name of a video of the other; expected pairs such as "
                            "a.mp4 and a.mp4"),
        ((made, made, "--reference-start", 9), 3, "made.mp4: lasts 0.40 s, but --reference-start is 9 s; choose less"),
    ):  # fmt: skip
        said = thgen("evaluate", *arguments)
        assert (said.code, said.out, said.new) == (code, "", ()), arguments
        assert said.err == f"thgen: error: {message}\n"
    shutil.copy(folder / made, folder / "one" / "a.mov")
    said = thgen("evaluate", "one", "two")
    assert (said.code, said.err) == (
        2, "thgen: error: one/a.mov and one/a.mp4 are both called 'a'; rename or remove one of them\n"
    )  # fmt: skip


def test_evaluate_measures_the_rest_without_a_face_in_the_predicted_video(thgen, clip):
    said = thgen("evaluate", clip("made.mp4", dark=True), clip("real.mp4"), "--metrics", "lmd", "--format", "jsonl")
    assert said.code == 0
    assert "thgen: note: made.mp4: no face from frame 0 (0.0 s) on" in said.err
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert rows[0]["figures"]["lmd"]["value"] is None
    assert rows[0]["figures"]["lmd"]["why"] == "no face found in made.mp4"
    assert [row["method"] for row in rows if row["figures"]["lmd"]["value"] is not None] == [*ROWS[1:4]]


def test_evaluate_refuses_a_reference_without_a_face(thgen, clip):
    said = thgen("evaluate", clip("made.mp4"), clip("real.mp4", dark=True))
    assert (said.code, said.out) == (4, "")
    assert said.err == (
        "thgen: error: real.mp4: no face from frame 0 (0.0 s) on, and at most 12 frames can be bridged; compare "
        "another part with --reference-start and --seconds\n"
    )


def test_evaluate_lists_the_known_metrics_for_an_unknown_one(thgen):
    said = thgen("evaluate", "made.mp4", "real.mp4", "--metrics", "lmd,sim")
    assert (said.code, said.out) == (2, "")
    known = ",".join(metric.name for metric in all_metrics())
    assert said.err == f"thgen: error: --metrics sim: no such metric, expected some of {known}\n"


def test_evaluate_refuses_networks_that_do_not_fit_before_it_measures(thgen, folder, network):
    (folder / "text.onnx").write_text("no network")
    small = network("small.onnx", (1, 3, 112, 112))
    for arguments, message in (
        (("--identity", "gone.onnx"), "gone.onnx: no such file; --identity takes the network as ONNX"),
        (
            ("--identity", "text.onnx"),
            "text.onnx: not a network of --identity (no ONNX model, or a damaged one); get the file again; expected ",
        ),
        (("--inception", small), "small.onnx: takes [1, 3, 112, 112], which is no network for --inception; expected "),
        (("--syncnet", small), "small.onnx: takes [1, 3, 112, 112], which is no network for --syncnet; expected "),
    ):
        said = thgen("evaluate", "made.mp4", "real.mp4", *arguments)
        assert (said.code, said.out) == (5, "")
        assert said.err.startswith(f"thgen: error: {message}")
        assert said.err.count("\n") == 1


def test_evaluate_list_describes_every_metric(thgen):
    said = thgen("evaluate", "--list")
    assert (said.code, said.err) == (0, "")
    rows = [json.loads(line) for line in thgen("evaluate", "--list", "--format", "jsonl").out.splitlines()]
    assert [row["name"] for row in rows] == [metric.name for metric in all_metrics()]
    for row in rows:
        assert row["definition"] in said.out and row["source"] in said.out and row["inputs"] in said.out
    assert thgen("evaluate", "--list", "--metrics", "lmd").out.startswith("lmd  (LMD ↓)\n")
    refused = thgen("evaluate", "--list", "--format", "csv")
    assert (refused.code, refused.err) == (
        2, "thgen: error: --list prints a table or jsonl, not csv. See 'thgen evaluate --help'.\n"
    )  # fmt: skip


def test_evaluate_breaks_its_table_at_the_width_of_a_terminal(thgen, clip, monkeypatch):
    arguments = (
        "evaluate",
        clip("made.mp4", seconds=0.6),
        clip("real.mp4", seconds=0.6),
        "--metrics",
        "lmd,lmd_sum,jitter",
    )
    plain = thgen(*arguments).out.splitlines()[1:6]
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "32")
    said = thgen(*arguments)
    assert "\x1b[1m" in said.out, "headings are bold"
    table = re.sub(r"\x1b\[[0-9;]*m", "", said.out).split("\n↑")[0]
    assert "…" not in table and all(len(line) <= 32 for line in table.splitlines())
    assert table.count("nearest frame") > 1
    for line in plain:
        name, *values = re.split(r"  +", line)
        blocks = [re.split(r"  +", row)[1:] for row in table.splitlines() if row.startswith(name)]
        assert [value for block in blocks for value in block] == values


def test_evaluate_progress_counts_rows(thgen, clip):
    made = clip("made.mp4", seconds=0.4)
    said = thgen("evaluate", made, made, "--metrics", "lmd", "--progress", "json")
    last = json.loads([line for line in said.err.splitlines() if line.startswith("{")][-1])
    assert (last["stage"], last["done"], last["total"]) == ("measure", 5, 5)


def test_evaluate_goes_on_after_a_bug_in_one_pair(thgen, clip, monkeypatch):
    from thcli.evaluation import files

    def read_pair(predicted, *rest):
        if predicted.stem == "a":
            raise ZeroDivisionError("division by zero")
        return read(predicted, *rest)

    read = files.read_pair
    monkeypatch.setattr(files, "read_pair", read_pair)
    for name in ("made/a.mp4", "made/b.mp4", "real/a.mp4", "real/b.mp4"):
        clip(name, seconds=0.4)
    said = thgen("evaluate", "made", "real", "--metrics", "lmd")
    assert said.code == 7
    assert "thgen: a: a bug in thgen (ZeroDivisionError: division by zero; test_evaluate_command.py line " in said.err
    assert said.out.startswith("mean of 1 clip  ")
    single = thgen("evaluate", "made/a.mp4", "real/a.mp4", "--metrics", "lmd")
    assert (single.code, single.out) == (1, "")
