"""Jobs one after the other: the next is prepared while one is drawn, and what goes wrong stays with its job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from thcli.batch import run
from thcli.batch.jobs import Job
from thcli.batch.run import Manner, Runner
from thcli.errors import DeviceError, MediaError, NoFaceError, UsageError
from thcli.pipeline.options import GenerateOptions, Result


@dataclass
class Stage:
    """A studio that writes nothing: fails as told, the first so many times, and remembers what it did."""

    failing: dict[str, tuple[str, int, Exception]] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    meanwhile: Callable[[str], None] = lambda _: None

    def prepare(self, reference: Path, sound: Path, options: GenerateOptions, progress: object) -> str:
        self._do("prepare", sound.stem)
        return sound.stem

    def finish(self, prepared: str, output: Path, progress: object) -> Result:
        self.meanwhile(prepared)
        self._do("finish", prepared)
        return Result(output, 50, (256, 256), {}, "cpu")

    def _do(self, what: str, name: str) -> None:
        self.did.append(f"{what} {name}")
        where, times, error = self.failing.get(name, ("", 0, ValueError()))
        if where == what and times:
            self.failing[name] = (where, times - 1, error)
            raise error


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    stage = Stage()
    monkeypatch.setattr(run, "Studio", lambda tracks, batch: stage)
    monkeypatch.setattr(run, "check_all", lambda *_: None)
    monkeypatch.setattr(run, "PAUSE", 0.0)
    return stage


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path("clip"), Path(f"{name}.wav"), Path(f"{name}.mp4"), GenerateOptions()) for name in names]


def describe(error: Exception) -> tuple[str, int]:
    return str(error), getattr(error, "exit_code", 1)


def outcomes(names: str, **manner: object) -> list[tuple[str, str, int]]:
    ended = Runner(Manner(describe, **manner)).run(jobs(*names))
    return [(outcome.id, outcome.status, outcome.exit_code) for outcome in ended]


def test_the_next_job_is_prepared_while_one_is_drawn_and_no_more(stage: Stage) -> None:
    reached, seen = threading.Event(), []

    def wait(name: str) -> None:
        if name == "a":
            while "prepare b" not in stage.did:
                time.sleep(0.01)
            time.sleep(0.2)
            seen.extend(stage.did)
            reached.set()

    stage.meanwhile = wait
    assert [status for _, status, _ in outcomes("abcd")] == ["done"] * 4
    assert reached.is_set() and seen == ["prepare a", "prepare b"]


def test_bad_jobs_stop_nothing(stage: Stage) -> None:
    stage.failing = {
        "a": ("prepare", 9, NoFaceError("no face")),
        "c": ("finish", 9, MediaError("no space")),
        "e": ("prepare", 9, ZeroDivisionError("a bug")),
    }
    ended = list(Runner(Manner(describe)).run(jobs(*"abcde")))
    assert [(o.id, o.status, o.frames, o.error, o.exit_code, o.output) for o in ended] == [
        ("a", "failed", None, "no face", 4, "a.mp4"),
        ("b", "done", 50, None, 0, "b.mp4"),
        ("c", "failed", None, "no space", 3, "c.mp4"),
        ("d", "done", 50, None, 0, "d.mp4"),
        ("e", "failed", None, "a bug", 1, "e.mp4"),
    ]


def test_fail_fast_begins_nothing_more(stage: Stage) -> None:
    stage.failing = {"b": ("finish", 1, MediaError("no"))}
    assert outcomes("abcd", keep_going=False) == [("a", "done", 0), ("b", "failed", 3)]
    assert "finish c" not in stage.did and "prepare d" not in stage.did


@pytest.mark.parametrize("where", ["prepare", "finish"])
def test_another_try_may_do(stage: Stage, where: str) -> None:
    stage.failing = {"a": (where, 2, DeviceError("memory")), "b": (where, 3, DeviceError("memory"))}
    assert outcomes("abc", retries=2) == [("a", "done", 0), ("b", "failed", 6), ("c", "done", 0)]
    assert stage.did.count(f"{where} a") == stage.did.count(f"{where} b") == 3


def test_no_other_try_where_it_cannot_help(stage: Stage) -> None:
    stage.failing = {"a": ("prepare", 1, NoFaceError("")), "b": ("prepare", 1, UsageError(""))}
    assert outcomes("ab", retries=5) == [("a", "failed", 4), ("b", "failed", 2)]
    assert stage.did == ["prepare a", "prepare b"]


def test_what_is_done_is_skipped_and_no_more_than_looked_at(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "is_done", lambda job: job.id in "bc")
    assert outcomes("abcd", resume=True) == [
        ("a", "done", 0),
        ("b", "skipped", 0),
        ("c", "skipped", 0),
        ("d", "done", 0),
    ]
    assert not {"prepare b", "prepare c"} & set(stage.did)
    assert [status for _, status, _ in outcomes("b")] == ["done"]


def test_an_interruption_is_no_outcome_and_no_thread_stays(stage: Stage) -> None:
    def interrupt(name: str) -> None:
        if name == "b":
            raise KeyboardInterrupt

    stage.meanwhile = interrupt
    ended = Runner(Manner(describe)).run(jobs(*"abcd"))
    assert next(ended).id == "a"
    with pytest.raises(KeyboardInterrupt):
        next(ended)
    assert not [thread for thread in threading.enumerate() if thread.name == "ahead"]
    assert "prepare d" not in stage.did
