"""Outcomes of jobs in ``outcomes.jsonl``: one line per job, written as it ends; see ``docs/files.md``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from thcli.batch.folder import lock
from thcli.batch.jobs import Job, Shard
from thcli.errors import UsageError


@dataclass(frozen=True)
class Outcome:
    """The outcome of a job.

    status: ``done``, ``failed``, or ``skipped`` where ``--resume`` found the job done
    seconds: time from its beginning, with all its tries
    frames: number of frames of the video, None without a video
    output: file of the video
    error: message of the error that prevented the video
    exit_code: exit code that ``generate`` would have had
    notes: lines on options and inputs that may make the video worse than expected, and warnings of its report
    """

    id: str
    status: Literal["done", "skipped", "failed"]
    seconds: float
    frames: int | None
    output: str
    error: str | None = None
    exit_code: int = 0
    notes: tuple[str, ...] = ()


def failed(job: Job, seconds: float, error: str, exit_code: int) -> Outcome:
    """Return the outcome of a job that failed."""
    return Outcome(job.id, "failed", round(seconds, 3), None, str(job.output), error, exit_code)


def log_path(folder: Path, shard: Shard | None) -> Path:
    """Return the path of the log; each shard has its own, so that several can run at once on any machines."""
    return folder / ("outcomes.jsonl" if shard is None else f"outcomes.{shard.index}-of-{shard.count}.jsonl")


class OutcomeLog:
    """A context manager that appends outcomes to a file; of a job that ran several times, the last line counts.

    Opening it raises UsageError while another run has the same file open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> OutcomeLog:
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        if lock(self._file, alone=True) is False:
            os.close(self._file)
            raise UsageError(
                f"{self.path}: another batch is writing to it; wait for its end, or give this one another --out-dir or "
                "--shard"
            )
        self._drop_half_a_line()
        return self

    def write(self, outcome: Outcome) -> None:
        """Append a line, unbuffered: it is in the file when this returns."""
        os.lseek(self._file, 0, os.SEEK_END)
        line = (json.dumps(asdict(outcome), ensure_ascii=False) + "\n").encode()
        while line:
            line = line[os.write(self._file, line) :]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._file)

    def _drop_half_a_line(self) -> None:
        """Remove an incomplete last line, left by a full disk or a lost machine, which would spoil the next line."""
        written = self.path.read_bytes()
        os.ftruncate(self._file, written.rfind(b"\n") + 1)
