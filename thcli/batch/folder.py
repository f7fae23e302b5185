"""The output folder of a batch: locks against other runs, and removal of partial files that killed runs left.

Videos and all files beside them are written under hidden names and renamed once they are complete. A run removes its
own hidden files however it ends, unless by SIGKILL or with its machine.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = (".thgen-*.mp4", ".*.partial")
"""Patterns of the hidden names that ``clips.encode`` and ``checkpoints.write_atomic`` write to."""


def lock(file: int, alone: bool, wait: bool = False) -> bool | None:
    """Lock an open file or folder, and return whether that succeeded; None where the system offers no locks.

    The lock ends with the process that holds it, however that ends.

    alone: whether the lock is exclusive; otherwise several processes may hold it
    wait: whether to wait while another process holds it, in place of returning False
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return None
    try:
        fcntl.flock(file, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:  # some network file systems have none
        return None
    return True


@contextmanager
def writing(folder: Path, places: Iterable[Path]) -> Iterator[None]:
    """A block in which a run writes to ``places``: they are created, and cleared of partial files of killed runs.

    They are cleared before and after the block, unless another run writes to the same ``folder`` at that moment.
    """
    for place in {folder, *places}:
        place.mkdir(parents=True, exist_ok=True)
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _clear_if_alone(file, places)
        lock(file, alone=False, wait=True)  # other runs lock the folder alone only while they clear it
        try:
            yield
        finally:
            _clear_if_alone(file, places)
    finally:
        os.close(file)


def _clear_if_alone(folder: int, places: Iterable[Path]) -> None:
    """Delete partial files in ``places`` if no other run holds a lock on the open folder."""
    if lock(folder, alone=True):
        for place in set(places):
            for pattern in PARTS:
                for part in place.glob(pattern):
                    part.unlink(missing_ok=True)
