"""When the device has not enough memory for the frames that are drawn at a time: what to do, and what to say."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from thcli.device import free_memory
from thcli.errors import DeviceError
from thcli.records import CROP_SIZE, Image

NETWORK_BYTES, PIXEL_BYTES, REFERENCE_BYTES = 100 << 20, 100, 12
"""Of one frame while it is drawn: in all, for every pixel, and for every pixel of every reference; as measured on the
CPU with sides of 512 to 2048 and 2 to 8 references."""
SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "bad allocation")
"""How PyTorch's backends and ONNX Runtime say it in errors that have no class of their own."""
GIB = 1 << 30


@dataclass(frozen=True)
class OneFrame:
    """What one frame takes memory for: a square of ``side`` pixels from so many references, on a device."""

    side: int
    references: int
    device: str


def in_parts(frames: int, most: int, draw: Callable[[slice], Image], one: OneFrame) -> Iterator[tuple[slice, Image]]:
    """All frames drawn, ``most`` at a time; where memory does not do, half as many from there on.

    Raises DeviceError, with the size that would fit, where one alone is too many.
    """
    first = 0
    while first < frames:
        part = slice(first, min(first + most, frames))
        drawn = _attempt(draw, part)
        if drawn is not None:
            yield part, drawn
            first = part.stop
            continue
        _release(one.device)  # not where the error is caught: it holds the tensors of the attempt
        if part.stop - first == 1:
            raise does_not_fit(one)
        most = (part.stop - first) // 2


def _attempt(draw: Callable[[slice], Image], part: slice) -> Image | None:
    """The frames of a part; None where there is not memory enough."""
    try:
        return draw(part)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine has no more memory."""
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in SIGNS)


def does_not_fit(one: OneFrame) -> DeviceError:
    """The error for a device without memory for one single frame, and what would fit."""
    side, there = one.side, available(one.device)
    known = "" if there is None else f" ({there / GIB:.1f} GiB are free)"
    said = f"one frame of {side}x{side} pixels does not fit into the memory of {one.device}{known}"
    elsewhere = "" if one.device == "cpu" else ", or use --device cpu"
    if side <= CROP_SIZE:
        return DeviceError(f"{said}, and none are smaller; free some{elsewhere}")
    fits = fitting_side(there, one)
    return DeviceError(
        f"{said}; by estimate {fits}x{fits} does: use --frame crop --size {512 if fits >= 512 else 256}, a clip of "
        f"fewer pixels or fewer --references{elsewhere}"
    )


def fitting_side(there: int | None, one: OneFrame) -> int:
    """Side in pixels of the largest square that ``there`` bytes hold, by what a frame takes on the CPU.

    Memory is taken in proportion to the pixels. The frame itself is known not to fit, so half its pixels are the most.
    """
    pixels = one.side**2 / 2
    if there is not None:
        pixels = min(pixels, max(0, there - NETWORK_BYTES) / (PIXEL_BYTES + REFERENCE_BYTES * one.references))
    return max(CROP_SIZE, int(pixels**0.5) // 16 * 16)


def available(device: str) -> int | None:
    """Free memory of a device in bytes, None where nothing says."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory() if device == "cpu" else None


def _release(device: str) -> None:
    """Give back what the failed attempt still holds, so that it can be used for less."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
