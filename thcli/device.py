"""Where the networks run."""

from __future__ import annotations

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
