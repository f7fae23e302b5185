"""The log of outcomes and its folder, where several runs write at the same time, and some were killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from thcli.batch.folder import lock, writing
from thcli.batch.jobs import Shard
from thcli.batch.outcomes import Outcome, OutcomeLog, log_path
from thcli.errors import UsageError

DONE = Outcome("ä", "done", 1.5, 50, "/out/ä.mp4")


def lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_outcome_log_appends_a_line_as_soon_as_a_job_has_ended(tmp_path: Path) -> None:
    path = log_path(tmp_path, None)
    with OutcomeLog(path) as log:
        log.write(DONE)
        expected = {"id": "ä", "status": "done", "seconds": 1.5, "frames": 50, "output": "/out/ä.mp4"}
        assert lines(path) == [{**expected, "error": None, "exit_code": 0, "notes": []}]
        log.write(Outcome("b", "failed", 0.1, None, "b.mp4", "why", 3))
    with OutcomeLog(path) as log:
        log.write(DONE)
    assert [line["id"] for line in lines(path)] == ["ä", "b", "ä"]


def test_outcome_log_drops_half_a_line_of_a_killed_run(tmp_path: Path) -> None:
    path = tmp_path / "outcomes.jsonl"
    path.write_text('{"id": "whole"}\n{"id": "ha')
    with OutcomeLog(path) as log:
        log.write(DONE)
    assert [line["id"] for line in lines(path)] == ["whole", "ä"]


def test_outcome_log_of_a_shard_is_written_by_one_run_at_a_time(tmp_path: Path) -> None:
    names = [log_path(tmp_path, shard).name for shard in (None, Shard(1, 2), Shard(2, 2), Shard(1, 12))]
    assert names == ["outcomes.jsonl", "outcomes.1-of-2.jsonl", "outcomes.2-of-2.jsonl", "outcomes.1-of-12.jsonl"]
    with OutcomeLog(tmp_path / names[1]), OutcomeLog(tmp_path / names[2]):
        with pytest.raises(UsageError, match=r"outcomes.1-of-2.jsonl: another batch is writing to it"):
            OutcomeLog(tmp_path / names[1]).__enter__()
        assert lock(os.open(tmp_path / names[1], os.O_RDWR), alone=False) is False
    with OutcomeLog(tmp_path / names[1]):
        pass


@pytest.fixture
def left(tmp_path: Path) -> list[Path]:
    """The partial files that a killed run leaves in two folders, among other files."""
    for name in ("out/sub", "elsewhere"):
        (tmp_path / name).mkdir(parents=True)
    parts = ["out/.thgen-0a1b2c.mp4", "out/sub/.thgen-ff.mp4", "out/.a.mp4.json.77.partial"]
    kept = ["out/a.mp4", "out/.hidden", "out/a.partial", "out/mine.thgen-1.mp4", "elsewhere/.thgen-1.mp4"]
    for name in (*parts, *kept):
        (tmp_path / name).write_text("x")
    return [tmp_path / name for name in parts]


def remaining(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_writing_removes_partial_files_of_a_killed_run(tmp_path: Path, left: list[Path]) -> None:
    before = remaining(tmp_path)
    with writing(tmp_path / "out", [tmp_path / "out", tmp_path / "out" / "sub", tmp_path / "out" / "new"]):
        assert before - remaining(tmp_path) == {str(path.relative_to(tmp_path)) for path in left}
        assert (tmp_path / "out" / "new").is_dir()
        (tmp_path / "out" / "sub" / ".thgen-aa.mp4").write_text("broken off")
    assert before - remaining(tmp_path) == {str(path.relative_to(tmp_path)) for path in left}
    assert not (tmp_path / "out" / "sub" / ".thgen-aa.mp4").exists()


def test_writing_leaves_partial_files_of_a_running_run(tmp_path: Path, left: list[Path]) -> None:
    code = (
        "import sys\nfrom pathlib import Path\nfrom thcli.batch.folder import writing\n"
        f"with writing(Path({str(tmp_path / 'out')!r}), []):\n    print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert other.stdout is not None and other.stdout.readline() == b"in\n"
    try:
        with writing(tmp_path / "out", [tmp_path / "out"]):
            assert all(path.exists() for path in left)
    finally:
        other.kill()  # Its lock goes with it, whatever ended it.
        other.communicate()
    with writing(tmp_path / "out", [tmp_path / "out"]):
        assert [path.exists() for path in left] == [False, True, False]
