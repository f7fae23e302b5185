"""What has become of the jobs: ``outcomes.jsonl``, one line a job, written as each ends (DESIGN.md §7)."""

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
    """The end of a job.

    status: ``skipped`` is what ``--resume`` found done; seconds: from its beginning, with all its tries
    frames: of the video; output: its file; error: why there is none; exit_code: what ``generate`` would have left with
    """

    id: str
    status: Literal["done", "skipped", "failed"]
    seconds: float
    frames: int | None
    output: str
    error: str | None = None
    exit_code: int = 0


def failed(job: Job, seconds: float, error: str, exit_code: int) -> Outcome:
    """The outcome of a job that came to nothing."""
    return Outcome(job.id, "failed", round(seconds, 3), None, str(job.output), error, exit_code)


def log_path(folder: Path, shard: Shard | None) -> Path:
    """Every shard has its own, so that several can write at once, wherever they run."""
    return folder / ("outcomes.jsonl" if shard is None else f"outcomes.{shard.index}-of-{shard.count}.jsonl")


class OutcomeLog:
    """Appends outcomes to a file: of a job that ran several times the last line counts. A context manager.

    While it is open no other run can open the same one: UsageError.
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
        """Add a line; it is in the file when this returns."""
        os.lseek(self._file, 0, os.SEEK_END)
        line = (json.dumps(asdict(outcome), ensure_ascii=False) + "\n").encode()
        while line:
            line = line[os.write(self._file, line) :]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        os.close(self._file)

    def _drop_half_a_line(self) -> None:
        """What a full disk or a lost machine left of the last line would spoil the next one."""
        written = self.path.read_bytes()
        os.ftruncate(self._file, written.rfind(b"\n") + 1)
