"""Where the networks run."""

from __future__ import annotations

import pytest
import torch

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
