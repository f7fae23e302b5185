"""Checks of the installation and the machine: Python, libraries, device, ffmpeg, weights, disk space, memory."""

from __future__ import annotations

import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from pathlib import Path

from thcli.device import free_memory, resolve_device
from thcli.doctor.check import Check, failed
from thcli.threads import usable_cores
from thcli.weights.catalogue import ENTRIES, Entry, find

PYTHONS = ((3, 10), (3, 12))
"""Oldest and newest version of Python that thgen supports."""
GIB = 1 << 30
"""Bytes of one GiB."""
LEAST_SPACE = GIB // 4
"""Fewest free bytes on the disk: enough for some minutes of video and temporary files."""
LEAST_MEMORY = 3 * GIB // 2
"""Fewest free bytes of memory: more than a usual video with Θ takes (``generation/estimate.py``)."""
LIBRARIES = ("torch", "onnxruntime")
"""Modules whose import is checked."""


def installation(device: str = "auto", weights: Path | None = None) -> Iterator[Check]:
    """Yield the results of all checks in turn; none raises an error, whatever is broken."""
    yield _python()
    for name in LIBRARIES:
        yield _guarded(name, partial(_library, name))
    yield _guarded("device", partial(_device, device))
    yield _guarded("ffmpeg", _ffmpeg)
    for entry in ENTRIES:
        yield _guarded(entry.name, partial(_weights, entry, weights))
    yield _guarded("space", _space)
    yield _guarded("memory", _memory)


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """Run a check; an error in it is a failed result."""
    try:
        return check()
    except Exception as error:
        return failed(name, error, "reinstall thgen into a fresh environment")


def _python() -> Check:
    (low, high), found = PYTHONS, sys.version_info[:2]
    name = f"{platform.python_version()} at {sys.executable}"
    wanted = f"install thgen with Python {low[0]}.{low[1]} to {high[0]}.{high[1]}"
    return Check("python", low <= found <= high, name, "" if low <= found <= high else wanted)


def _library(name: str) -> Check:
    try:
        module = import_module(name)
    except Exception as error:  # a broken library may raise anything
        return Check(name, False, f"cannot be imported ({error})", f"install it again: pip install --force {name}")
    return Check(name, True, f"{module.__version__}")


def _device(name: str) -> Check:
    """Report the device that is used, and whether others are present."""
    import torch

    used = resolve_device(name)
    there = {
        "CUDA": torch.cuda.is_available(),
        "MPS": torch.backends.mps.is_available(),
        "AMX": _has_amx(),
    }
    said = ", ".join(f"{kind} {'there' if present else 'not there'}" for kind, present in there.items())
    return Check("device", True, f"{used}; {said}; {usable_cores()} CPU cores, {torch.get_num_threads()} threads")


def _has_amx() -> bool:
    """Whether Linux reports that the CPU has AMX, Intel's matrix unit."""
    try:
        return "amx_tile" in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False


def _ffmpeg() -> Check:
    from thcli.clips.capabilities import capabilities

    found = capabilities()
    elsewhere = "" if found.writer == found.reader else f" of {found.writer}"
    writes = f"writes H.264 by {found.encoder}{elsewhere}; encoders there: {', '.join(found.encoders)}"
    # Transparency of WebM is lost without libvpx; HDR is converted without zscale too, but more slowly.
    lacks = f"; no {', '.join(found.lacking)} to read with" if found.lacking else ""
    old = f"; too old to be used: {found.old}" if found.old else ""
    return Check("ffmpeg", True, f"{found.version} at {found.reader}; {writes}{lacks}{old}")


def _weights(entry: Entry, weights: Path | None) -> Check:
    file = find(entry, weights)
    if file is None and entry.metric:
        return Check(entry.name, True, f"not there ({entry.network}; thgen evaluate does without it)")
    if file is None:
        return Check(entry.name, False, "not there", "reinstall thgen, or add the file with 'thgen weights add'")
    known = f"{file.sha256[:12]}…, {file.place}, {file.size / (1 << 20):.1f} MiB"
    if file.fault:
        return Check(entry.name, False, f"{file.path}: {file.fault} ({known})", "get the file again, or remove it")
    return Check(entry.name, True, f"{known}: {entry.network}")


def _space() -> Check:
    here, temporary = shutil.disk_usage(Path.cwd()).free, 0
    with suppress(OSError):  # no folder for temporary files can be written to
        temporary = shutil.disk_usage(tempfile.gettempdir()).free
    said = f"{here / GIB:.1f} GiB here, {temporary / GIB:.1f} GiB for temporary files free"
    if temporary < LEAST_SPACE:  # only standard input is copied there
        said += "; for --audio -, let TMPDIR name another folder"
    fix = f"free some: {LEAST_SPACE / GIB:.2f} GiB at least"
    return Check("space", here >= LEAST_SPACE, said, "" if here >= LEAST_SPACE else fix)


def _memory() -> Check:
    free = free_memory()
    if free is None:
        return Check("memory", True, "the system does not say how much is free")
    fix = f"close other programs: a video takes about {LEAST_MEMORY / GIB:.1f} GiB; --renderer warp takes half of it"
    return Check("memory", free >= LEAST_MEMORY, f"{free / GIB:.1f} GiB free", "" if free >= LEAST_MEMORY else fix)
