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
    from thcli.pipeline.progress import Progress

INTERVAL = 0.5
"""Fewest seconds between two JSON lines of one stage."""
UNITS = {"adapt": "steps"}
"""Unit that ``advance`` counts, for stages whose unit differs from their command's."""


class JsonLines:
    """A display that prints one JSON object per line; ``docs/progress.schema.json`` is its schema.

    An object has ``stage``, ``done``, ``total`` (null where unknown), ``seconds`` and ``rate`` (per second).
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
        """End the stage with a line that holds its last count."""
        if self.name:
            self._write()

    def _write(self) -> None:
        self.written = time.monotonic()
        seconds = self.written - self.began
        rate = round(self.done / seconds, 1) if self.done and seconds > 0 else None
        line = {"stage": self.name, "done": self.done, "total": self.total, "seconds": round(seconds, 2), "rate": rate}
        print(json.dumps(line), file=sys.stderr, flush=True)  # noqa: T201 - a stream for programs


class Lines:
    """A display that prints one plain line per finished stage, for terminals without escape codes."""

    def __init__(self, unit: str) -> None:
        self.unit, self.name, self.done, self.began = unit, "", 0, 0.0

    def stage(self, name: str, total: int | None) -> None:
        self.finish()
        self.name, self.done, self.began = name, 0, time.monotonic()

    def advance(self, frames: int = 1) -> None:
        self.done += frames

    def finish(self) -> None:
        """Print the count and the seconds of the finished stage."""
        if self.name:
            count = f"{self.done} {UNITS.get(self.name, self.unit)}, " if self.done else ""
            print(f"{self.name}: {count}{time.monotonic() - self.began:.1f} s", file=sys.stderr, flush=True)  # noqa: T201


@contextmanager
def show_progress(kind: str, unit: str = "frames") -> Iterator[Progress]:
    """Yield the display for ``--progress KIND``; ``unit`` names what ``advance`` counts."""
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
        from thcli.pipeline.progress import Quiet

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
    # Where NO_COLOR is set, rich leaves out colours but no other escape codes.
    console = Console(stderr=True, color_system=None if without_codes() else "auto")
    with rich.Progress(*columns, console=console) as display:
        bar = _Bar(display, unit)
        yield bar
        bar.finish()


class _Bar:
    """A display with one bar per stage; the bars of finished stages stay visible, with their rate per second."""

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
        """End the stage; where its total was unknown, set it to the count reached."""
        if self.task >= 0 and self.display.tasks[self.task].total is None:
            self.display.update(self.task, total=self.done)
