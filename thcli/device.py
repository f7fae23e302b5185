"""Device that the networks run on, and memory that is free."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from pathlib import Path

from thcli.errors import DeviceError

KINDS = ("cpu", "cuda", "mps")
"""PyTorch's names of the kinds of device that thgen supports."""
GPU_DEVICES = ("nvidia*", "nvhost*", "nvmap", "dxg", "kfd")
"""Devices of Linux that belong to a GPU: of NVIDIA, in a computer, on a Jetson, and within Windows; and of AMD."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc settings: of how much is kept at the end of the heap, and of the least block that lies beside it."""
KEPT_BLOCK, KEPT = 32 << 20, 1 << 30
"""Largest block that is kept, the largest that every glibc takes, and the most that is kept in all, bytes."""


def resolve_device(name: str) -> str:
    """Return the device that a name stands for: with ``auto`` CUDA where there is a GPU, else the CPU.

    Raises DeviceError where the machine has no such device.
    """
    if name == "cpu" or (name == "auto" and not _may_have_cuda()):
        return "cpu"
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


def _may_have_cuda() -> bool:
    """Return whether PyTorch might find a GPU; Linux shows those that CUDA and ROCm can use among its devices."""
    return sys.platform != "linux" or any(list(Path("/dev").glob(name)) for name in GPU_DEVICES)


def has_fast_bfloat16() -> bool:
    """Whether the CPU multiplies bfloat16 itself, by AMX or AVX-512 (such as Sapphire Rapids and Zen 4).

    Others emulate it ten times slower. PyTorch's answer does not heed ``ONEDNN_MAX_CPU_ISA``, which may forbid it.
    """
    import torch

    known: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch lack it
    return any(known.get(name) for name in ("amx_bf16", "avx512_bf16")) and "ONEDNN_MAX_CPU_ISA" not in os.environ


def keep_freed_memory() -> None:
    """Let the C library keep what this process frees, for what it needs next, such as the images of the next frames.

    Otherwise it gives large tensors back, and the system clears their memory anew for each, page by page: at 512² that
    is a thousand pages for every frame. Other libraries than glibc do as they do.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        # The order counts: a threshold of what is given back fixes the other one as it stands.
        library.mallopt(M_MMAP_THRESHOLD, KEPT_BLOCK)
        library.mallopt(M_TRIM_THRESHOLD, KEPT)


def give_back_freed_memory() -> None:
    """Give what this process has freed back to the system; the C library keeps some of it, a tenth of all that is used.

    Other libraries than glibc do as they do.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


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
