"""Files of many NumPy arrays, which are written one after the other and read one at a time, without a pickle.

Arrays can be added while the file grows: they follow each other, each as ``numpy.save`` writes it. Then come their
names and places, and at the very end the place of these two and ``MARK``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

MARK = b"thgenarr"
"""Last bytes of a file of arrays."""


class ArrayWriter:
    """Context manager that writes arrays by their names to a new file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._places: dict[str, int] = {}

    def __enter__(self) -> ArrayWriter:
        self._file = open(self._path, "wb")
        return self

    def add(self, name: str, values: Any) -> None:
        """Append an array."""
        self._places[name] = self._file.tell()
        np.save(self._file, np.asanyarray(values), allow_pickle=False)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                end = self._file.tell()
                np.save(self._file, np.array(list(self._places)), allow_pickle=False)
                np.save(self._file, np.array(list(self._places.values()), np.int64), allow_pickle=False)
                self._file.write(end.to_bytes(8, "little") + MARK)


class ArrayReader:
    """Context manager that reads arrays by their names. Raises OSError or ValueError for any other file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> ArrayReader:
        self._file = open(self._path, "rb")
        try:
            self._file.seek(-16, 2)
            tail = self._file.read(16)
            if tail[8:] != MARK:
                raise ValueError(f"{self._path}: no file of arrays")
            self._file.seek(int.from_bytes(tail[:8], "little"))
            names, places = (np.load(self._file, allow_pickle=False) for _ in range(2))
            self._places = dict(zip(names.tolist(), places.tolist(), strict=True))
        except BaseException:
            self._file.close()
            raise
        return self

    def __getitem__(self, name: str) -> np.ndarray:
        """Return an array. Raises KeyError for an unknown name."""
        self._file.seek(self._places[name])
        values: np.ndarray = np.load(self._file, allow_pickle=False)
        return values

    def __exit__(self, *_: object) -> None:
        self._file.close()
