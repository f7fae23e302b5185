"""A few of the mutated media files that benchmarks/fuzz.py makes by the thousand."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


@pytest.fixture(scope="module")
def fuzz() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("fuzz", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["fuzz"] = module
    spec.loader.exec_module(module)
    return module


def test_mutated_media_never_break_anything(fuzz, tmp_path):
    done = list(fuzz.attempts(tmp_path, 40, seed=7))
    assert [attempt for attempt in done if attempt.fault] == []
    assert len(done) == 80
    # not all of them are refused, nor all let through
    assert {0, 3} <= {attempt.code for attempt in done}


def test_mutations_change_and_repeat(fuzz):
    data, other = bytes(range(256)) * 8, b"other" * 100
    for name, mutate in fuzz.MUTATIONS.items():
        made = []
        for _ in range(2):
            content = bytearray(data)
            mutate(content, other, random.Random(name))
            made.append(bytes(content))
        assert made[0] == made[1] != data


@pytest.mark.parametrize(
    ("code", "said", "seconds", "left", "fault"),
    [
        (0, "", 1.0, set(), ""),
        (3, "thgen: error: a: b\n", 1.0, set(), ""),
        (1, "thgen: error: a bug\n", 1.0, set(), "exit code 1"),
        (3, "warning\nthgen: error: a\n", 1.0, set(), "not one line"),
        (3, "thgen: error: a\n", 99.0, set(), "99 s of processor time"),
        (3, "thgen: error: a\n", 1.0, {"x"}, "left x"),
    ],
)
def test_faults_are_seen(fuzz, code, said, seconds, left, fault):
    assert fuzz._fault(code, said, seconds, left) == fault
