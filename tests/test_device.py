"""Where the networks run, and with how much memory."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from thcli import device
from thcli.device import resolve_device
from thcli.errors import DeviceError


def test_auto_is_a_device_that_works():
    name = resolve_device("auto")
    assert torch.ones(2, device=name).sum() == 2
    assert name == ("cuda" if torch.cuda.is_available() else "cpu")


def test_what_is_there_is_taken_by_its_name():
    assert resolve_device("cpu") == "cpu"


@pytest.mark.parametrize("name", ["", "gpu", "CPU", "cpu:x", "cuda:99", "meta", "hpu", "privateuseone"])
def test_devices_that_are_not_there(name):
    with pytest.raises(DeviceError) as caught:
        resolve_device(name)
    assert str(caught.value) == f"--device {name}: no such device here; use --device cpu"


def test_free_memory_is_what_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    free = device.free_memory()
    assert free is None or 0 < free < 1 << 50
    if Path("/proc/meminfo").exists():
        said = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        total = int(said["MemTotal"].split()[0]) * 1024
        monkeypatch.setattr(device, "_free_by_container", lambda: None)
        free = device.free_memory()
        assert free is not None and total / 1000 < free <= total


def test_a_container_may_have_less(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "_free_by_linux", lambda: 1000)
    for container, free in ((5, 5), (2000, 1000), (None, 1000), (0, 0)):
        monkeypatch.setattr(device, "_free_by_container", lambda container=container: container)
        assert device.free_memory() == free
