"""Device that the networks run on, and memory that is free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from thcli.device import free_memory, resolve_device
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
