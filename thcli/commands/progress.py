"""Progress on standard error: a bar for people, JSON lines for programs."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from thcli.commands.terminal import without_codes

if TYPE_CHECKING:
    from thcli.pipeline import Progress

INTERVAL = 0.5
"""Seconds between two JSON lines of one stage, and the least."""

UNITS = {"adapt": "steps"}
"""What ``advance`` counts in stages that count other things than their command does."""


class JsonLines:
    """One JSON object a line: ``stage``, ``done``, ``total`` (null where unknown), ``seconds``, ``rate`` (a second).

    The schema is docs/progress.schema.json.
    """

    def __init__(self) -> None:
        self.name, self.done = "", 0
        self.total: int | None = None
        self.began = self.written = time.monotonic()

    def stage(self, name: str, total: int | None) -> None:
        self.finish()
        self.name, self.total, self.done = name, total, 0
        self.began = time.monotonic()
        self._write()

    def advance(self, frames: int = 1) -> None:
        self.done += frames
        if time.monotonic() - self.written >= INTERVAL:
            self._write()

    def finish(self) -> None:
        """Close the stage with its last count."""
        if self.name:
            self._write()

    def _write(self) -> None:
        self.written = time.monotonic()
        seconds = self.written - self.began
        rate = round(self.done / seconds, 1) if self.done and seconds > 0 else None
        line = {"stage": self.name, "done": self.done, "total": self.total, "seconds": round(seconds, 2), "rate": rate}
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201 - a stream for programs


class Lines:
    """One plain line a finished stage, for terminals without escape codes."""

    def __init__(self, unit: str) -> None:
        self.unit, self.name, self.done, self.began = unit, "", 0, 0.0

    def stage(self, name: str, total: int | None) -> None:
        self.finish()
        self.name, self.done, self.began = name, 0, time.monotonic()

    def advance(self, frames: int = 1) -> None:
        self.done += frames

    def finish(self) -> None:
        """Say what the stage came to."""
        if self.name:
            count = f"{self.done} {UNITS.get(self.name, self.unit)}, " if self.done else ""
            print(f"{self.name}: {count}{time.monotonic() - self.began:.1f} s", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def show_progress(kind: str, unit: str = "frames") -> Iterator[Progress]:
    """The display for ``--progress KIND``; ``unit`` is what ``advance`` counts."""
    if kind == "auto":
        kind = "none" if not sys.stderr.isatty() else "lines" if without_codes() else "bar"
    if kind == "lines":
        plain = Lines(unit)
        yield plain
        plain.finish()
    elif kind == "bar":
        with _bar(unit) as display:
            yield display
    elif kind == "json":
        lines = JsonLines()
        yield lines
        lines.finish()
    else:
        from thcli.pipeline.options import Quiet

        yield Quiet()


@contextmanager
def _bar(unit: str) -> Iterator[Progress]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description:<12}"),
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeElapsedColumn(),
    )
    # rich leaves out colours by itself where NO_COLOR is set, and nothing else.
    console = Console(stderr=True, color_system=None if without_codes() else "auto")
    with rich.Progress(*columns, console=console) as display:
        bar = _Bar(display, unit)
        yield bar
        bar.finish()


class _Bar:
    """One line a stage; finished stages stay on show with their frames a second."""

    def __init__(self, display: object, unit: str) -> None:
        from rich.progress import Progress as Display
        from rich.progress import TaskID

        assert isinstance(display, Display)
        self.display, self.unit, self.name = display, unit, ""
        self.task, self.done, self.began = TaskID(-1), 0, 0.0

    def stage(self, name: str, total: int | None) -> None:
        self.finish()
        self.name = name
        self.task, self.done, self.began = self.display.add_task(name, total=total, rate=""), 0, time.monotonic()

    def advance(self, frames: int = 1) -> None:
        self.done += frames
        rate = self.done / max(time.monotonic() - self.began, 1e-3)
        self.display.update(self.task, advance=frames, rate=f"{rate:.1f} {UNITS.get(self.name, self.unit)}/s")

    def finish(self) -> None:
        """A stage whose length nobody knew is as long as it was."""
        if self.task >= 0 and self.display.tasks[self.task].total is None:
            self.display.update(self.task, total=self.done)
