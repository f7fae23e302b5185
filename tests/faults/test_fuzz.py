"""benchmarks/fuzz.py finds faults of commands, and finds none on a few of its mutated media files."""

from __future__ import annotations

import importlib.util
import random
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """Import the script as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def test_attempts_find_no_fault_on_mutated_media(fuzz, tmp_path):
    done = list(fuzz.attempts(tmp_path, 40, seed=7))
    assert [attempt for attempt in done if attempt.fault] == []
    assert len(done) == 80
    # Some are refused, and some are accepted.
    assert {0, 3} <= {attempt.code for attempt in done}


def test_mutations_change_data_and_follow_the_seed(fuzz):
    data, other = bytes(range(256)) * 8, b"other" * 100
    for name, mutate in fuzz.MUTATIONS.items():
        made = []
        for _ in range(2):
            content = bytearray(data)
            mutate(content, other, random.Random(name))
            made.append(bytes(content))
        assert made[0] == made[1] != data


@pytest.fixture
def stand_in(fuzz, tmp_path, monkeypatch):
    """stand_in(code, said, left) puts a command in place of thgen, which says a line, leaves a file, and ends."""

    def put(code: int, said: str, left: str) -> None:
        @click.command(context_settings={"ignore_unknown_options": True})
        @click.argument("given", nargs=-1)
        def thgen(given: tuple[str, ...]) -> None:
            click.echo(said, err=True, nl=False)
            written = "sheet.png" if given[0] == "inspect" and code == 0 else left
            if written:
                Path(written).touch()
            sys.exit(code)

        monkeypatch.setattr("thcli.commands.main.main", thgen)

    seeds = [tmp_path / name for name in ("photo.png", "speech.wav")]
    for path in seeds:
        path.write_bytes(bytes(100))
    monkeypatch.setattr(fuzz, "make_seeds", lambda folder: seeds)
    return put


@pytest.mark.parametrize(
    ("code", "said", "most_seconds", "left", "fault"),
    [
        (0, "", 30, "", ""),
        (3, "thgen: error: a: b\n", 30, "", ""),
        (1, "thgen: error: a bug\n", 30, "", "exit code 1"),
        (3, "warning\nthgen: error: a\n", 30, "", "not one line"),
        (3, "thgen: error: a\n", -1, "", "0 s of processor time"),
        (3, "thgen: error: a\n", 30, "x", "left x"),
    ],
)
def test_attempts_find_the_fault_of_a_command(
    fuzz, stand_in, tmp_path, monkeypatch, code, said, most_seconds, left, fault
):
    stand_in(code, said, left)
    monkeypatch.setattr(fuzz, "MOST_SECONDS", most_seconds)
    assert [attempt.fault for attempt in fuzz.attempts(tmp_path, 1, seed=0)] == [fault, fault]
