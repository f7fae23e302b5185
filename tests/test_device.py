"""Device that the networks run on, and memory that is free."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from thcli.device import _may_have_cuda, free_memory, resolve_device
from thcli.errors import DeviceError


def test_resolve_device_auto_is_a_device_that_works():
    name = resolve_device("auto")
    assert torch.ones(2, device=name).sum() == 2
    assert name == ("cuda" if torch.cuda.is_available() else "cpu")


def test_resolve_device_takes_a_device_by_its_name():
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cpu:x", "cuda:99", "meta", "hpu", "privateuseone"])
def test_resolve_device_refuses_devices_that_are_not_there(name):
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value) == f"--device {name}: no such device here; use --device cpu"


def test_where_the_system_shows_no_gpu_auto_is_the_cpu_and_needs_no_pytorch(monkeypatch):
    shown = {"nvidia*": ["/dev/nvidia0"], "dxg": ["/dev/dxg"]}
    monkeypatch.setattr(Path, "glob", lambda folder, name: iter(shown.get(name, ())))
    assert _may_have_cuda()
    shown.clear()
    assert _may_have_cuda() == (sys.platform != "linux")
    if sys.platform == "linux":
        monkeypatch.setitem(sys.modules, "torch", None)  # an import of it fails
        assert resolve_device("auto") == resolve_device("cpu") == "cpu"


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_kept_memory_is_not_cleared_anew_for_every_tensor():
    script = (
        "import resource, torch\n"
        "from thcli.device import keep_freed_memory\n"
        "def faults():\n"
        "    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt\n"
        "    for _ in range(20): torch.ones(3, 1000, 1000)\n"
        "    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before\n"
        "faults(); usual = faults()\n"
        "keep_freed_memory(); faults(); print(usual, faults())"
    )
    giving_back = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=giving_back)
    usual, kept = map(int, made.stdout.split())
    assert kept < 1000 < usual


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="a setting of glibc")
def test_freed_memory_is_given_back():
    script = (
        "from pathlib import Path\n"
        "from thcli.device import give_back_freed_memory\n"
        "def pages(): return int(Path('/proc/self/statm').read_text().split()[1])\n"
        "blocks = [bytearray(100_000) for _ in range(500)]\n"
        "last = bytearray(100_000)\n"
        "del blocks; before = pages()\n"
        "give_back_freed_memory(); print(before - pages())"
    )
    kept = {**os.environ, "MALLOC_TRIM_THRESHOLD_": "1000000000"}
    made = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=kept)
    assert int(made.stdout) * os.sysconf("SC_PAGE_SIZE") > 40_000_000


SystemFiles = Callable[[dict[str, str]], None]


@pytest.fixture
def system_files(monkeypatch: pytest.MonkeyPatch) -> SystemFiles:
    """system_files(texts by path): these files of the system have these texts; others in the same folders are gone."""
    real = Path.read_text

    def replace(texts: dict[str, str]) -> None:
        def read(path: Path, *arguments: object, **named: object) -> str:
            if str(path) in texts:
                return texts[str(path)]
            if str(path).startswith(("/proc/", "/sys/")):
                raise FileNotFoundError(path)
            return real(path, *arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(Path, "read_text", read)

    return replace


def test_free_memory_is_a_part_of_the_memory_of_this_machine() -> None:
    free = free_memory()
    assert free is None or 0 <= free < 1 << 50
    if free is not None and Path("/proc/meminfo").exists():
        said = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        assert free <= int(said["MemTotal"].split()[0]) * 1024


def test_free_memory_is_what_is_available_without_swapping(system_files: SystemFiles) -> None:
    system_files({"/proc/meminfo": "MemTotal:  9000 kB\nMemFree:  10 kB\nMemAvailable:  1000 kB\n"})
    assert free_memory() == 1000 * 1024


@pytest.mark.parametrize(
    ("limit", "used", "free"),
    [("7000", "2000", 5000), ("9000000", "0", 1_024_000), ("max", "2000", 1_024_000), ("2000", "3000", 0)],
    ids=["less", "more", "no limit", "beyond its limit"],
)
def test_free_memory_is_less_in_a_container_with_less(system_files: SystemFiles, limit, used, free) -> None:
    group = {"/sys/fs/cgroup/memory.max": f"{limit}\n", "/sys/fs/cgroup/memory.current": f"{used}\n"}
    system_files({"/proc/meminfo": "MemAvailable:  1000 kB\n", **group})
    assert free_memory() == free
