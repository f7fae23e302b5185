"""The folder that a batch writes to: who else does at this moment, and what a run that was killed has left there.

Videos and all files beside them are written under hidden names and renamed once they are whole. A run that ends in any
way but SIGKILL or a lost machine removes those names itself.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

PARTS = (".thgen-*.mp4", ".*.partial")
"""Hidden names of ``clips.encode`` and of ``checkpoints.write_atomic``."""


def lock(file: int, alone: bool, wait: bool = False) -> bool | None:
    """Lock an open file or folder, for this process alone or along with others.

    False where another has it, unless that is waited for; None where locks cannot be had. A lock goes with the process
    that has it, however that ends.
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
    """For as long as files are written: ``places`` are made, and cleared of the parts of runs that were killed.

    They are cleared before and after, unless another run writes to the same folder at that moment.
    """
    for place in {folder, *places}:
        place.mkdir(parents=True, exist_ok=True)
    file = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _clear_if_alone(file, places)
        lock(file, alone=False, wait=True)  # nobody has it alone for longer than clearing takes
        try:
            yield
        finally:
            _clear_if_alone(file, places)
    finally:
        os.close(file)


def _clear_if_alone(folder: int, places: Iterable[Path]) -> None:
    if lock(folder, alone=True):
        for place in set(places):
            for pattern in PARTS:
                for part in place.glob(pattern):
                    part.unlink(missing_ok=True)
