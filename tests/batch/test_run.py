"""``Runner`` prepares the next job while one is finished, and what goes wrong with a job stays with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from thcli.batch import run
from thcli.batch.jobs import Job
from thcli.batch.run import Runner, RunPolicy
from thcli.errors import DeviceError, MediaError, NoFaceError, UsageError
from thcli.generation.result import Result
from thcli.generation.session import job_hashes
from thcli.generation.sidecar import sources_of, write_sidecar
from thcli.pipeline.models import load_models
from thcli.pipeline.options import GenerateOptions

WARP = GenerateOptions(renderer="warp", device="cpu", overwrite=True)


@dataclass
class FakeSession:
    """Makes no videos: it notes the calls that it gets, and fails as told, the first so many times."""

    failing: dict[str, tuple[str, int, Exception]] = field(default_factory=dict)
    did: list[str] = field(default_factory=list)
    meanwhile: Callable[[str], None] = lambda _: None

    def prepare(self, reference: Path, audio: Path, options: GenerateOptions, progress: object) -> str:
        self._do("prepare", audio.stem)
        return audio.stem

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
def session(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeSession:
    """What the runner makes videos with; the current folder is empty, and no runner waits before another try."""
    session = FakeSession()
    monkeypatch.setattr(run, "Session", lambda tracks, batch: session)
    monkeypatch.setattr(run, "PAUSE", 0.0)
    monkeypatch.chdir(tmp_path)
    return session


def jobs(*names: str) -> list[Job]:
    return [Job(name, Path("clip"), Path(f"{name}.wav"), Path(f"{name}.mp4"), WARP) for name in names]


def describe(error: Exception) -> tuple[str, int]:
    return str(error), getattr(error, "exit_code", 1)


def outcomes(names: str, **policy: object) -> list[tuple[str, str, int]]:
    ended = Runner(RunPolicy(describe, **policy)).run(jobs(*names))
    return [(outcome.id, outcome.status, outcome.exit_code) for outcome in ended]


def finish_before(*names: str) -> None:
    """Leave in the current folder what an earlier run leaves of these jobs."""
    models = load_models(device="cpu")
    for job in jobs(*names):
        for path in (job.reference, job.audio, job.output):
            path.write_bytes(path.name.encode())
        sources = sources_of(job.reference, job.audio, WARP.motion_options, job_hashes(models, WARP))
        write_sidecar(sources, job.output, WARP, Result(job.output, 50, (256, 256), {}, "cpu"), None)


def test_runner_prepares_one_job_while_another_is_finished(session: FakeSession) -> None:
    reached, seen = threading.Event(), []

    def wait(name: str) -> None:
        if name == "a":
            while "prepare b" not in session.did:
                time.sleep(0.01)
            time.sleep(0.2)
            seen.extend(session.did)
            reached.set()

    session.meanwhile = wait
    assert [status for _, status, _ in outcomes("abcd")] == ["done"] * 4
    assert reached.is_set() and seen == ["prepare a", "prepare b"]


def test_runner_goes_on_after_jobs_that_fail(session: FakeSession) -> None:
    session.failing = {
        "a": ("prepare", 9, NoFaceError("no face")),
        "c": ("finish", 9, MediaError("no space")),
        "e": ("prepare", 9, ZeroDivisionError("a bug")),
    }
    ended = list(Runner(RunPolicy(describe)).run(jobs(*"abcde")))
    assert [(o.id, o.status, o.frames, o.error, o.exit_code, o.output) for o in ended] == [
        ("a", "failed", None, "no face", 4, "a.mp4"),
        ("b", "done", 50, None, 0, "b.mp4"),
        ("c", "failed", None, "no space", 3, "c.mp4"),
        ("d", "done", 50, None, 0, "d.mp4"),
        ("e", "failed", None, "a bug", 1, "e.mp4"),
    ]


def test_runner_begins_no_job_after_a_failure_unless_keep_going(session: FakeSession) -> None:
    session.failing = {"b": ("finish", 1, MediaError("no"))}
    assert outcomes("abcd", keep_going=False) == [("a", "done", 0), ("b", "failed", 3)]
    assert "finish c" not in session.did and "prepare d" not in session.did


@pytest.mark.parametrize("where", ["prepare", "finish"])
def test_runner_tries_again_as_often_as_retries_allow(session: FakeSession, where: str) -> None:
    session.failing = {"a": (where, 2, DeviceError("memory")), "b": (where, 3, DeviceError("memory"))}
    assert outcomes("abc", retries=2) == [("a", "done", 0), ("b", "failed", 6), ("c", "done", 0)]
    assert session.did.count(f"{where} a") == session.did.count(f"{where} b") == 3


def test_runner_tries_once_where_another_try_cannot_help(session: FakeSession) -> None:
    session.failing = {"a": ("prepare", 1, NoFaceError("")), "b": ("prepare", 1, UsageError(""))}
    assert outcomes("ab", retries=5) == [("a", "failed", 4), ("b", "failed", 2)]
    assert session.did == ["prepare a", "prepare b"]


def test_resumed_runner_skips_jobs_that_are_done_without_preparing_them(session: FakeSession) -> None:
    finish_before("b", "c")
    expected = [("a", "done", 0), ("b", "skipped", 0), ("c", "skipped", 0), ("d", "done", 0)]
    assert outcomes("abcd", resume=True) == expected
    assert not {"prepare b", "prepare c"} & set(session.did)


def test_runner_makes_jobs_that_are_done_again_unless_it_resumes(session: FakeSession) -> None:
    finish_before("b")
    assert outcomes("b", resume=True) == [("b", "skipped", 0)]
    assert outcomes("b") == [("b", "done", 0)]


def test_runner_raises_an_interruption_and_leaves_no_thread(session: FakeSession) -> None:
    def interrupt(name: str) -> None:
        if name == "b":
            raise KeyboardInterrupt

    session.meanwhile = interrupt
    before = set(threading.enumerate())
    ended = Runner(RunPolicy(describe)).run(jobs(*"abcd"))
    assert next(ended).id == "a"
    with pytest.raises(KeyboardInterrupt):
        next(ended)
    assert set(threading.enumerate()) == before
    assert "prepare d" not in session.did
