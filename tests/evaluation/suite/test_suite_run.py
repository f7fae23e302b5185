"""``run_suite``: its tables hold every row, and a run takes over only what an earlier run made in the same way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from thcli.evaluation.metric import Figure
from thcli.evaluation.metric_models import MetricModels
from thcli.evaluation.suite.case import load_case
from thcli.evaluation.suite.methods import REAL, Method, choose_methods
from thcli.evaluation.suite.options import SuiteOptions
from thcli.evaluation.suite.results import hash_of_code
from thcli.evaluation.suite.run import run_suite

OPTIONS = SuiteOptions("landmarks", references=(2, 1), seconds=1.0, device="cpu", clips=("still", "nodding"))
ROWS = ["real", "first frame", "half (K=1)", "half (K=2)"]


class Drawn:
    """Rows that record what they draw; the one that comes after ``stop_at`` others raises KeyboardInterrupt."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, int]] = []
        self.stop_at: int | None = None

    def method(self, name: str, uses_references: bool, share: float) -> Method:
        def render(case, references):
            if len(self.made) == self.stop_at:
                raise KeyboardInterrupt
            self.made.append((case.clip, name, references))
            return (case.real.frames * share).astype(np.uint8)

        return Method(name, f"{share} of the real one's light", render, uses_references)


@pytest.fixture(scope="module")
def read():
    """A ``load_case`` that reads every clip once."""
    known = {}

    def load(store, meta, other, options):
        key = (meta, other, options.drive, options.seconds)
        if key not in known:
            known[key] = load_case(store, meta, other, options)
        return replace(known[key], options=options)

    return load


@pytest.fixture
def drawn(monkeypatch, metrics, read) -> Drawn:
    """The suite has rows that cost nothing: the real video and two darker ones. The hash of the code stays the same."""
    drawn = Drawn()
    monkeypatch.setattr("thcli.evaluation.suite.results.hash_of_code", lambda: "0")
    monkeypatch.setattr("thcli.evaluation.suite.run.load_case", read)
    rows = (REAL, drawn.method("first frame", False, 0.25), drawn.method("half", True, 0.5))
    monkeypatch.setattr("thcli.evaluation.suite.run.choose_methods", lambda options: rows)
    return drawn


def lines(out: Path):
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def files(out: Path) -> set[str]:
    return {str(path.relative_to(out)) for path in out.rglob("*") if path.is_file()}


def test_run_suite_writes_every_row_of_every_clip(store, tmp_path, drawn):
    done = run_suite(store, tmp_path / "new" / "out", OPTIONS, command="thgen evaluate --suite x")
    out = done.table.parent
    assert {name for name in files(out) if "/" not in name} == {"table.md", "results.json", "results.jsonl"}
    made = {(one["clip"], one["method"], one["references"]) for one in lines(out)}
    once, counted = {("real", None), ("first frame", None)}, {("half", 1), ("half", 2)}
    assert made == {(clip, *row) for clip in ("still", "nodding") for row in once | counted}
    assert all(one["frames"] == 25 for one in lines(out))
    table, whole = done.table.read_text(), json.loads((out / "results.json").read_text())
    means = table.split("## Mean over 2 clips")[1].split("## ")[0]
    assert [line.split("|")[1].strip() for line in means.splitlines() if line.startswith("|")][2:] == ROWS
    for said in (
        "`thgen evaluate --suite x`", "split val", "2 clips of 2 people", "50 frames (2.0 s)", "K = 2, 1", "seed 0",
        "at most 1 s after frame 64", "face_model.safetensors", "tracker builtin", "diff. ↓",
    ):  # fmt: skip
        assert said in table
    assert "on other data (LRS3-TED, VoxCeleb2): not comparable row by row" in table
    assert {row["method"] for row in whole["means"]} == set(ROWS) and len(whole["clips"]) == 8
    assert not {"weights", "metric_models", "ablation_weights"} & set(whole["options"])
    assert whole["options"]["drive"] == "landmarks" and len(whole["weights"]["expression.safetensors"]) == 64
    assert whole["metrics"]["difference"]["definition"] == "mean absolute difference"


def test_run_suite_averages_figures_and_pools_features_over_all_clips(store, tmp_path, drawn):
    run_suite(store, tmp_path, OPTIONS)
    by_row = {}
    for one in lines(tmp_path):
        by_row.setdefault((one["method"], one["references"]), []).append(one["figures"])
    assert all(figures["difference"]["value"] == 0 for figures in by_row["real", None])
    means = {row["method"]: row["figures"] for row in json.loads((tmp_path / "results.json").read_text())["means"]}
    half = [figures["difference"]["value"] for figures in by_row["half", 1]]
    assert means["half (K=1)"]["difference"]["value"] == pytest.approx(np.mean(half))
    assert means["half (K=1)"]["difference"]["spread"] == pytest.approx(np.std(half, ddof=1))
    # A pooled metric has no mean but one figure over the frames of both clips.
    assert means["half (K=1)"]["colour"]["count"] == 50
    assert means["real"]["colour"]["value"] == 0 < means["half (K=1)"]["colour"]["value"]
    assert means["half (K=1)"]["colour"]["value"] < means["first frame"]["colour"]["value"]


def test_run_suite_draws_nothing_twice(store, tmp_path, drawn):
    assert run_suite(store, tmp_path, OPTIONS).resumed == 0
    assert len(drawn.made) == 2 * 3
    before = lines(tmp_path), files(tmp_path)
    assert run_suite(store, tmp_path, OPTIONS).resumed == 8
    assert len(drawn.made) == 6 and (lines(tmp_path), files(tmp_path)) == before
    # With one more clip and one more K, only what they add is drawn.
    more = replace(OPTIONS, references=(1, 2, 5), clips=())
    assert run_suite(store, tmp_path, more).resumed == 8
    assert sorted(drawn.made[6:]) == [
        ("nodding", "half", 5), ("still", "half", 5), ("unknown", "first frame", 1), ("unknown", "half", 1),
        ("unknown", "half", 2), ("unknown", "half", 5),
    ]  # fmt: skip


@pytest.mark.parametrize("change", [{"seconds": 1.08}, {"seed": 1}, {"drive": "audio"}])
def test_run_suite_draws_everything_anew_for_other_options(store, tmp_path, drawn, change):
    run_suite(store, tmp_path, OPTIONS)
    assert run_suite(store, tmp_path, replace(OPTIONS, **change)).resumed == 0
    assert len(drawn.made) == 12
    assert run_suite(store, tmp_path, OPTIONS).resumed == 8, "the first results are kept"


@pytest.mark.parametrize(("name", "other"), [("hash_of_code", lambda: "1"), ("__version__", "9.9")])
def test_run_suite_draws_everything_anew_for_other_code_and_versions(store, tmp_path, drawn, monkeypatch, name, other):
    run_suite(store, tmp_path, OPTIONS)
    monkeypatch.setattr(f"thcli.evaluation.suite.results.{name}", other)
    assert run_suite(store, tmp_path, OPTIONS).resumed == 0


@pytest.mark.parametrize("kind", ["weights", "metric_models"])
def test_run_suite_draws_everything_anew_for_other_weights_and_metric_networks(store, tmp_path, drawn, kind):
    file = tmp_path / "given" / "head_motion.safetensors"
    file.parent.mkdir()
    options = replace(OPTIONS, **{kind: file.parent if kind == "weights" else MetricModels(identity=file)})
    file.write_bytes(b"one network")
    assert run_suite(store, tmp_path, OPTIONS).resumed == 0
    assert run_suite(store, tmp_path, options).resumed == 0
    assert run_suite(store, tmp_path, options).resumed == 8
    file.write_bytes(b"another network")
    assert run_suite(store, tmp_path, options).resumed == 0


def test_run_suite_draws_a_row_anew_for_other_weights_of_that_row(store, tmp_path, drawn, monkeypatch):
    run_suite(store, tmp_path, OPTIONS)
    rows = (REAL, drawn.method("first frame", False, 0.25), drawn.method("half", True, 0.5))
    rows = (*rows[:2], replace(rows[2], weights={"generator.safetensors": "abc"}))
    monkeypatch.setattr("thcli.evaluation.suite.run.choose_methods", lambda options: rows)
    done = run_suite(store, tmp_path, OPTIONS)
    assert done.resumed == 4 and [row for _, row, _ in drawn.made[6:]] == ["half"] * 4
    assert json.loads((tmp_path / "results.json").read_text())["weights"]["generator.safetensors"] == "abc"


def test_run_suite_names_the_network_of_a_metric_below_the_means(store, tmp_path, drawn, metrics, monkeypatch):
    def named(pair, models):
        return Figure(1.0, len(pair), "SomeNet (sha256 123)")

    seen = (*metrics, replace(metrics[0], name="csim", title="CSIM", measure=named))
    monkeypatch.setattr("thcli.evaluation.suite.run.choose_metrics", lambda names: seen)
    table = run_suite(store, tmp_path, OPTIONS).table.read_text()
    assert "- CSIM: by SomeNet (sha256 123)\n" in table.split("## Mean")[1].split("## ")[0]


@pytest.mark.parametrize("count", [0, 1, 4])
def test_run_suite_goes_on_where_it_was_interrupted(store, tmp_path, drawn, count):
    drawn.stop_at = count
    with pytest.raises(KeyboardInterrupt):
        run_suite(store, tmp_path, OPTIONS)
    assert not any("partial" in name for name in files(tmp_path))
    results = list((tmp_path / "clips").glob("*/*.json"))
    assert results and all(path.with_suffix(".npz").is_file() for path in results)
    assert all(json.loads(path.read_text())["figures"]["difference"] for path in results)
    drawn.stop_at = None
    assert run_suite(store, tmp_path, OPTIONS).resumed == len(results)
    assert len(drawn.made) == len(set(drawn.made)) == 6


def test_run_suite_draws_damaged_results_anew(store, tmp_path, drawn):
    run_suite(store, tmp_path, OPTIONS)
    before = lines(tmp_path)
    first, second, third = sorted((tmp_path / "clips").glob("*/half*.json"))[:3]
    first.write_text("{")
    second.write_text('{"figures": []}')
    third.with_suffix(".npz").unlink()
    assert run_suite(store, tmp_path, OPTIONS).resumed == 5
    assert lines(tmp_path) == before


def test_run_suite_reports_progress_of_every_video(store, tmp_path, drawn):
    class Watched:
        stages, done = [], 0

        def stage(self, name, total):
            self.stages.append((name, total))

        def advance(self, frames=1):
            self.done += frames

    watched = Watched()
    run_suite(store, tmp_path, OPTIONS, watched)
    assert (watched.stages, watched.done) == ([("suite", 8)], 8)


def test_run_suite_draws_all_rows_that_are_shipped(store, tmp_path, metrics):
    options = SuiteOptions("audio", references=(1,), seconds=1.0, device="cpu", ablate=("baseline",))
    done = run_suite(store, tmp_path, options)
    names = {one["method"] for one in lines(tmp_path)}
    methods = choose_methods(options)
    assert names == {method.name for method in methods} and "Baseline" in names
    table = done.table.read_text()
    assert "(LRW, VoxCeleb2)" in table and "Table 3, ablation" in table
    assert "Left out: unknown" in table and "Left out: short: 80 frames" in table
    for method in methods:
        assert f"**{method.name}**: {method.meaning}" in table


def test_hash_of_code_follows_the_text_of_the_code(monkeypatch, tmp_path):
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "one.py").write_text("a = 1\n")
    monkeypatch.setattr("thcli.evaluation.suite.results.resources.files", lambda package: tmp_path)
    before = hash_of_code()
    assert before == hash_of_code()
    (tmp_path / "part" / "one.py").write_text("a = 2\n")
    assert before != hash_of_code()
