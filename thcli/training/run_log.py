"""Log of a training run: figures in ``log.jsonl``, and with the extra ``train`` figures and images in TensorBoard.

``tensorboard --logdir RUN`` shows both during the run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from thcli.records import Image


class RunLog:
    """Log of the run in the folder ``out``; lines of an interrupted run beyond step ``done`` are removed."""

    def __init__(self, out: Path, done: int) -> None:
        self.path = out / "log.jsonl"
        lines = self.path.read_text().splitlines() if done and self.path.is_file() else []
        self.path.write_text("".join(line + "\n" for line in lines if json.loads(line)["step"] <= done))
        self.board = _board(out, done)

    def write(self, step: int, figures: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        with self.path.open("a") as file:
            file.write(json.dumps({"step": step, **{name: round(value, 6) for name, value in figures.items()}}) + "\n")
        if self.board is not None:
            for name, value in figures.items():
                self.board.add_scalar(name, value, step)

    def show(self, step: int, images: Mapping[str, Image]) -> None:
        """Show images [H, W, 3] uint8, by name, in TensorBoard."""
        for name, image in images.items():
            self.board.add_image(name, image, step, dataformats="HWC")
        self.board.flush()

    def close(self) -> None:
        """Write what is still buffered."""
        if self.board is not None:
            self.board.close()


def _board(out: Path, done: int) -> Any:
    """Open a TensorBoard writer that hides what an interrupted run wrote beyond ``done``; None without TensorBoard."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return None
    return SummaryWriter(str(out), purge_step=done + 1 if done else None)
