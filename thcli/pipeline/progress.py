"""What is told of a job while it runs."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Receiver of progress: of each stage as it begins, and of the frames that are done.

    A stage comes with its number of frames where that is known. The stage ``adapt`` counts training steps.
    """

    def stage(self, name: str, total: int | None) -> None: ...

    def advance(self, frames: int = 1) -> None: ...


class Quiet:
    """A ``Progress`` that shows nothing."""

    def stage(self, name: str, total: int | None) -> None:
        """Show nothing."""

    def advance(self, frames: int = 1) -> None:
        """Show nothing."""
