"""Number of threads that the libraries use, and how these wait, so that programs side by side share the cores."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
"""Folder in which Linux shows its control groups."""

_alone = False
"""Whether other processes keep the other cores busy."""
SPINS = "2000"
"""Turns of a waiting thread of GNU's OpenMP before it sleeps, some microseconds; with none one video takes 6 % more."""


def share_cores() -> None:
    """Set the number of the libraries' threads, and how they wait; call it before PyTorch and NumPy are loaded.

    OpenMP's threads, which are PyTorch's, spin while they wait for work, and take the cores from other programs: two
    videos side by side on two cores took fifteen times as long as one alone. Here they sleep after a few turns. OpenMP
    heeds ``taskset`` by itself, but not a control group's limit. NumPy's products are small, and use one thread alone;
    with more, their sums would depend on the number of cores, and so would the video. Variables that are already set
    are left alone.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", SPINS)
    if usable_cores() < _allowed_cores():
        os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Let PyTorch compute on one thread within a block of many small steps, such as tracking.

    Threads that share a step of some microseconds wait for each other. Where another program keeps one of two cores
    busy, such steps take a hundred times as long on two threads as on one. Where PyTorch is not loaded, it is not used.
    """
    if "torch" not in sys.modules:
        yield
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def compute_alone() -> None:
    """Let this process, which is one of several at work, compute on one thread, in libraries to be loaded as well."""
    global _alone
    _alone = True
    os.environ["OMP_NUM_THREADS"] = "1"
    if "torch" in sys.modules:
        import torch

        torch.set_num_threads(1)


def usable_cores() -> int:
    """Return the number of cores that this process may keep busy.

    It is those allowed to it, less a control group's limit, and one after ``compute_alone``.
    """
    if _alone:
        return 1
    return max(1, min([_allowed_cores(), *(math.ceil(quota) for quota in _quotas(CGROUPS))]))


def _allowed_cores() -> int:
    """Return the number of cores that this process may run on, as ``taskset`` and ``docker --cpuset-cpus`` set it."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yield the limits, in cores, of this process's control groups, of version 1 and 2; none where no limit is set."""
    for group in _groups(root):
        with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
            quota, period = (group / "cpu.max").read_text(encoding="ascii").split()
            yield int(quota) / int(period)  # "max" is no number
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):
        quota, period = (
            (root / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period")
        )
        if int(quota) > 0:
            yield int(quota) / int(period)


def _groups(root: Path) -> Iterator[Path]:
    """Yield the folders of this process's control group of version 2 and of those that it is in."""
    yield root
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("0::/"):
                group = root / line[len("0::/") :]
                yield from (folder for folder in (group, *group.parents) if root in folder.parents)
