"""Each kind of ``--progress`` writes what it should to standard error."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from thcli.commands import progress
from thcli.commands.progress import show_progress

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "progress.schema.json").read_text())
TYPES = {"string": str, "integer": int, "number": (int, float), "null": type(None)}


def work(kind):
    """Pass two stages to a progress display of some kind."""
    with show_progress(kind) as display:
        display.stage("track", 3)
        display.advance()
        display.advance(2)
        display.stage("render", None)
        display.advance(5)


def test_json_progress_writes_each_stage_from_start_to_end(capsys):
    work("json")
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.err.splitlines()]
    assert captured.out == ""
    assert [(line["stage"], line["done"], line["total"]) for line in lines] == [
        ("track", 0, 3), ("track", 3, 3), ("render", 0, None), ("render", 5, None),
    ]  # fmt: skip
    assert all(set(line) == {"stage", "done", "total", "seconds", "rate"} for line in lines)


@pytest.mark.parametrize("kind", ["none", "auto"])
def test_progress_shows_nothing_without_a_terminal(capsys, kind):
    work(kind)
    assert capsys.readouterr() == ("", "")


def test_progress_bar_shows_stages_and_speed(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    work("bar")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert all(word in captured.err for word in ("track", "3/3", "render", "5/5", "frames/s"))
    assert "\x1b[3" not in captured.err


def test_progress_bar_counts_fine_tuning_in_steps(capsys, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    with show_progress("bar") as display:
        display.stage("adapt", 2)
        display.advance(2)
    shown = capsys.readouterr().err
    assert "steps/s" in shown and "frames/s" not in shown


def fits(line):
    """Return whether a line fits the schema, by the part of JSON Schema that it uses."""
    assert set(SCHEMA) == {"$schema", "title", "description", "type", "required", "additionalProperties", "properties"}
    if not set(SCHEMA["required"]) <= set(line) <= set(SCHEMA["properties"]):
        return False
    for name, value in line.items():
        rule = SCHEMA["properties"][name]
        assert set(rule) <= {"type", "minimum", "description"}
        kinds = rule["type"] if isinstance(rule["type"], list) else [rule["type"]]
        if isinstance(value, bool) or not isinstance(value, tuple(TYPES[kind] for kind in kinds)):
            return False
        if value is not None and "minimum" in rule and value < rule["minimum"]:
            return False
    return True


def test_json_progress_fits_the_schema(capsys, monkeypatch):
    monkeypatch.setattr(progress, "INTERVAL", 0)
    work("json")
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert len(lines) > 4 and all(fits(line) for line in lines)
    good = lines[-1]
    for wrong in ({"done": -1}, {"done": 0.5}, {"total": "3"}, {"rate": True}, {"stage": None}, {"more": 1}):
        assert not fits({**good, **wrong})
    assert not fits({name: value for name, value in good.items() if name != "rate"})
