"""Rows as means, tables, Markdown, CSV and JSON Lines; those for programs are read back."""

import csv
import io
import json
from statistics import mean, stdev

import pytest

from thcli.evaluation.metric import Figure, Metric, Pooled, not_computed
from thcli.evaluation.table import LEGEND, Row, markdown, mean_rows, sheet, to_csv, to_json_lines


def metric(name, better="higher", pooled=None):
    return Metric(name, name.upper(), "", "", "", better, lambda pair, models: Figure(0.0), pooled)


SHARP, LAG = metric("sharp"), metric("lag", "real")
POOLED = metric("pooled", "lower", Pooled(lambda pair, models: None, lambda made, true: None))


def row(method, clip, sharp=None, lag=None, why="no face found in a.mp4", **more):
    figures = {"sharp": sharp, "lag": lag}
    return Row(method, clip, {n: not_computed(why) if v is None else Figure(v, 10) for n, v in figures.items()}, **more)


def test_mean_rows_have_the_mean_and_deviation_of_statistics():
    values = {"predicted": [0.2, 0.5, 0.6], "real": [1.0, 1.0, 1.0]}
    rows = [row(method, f"c{i}", values[method][i], lag=i) for i in range(3) for method in values]
    means = mean_rows(rows, [SHARP, LAG])
    assert [(r.method, r.clip) for r in means] == [("predicted", "mean"), ("real", "mean")]
    assert means[0].figures["sharp"].value == pytest.approx(mean(values["predicted"]))
    assert means[0].figures["sharp"].count == 30
    assert means[0].spread["sharp"] == pytest.approx(stdev(values["predicted"]))
    assert means[1].spread["sharp"] == 0


def test_mean_rows_leave_out_clips_without_a_figure_and_say_so():
    means = mean_rows([row("predicted", "a", 0.2, 1), row("predicted", "b", None, 3)], [SHARP, LAG])
    assert means[0].figures["sharp"].value == 0.2
    assert "sharp" not in means[0].spread, "one clip has no spread"
    assert means[0].figures["lag"].value == 2
    assert means[0].notes == ("SHARP of 1 of 2 clips",)
    assert "predicted: SHARP of 1 of 2 clips" in sheet(means, [SHARP, LAG]).remarks


def test_mean_rows_of_nothing_give_three_reasons_at_most():
    rows = [row("predicted", str(i), why=f"reason {i % 5}") for i in range(10)]
    figure = mean_rows(rows, [SHARP])[0].figures["sharp"]
    assert figure.value is None
    assert figure.why == "reason 0; reason 1; reason 2; and 2 more"


def test_mean_rows_never_average_pooled_metrics():
    rows = [Row("predicted", clip, {"pooled": Figure(value, 5)}) for clip, value in (("a", 1.0), ("b", 2.0))]
    given = mean_rows(rows, [POOLED], {"predicted": {"pooled": Figure(9.0, 10, "net")}})[0]
    assert given.figures["pooled"] == Figure(9.0, 10, "net")
    assert not given.spread
    assert mean_rows(rows, [POOLED])[0].figures["pooled"].value is None
    assert mean_rows(rows[:1], [POOLED])[0].figures["pooled"].value == 1.0


def test_sheet_has_a_column_with_an_arrow_for_each_metric():
    made = sheet([row("predicted", "a", 0.81234, -3), row("real", "a", 1.0, 12)], [SHARP, LAG])
    assert made.headings == ("a", "SHARP ↑", "LAG ≈")
    assert made.cells == (("predicted", "0.812", "-3.00"), ("real", "1.000", "12.00"))
    assert made.remarks == (LEGEND,)


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ((0.0421, 0.001), ("0.0421", "0.0010")),
        ((1234.5, 2.0), ("1234", "2")),
        ((-0.0001, 0.5), ("0.000", "0.500")),
        ((0.0, 0.0), ("0.000", "0.000")),
        ((25.314, 9.9), ("25.31", "9.90")),
    ],
)
def test_sheet_gives_a_column_the_decimals_that_its_largest_value_needs(values, texts):
    made = sheet([row(str(i), "a", value) for i, value in enumerate(values)], [SHARP])
    assert tuple(cells[1] for cells in made.cells) == texts


def test_sheet_remarks_what_is_missing_once_for_each_reason():
    rows = [row("predicted", "a", None, 1), row("real", "a", None, None, why="no sound")]
    made = sheet(rows, [SHARP, LAG])
    assert made.headings == ("a", "LAG ≈"), "no column of dashes"
    assert made.cells == (("predicted", "1.000"), ("real", "–"))
    assert made.remarks[:2] == (
        "not computed: SHARP: no face found in a.mp4; no sound",
        "not computed: LAG (real): no sound",
    )
    both = sheet([row("predicted", "a", why="no face")], [SHARP, LAG])
    assert both.remarks[0] == "not computed: SHARP, LAG: no face"
    assert both.cells == (("predicted",),)


def test_sheet_remarks_a_metric_that_was_not_measured():
    assert sheet([row("predicted", "a", 1.0)], [SHARP, POOLED]).remarks[0] == "not computed: POOLED: was not measured"


def test_sheet_tells_rows_of_several_clips_apart_and_takes_a_heading():
    rows = [row("predicted", "a", 0.5), row("predicted", "b", 0.6)]
    assert sheet(rows, [SHARP]).headings[0] == "clip, method"
    assert [cells[0] for cells in sheet(rows, [SHARP]).cells] == ["a, predicted", "b, predicted"]
    assert sheet(rows[:1], [SHARP], "the clip").headings[0] == "the clip"


def test_markdown_is_a_table_of_equally_many_cells():
    text = markdown([row("a|b", "c", 0.5, 1, spread={"sharp": 0.1}), row("real", "c", 1.0)], [SHARP, LAG])
    lines = text.splitlines()
    assert lines[:4] == [
        "| c | SHARP ↑ | LAG ≈ |",
        "| --- | ---: | ---: |",
        "| a\\|b | 0.500 ± 0.100 | 1.000 |",
        "| real | 1.000 | – |",
    ]
    assert lines[4] == ""
    assert lines[5] == "- not computed: LAG (real): no face found in a.mp4"
    assert "- ±: standard deviation from clip to clip" in lines
    assert text.endswith(f"- {LEGEND}\n")


def test_to_csv_reads_back_with_empty_cells_for_what_is_missing():
    rows = [row("predicted", "a, b", 1 / 3), row("real", 'c"d', 1.0, -2)]
    back = list(csv.DictReader(io.StringIO(to_csv(rows, [SHARP, LAG]))))
    assert [(r["clip"], r["method"]) for r in back] == [("a, b", "predicted"), ('c"d', "real")]
    assert float(back[0]["sharp"]) == 1 / 3
    assert back[0]["lag"] == ""
    assert float(back[1]["lag"]) == -2


def test_to_json_lines_reads_back_with_reasons_models_and_spread():
    figures = {"sharp": Figure(0.5, 7, "net (sha256 abc)"), "lag": not_computed("né")}
    text = to_json_lines([Row("predicted", "a", figures, ("sizes differ",), {"sharp": 0.1})], [SHARP, LAG, POOLED])
    assert "né" in text
    (back,) = map(json.loads, text.splitlines())
    assert back == {
        "clip": "a",
        "method": "predicted",
        "figures": {
            "sharp": {"value": 0.5, "count": 7, "model": "net (sha256 abc)", "why": "", "spread": 0.1},
            "lag": {"value": None, "count": 0, "model": "", "why": "né"},
            "pooled": {"value": None, "count": 0, "model": "", "why": "was not measured"},
        },
        "notes": ["sizes differ"],
    }


def test_to_json_lines_refuses_nan():
    with pytest.raises(ValueError, match="JSON"):
        to_json_lines([Row("predicted", "a", {"sharp": Figure(float("nan"))})], [SHARP])
