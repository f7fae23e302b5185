"""Files of motion curves: CSV, one row per frame, ``frame,time,rx,ry,rz,tx,ty,tz,e00…e19,blink`` (docs/files.md).

Units are radians, canonical face units, and standard deviations of the face model's coefficients. ``--save-curves``
writes such files; ``--motion`` and ``--expression`` read them. Numbers are restored to the last bit.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from thcli.checkpoints import write_atomic
from thcli.errors import MediaError
from thcli.records import FPS, N_EXPRESSION, MotionCurves

POSE = ("rx", "ry", "rz", "tx", "ty", "tz")
EXPRESSION = tuple(f"e{i:02d}" for i in range(N_EXPRESSION))
COLUMNS = ("frame", "time", *POSE, *EXPRESSION, "blink")
_VALUES = COLUMNS[2:]


def write_curves(path: Path, curves: MotionCurves) -> None:
    """Write motion curves atomically. Raises MediaError where the file cannot be written."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    values = np.concatenate([curves.pose, curves.expression, curves.blink[:, None]], axis=1).astype(np.float32)
    for frame, row in enumerate(values):
        # nine digits restore every float32
        writer.writerow([frame, f"{frame / FPS:.2f}", *(f"{value:.9g}" for value in row)])
    try:
        write_atomic(path, text.getvalue().encode())
    except OSError as error:
        raise MediaError(f"{path}: cannot write the curves ({error.strerror}); choose another place") from error


def read_curves(path: Path) -> MotionCurves:
    """Read a file that ``write_curves`` wrote, or one with the same columns in any order.

    Raises MediaError, which names the file, the row and the expected content.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file))
    except FileNotFoundError as error:
        raise MediaError(f"{path}: no such file; expected curves as --save-curves writes them") from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise MediaError(f"{path}: not a CSV file ({error}); expected curves as --save-curves writes them") from error
    place = _places(path, [name.strip() for name in lines[0]] if lines else [])
    rows = [(number, row) for number, row in enumerate(lines[1:], start=2) if any(cell.strip() for cell in row)]
    if not rows:
        raise MediaError(f"{path}: no rows below the header, expected one a frame at {FPS} frames a second")
    table = np.array([_row(path, number, row, place, frame) for frame, (number, row) in enumerate(rows)], np.float32)
    return MotionCurves(table[:, :6], table[:, 6:-1], table[:, -1])


def _places(path: Path, header: Sequence[str]) -> dict[str, int]:
    """Return the index of each column in the header. Raises MediaError for missing and repeated columns."""
    missing = [name for name in COLUMNS if name not in header]
    if missing:
        raise MediaError(
            f"{path}: row 1 lacks the columns {', '.join(missing[:5])}{', …' if len(missing) > 5 else ''}; "
            f"expected frame,time,rx,ry,rz,tx,ty,tz,e00…e{N_EXPRESSION - 1:02d},blink"
        )
    twice = [name for name in COLUMNS if header.count(name) > 1]
    if twice:
        raise MediaError(f"{path}: row 1 has the column {twice[0]} twice; expected it once")
    return {name: header.index(name) for name in COLUMNS}


def _row(path: Path, number: int, row: Sequence[str], place: dict[str, int], frame: int) -> list[float]:
    """Return the values of the row of ``frame``. Raises MediaError for any other row."""
    if len(row) <= max(place.values()):
        raise MediaError(f"{path}: row {number} has {len(row)} values, expected {max(place.values()) + 1} or more")
    found = _number(path, number, "frame", row[place["frame"]])
    if found != frame:
        raise MediaError(f"{path}: row {number} is frame {found:g}, expected {frame}; give all frames in order")
    values = [_number(path, number, name, row[place[name]]) for name in _VALUES]
    if not 0 <= values[-1] <= 1:
        raise MediaError(f"{path}: row {number}: blink is {values[-1]:g}, expected 0 (open) to 1 (closed)")
    return values


def _number(path: Path, number: int, name: str, text: str) -> float:
    """Convert a cell to a number. Raises MediaError unless it is finite in float32."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not abs(value) <= float(np.finfo(np.float32).max):
        raise MediaError(f"{path}: row {number}: {name} is '{text.strip()}', expected a number")
    return value
