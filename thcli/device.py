"""Where the networks run, and with how much memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from thcli.errors import DeviceError

KINDS = ("cpu", "cuda", "mps")
"""What PyTorch calls the devices that thgen is made for."""


def resolve_device(name: str) -> str:
    """``auto`` as the device to use here: CUDA where there is one, else the CPU; DeviceError for one not there."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        if name.partition(":")[0] not in KINDS:
            raise ValueError(f"expected one of {KINDS}")
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise DeviceError(f"--device {name}: no such device here; use --device cpu") from error
    return name


def free_memory() -> int | None:
    """Bytes that a program may still take from the machine, or its container; None where nothing says."""
    known = [size for size in (_free_by_linux(), _free_by_container()) if size is not None]
    if not known and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        known = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return min(known, default=None)


def _free_by_linux() -> int | None:
    """What can be had without swapping: free pages alone leave out what caches give back."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _free_by_container() -> int | None:
    """The limit of the control group less what is in use; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit, used = ((folder / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        return max(int(limit) - int(used), 0)
    return None
