"""Device that the networks run on, and memory that is free."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from thcli.errors import DeviceError

KINDS = ("cpu", "cuda", "mps")
"""PyTorch's names of the kinds of device that thgen supports."""


def resolve_device(name: str) -> str:
    """Return the device that a name stands for: with ``auto`` CUDA where there is a GPU, else the CPU.

    Raises DeviceError where the machine has no such device.
    """
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


def has_fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself, by AMX or AVX-512 (such as Sapphire Rapids and Zen 4).

    Others emulate it ten times slower. PyTorch's answer does not heed ``ONEDNN_MAX_CPU_ISA``, which may forbid it.
    """
    import torch

    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch lack it
    return any(known.get(name) for name in ("amx_bf16", "avx512_bf16")) and "ONEDNN_MAX_CPU_ISA" not in os.environ


def free_memory() -> int | None:
    """Bytes of memory that are still free in the machine or its container; None where the system does not tell."""
    known = [size for size in (_free_by_linux(), _free_by_container()) if size is not None]
    if not known and "SC_AVPHYS_PAGES" in getattr(os, "sysconf_names", {}):
        known = [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    return min(known, default=None)


def _free_by_linux() -> int | None:
    """Bytes available without swapping, on Linux; free pages alone would leave out what caches give back."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


def _free_by_container() -> int | None:
    """Bytes left below the memory limit of the control group; None without a limit."""
    folder = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit, used = ((folder / name).read_text(encoding="ascii") for name in ("memory.max", "memory.current"))
        return max(int(limit) - int(used), 0)
    return None
