"""What a run leaves to be looked at: ``log.jsonl``, and with the extra ``train`` the same and pictures in TensorBoard.

``tensorboard --logdir RUN`` shows both while the run goes on.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thcli.records import Image


class Journal:
    """The journal of the run in the folder ``out``, of which ``done`` steps are kept; other lines are removed."""

    def __init__(self, out: Path, done: int) -> None:
        self.path = out / "log.jsonl"
        lines = self.path.read_text().splitlines() if done and self.path.is_file() else []
        self.path.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= done))
        self.board = _board(out, done)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """A line of figures."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in figures.items()}}) + "\n")
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)

    def show(self, step: int, pictures: Mapping[str, Image]) -> None:
        """Pictures [H, W, 3] uint8 by name, for TensorBoard."""
        for name, picture in pictures.items():
            self.board.add_image(name, picture, step, dataformats="HWC")
        self.board.flush()

    def close(self) -> None:
        """Write out what is buffered."""
        if self.board is not None:
            self.board.close()


def _board(out: Path, done: int) -> Any:
    """A TensorBoard writer that hides what an interrupted run wrote beyond ``done``; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out), purge_step=done + 1 if done else None)
