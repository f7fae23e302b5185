"""Rendering within a device's memory: fewer frames at a time where it runs out, an error where not one frame fits."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from thcli.device import free_memory
from thcli.errors import DeviceError
from thcli.records import CROP_SIZE, Image

DEFAULT_BATCH = 4
"""Most frames rendered at a time, by default.

With eight, every tensor is so large that the C library requests its memory from the kernel anew each time, which costs
a tenth of the time; with two, calls cost more than they save.
"""
FULL_PIXELS = 512 * 512
"""Pixels of a frame above which fewer frames are rendered at a time, so that memory does not grow with their size."""
NETWORK_BYTES, PIXEL_BYTES, REFERENCE_BYTES = 100 << 20, 100, 26
"""Bytes that rendering one frame takes: in all, per pixel, and per pixel of every reference.

They were measured on the CPU with sides of 512 to 2048 px and 2 to 8 references.
"""
SIGNS = ("out of memory", "can't allocate memory", "ALLOC_FAILED", "bad allocation")
"""Phrases of PyTorch's backends and ONNX Runtime in errors for exhausted memory that have no class of their own."""
GIB = 1 << 30
"""Bytes of one GiB."""


def frames_at_a_time(pixels: int, batch_size: int) -> int:
    """Return how many frames of ``pixels`` pixels are rendered at a time: ``batch_size``, or fewer large ones."""
    return min(batch_size, max(1, batch_size * FULL_PIXELS // pixels))


@dataclass(frozen=True)
class OneFrame:
    """Quantities that decide how much memory the rendering of one frame takes.

    side: side of the rendered square, px
    references: K, number of references
    device: device on which it is rendered
    """

    side: int
    references: int
    device: str


def in_parts(whole: slice, most: int, render: Callable[[slice], Image], one: OneFrame) -> Iterator[tuple[slice, Image]]:
    """Yield parts of some frames with their images, ``most`` frames at a time; half as many once memory runs out.

    render: renders the frames of a part
    one: description of one frame, for the error

    Raises DeviceError, with the size that would fit, where a single frame does not fit.
    """
    first = whole.start
    while first < whole.stop:
        part = slice(first, min(first + most, whole.stop))
        rendered = _attempt(render, part)
        if rendered is not None:
            yield part, rendered
            first = part.stop
            continue
        _release(one.device)  # not inside ``except``, where the error still holds the attempt's tensors
        if part.stop - first == 1:
            raise does_not_fit(one)
        most = (part.stop - first) // 2


def _attempt(render: Callable[[slice], Image], part: slice) -> Image | None:
    """Return the frames of a part, or None where memory runs out."""
    try:
        return render(part)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return None


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the device or the machine is out of memory."""
    import torch

    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return any(sign in str(error) for sign in SIGNS)


def does_not_fit(one: OneFrame) -> DeviceError:
    """Return the error for a device that cannot hold a single frame; it says what would fit."""
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
    """Estimate the side in pixels of the largest square that ``there`` bytes hold, from measurements on the CPU.

    Memory grows in proportion to the pixels. The frame itself is known not to fit, so at most half its pixels do.
    """
    pixels = one.side**2 / 2
    if there is not None:
        pixels = min(pixels, max(0, there - NETWORK_BYTES) / (PIXEL_BYTES + REFERENCE_BYTES * one.references))
    return max(CROP_SIZE, int(pixels**0.5) // 16 * 16)


def available(device: str) -> int | None:
    """Return the free memory of a device in bytes, or None where it cannot be queried."""
    import torch

    if device.startswith("cuda") and torch.cuda.is_available():
        return int(torch.cuda.mem_get_info(device)[0])
    return free_memory() if device == "cpu" else None


def _release(device: str) -> None:
    """Release the memory that a failed attempt still holds, so that a smaller attempt can use it."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device.startswith("mps"):
        torch.mps.empty_cache()
