"""A pretended GPU: tensors that say they lie on ``cuda:0`` or ``mps:0`` while their numbers lie in main memory.

Operations run on the CPU, with gradients, but those that mix devices, or ask such a tensor for NumPy, fail as they do
on a GPU. A pretended tensor is an ordinary tensor of another Python class; PyTorch's function mode sees every call in
Python, above autograd, and gives results the class of their place. What this cannot show: speed, memory, rounding,
kernels that a GPU lacks, and whatever happens within PyTorch's C++.

    python tests/pretend_gpu.py cuda generate --device cuda --ref clip.mp4 --audio speech.wav

runs one command of thgen on it.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch
import torch._dynamo  # optimizers load it, and its tables want the functions that are replaced here
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

Function = Callable[..., Any]
COPIES = {
    Tensor.to,
    Tensor.cpu,
    Tensor.cuda,
    Tensor.copy_,
    Tensor.data.__set__,
    torch._has_compatible_shallow_copy_type,
}
"""Calls that take tensors of two devices."""
JOINING = {torch.cat, torch.stack, torch.concat, torch.hstack, torch.vstack}
"""Calls in which not even a tensor without dimensions may lie elsewhere."""
IN_FLOAT32 = frozenset("exp log norm pow __pow__ prod reciprocal rsqrt softmax log_softmax square sum softplus".split())
"""Names of functions that autocast computes in float32 on a GPU, but not on a CPU, as far as thgen calls them."""
MEMORY = 8 << 30
"""Bytes that the pretended GPU says are free, and that it has in all."""


class OnGpu(torch.Tensor):
    """A tensor in main memory that says it lies on the device ``place``; one device is pretended at a time."""

    place = torch.device("cuda", 0)
    device = property(lambda tensor: OnGpu.place)
    is_cpu = property(lambda tensor: False)
    is_cuda = property(lambda tensor: OnGpu.place.type == "cuda")
    is_mps = property(lambda tensor: OnGpu.place.type == "mps")

    @classmethod
    def __torch_function__(cls, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})

    def numpy(self, *, force: bool = False) -> Any:
        if force:
            return self.detach().cpu().numpy()
        raise TypeError(
            f"can't convert {OnGpu.place} device type tensor to numpy. Use Tensor.cpu() to copy the tensor to host "
            "memory first."
        )

    def __array__(self, *_: Any, **__: Any) -> Any:
        return self.numpy()

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.unbind(0))

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = memo.get(id(self))
        if copied is None:
            copied = memo[id(self)] = self.detach().clone().requires_grad_(self.requires_grad)
            copied._is_param = isinstance(self, nn.Parameter)
        return copied


class PretendedDevice(TorchFunctionMode):
    """While it is entered, every call of PyTorch in this thread may lie on the pretended device."""

    def __torch_function__(self, func: Function, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return call(func, args, kwargs or {})


def call(func: Function, args: Any, kwargs: dict[str, Any]) -> Any:
    """Call a function of PyTorch as if tensors of the class ``OnGpu`` lay on the device."""
    tensors = list(tensors_in([args, kwargs]))
    there = [tensor for tensor in tensors if isinstance(tensor, OnGpu)]
    asked = device_asked_for(func, args, kwargs)
    on_gpu = bool(there) if asked is None else is_pretended(asked)
    if not there and not on_gpu:
        return func(*args, **kwargs)
    if func not in COPIES:
        check_places(func, args, tensors)
    if on_gpu and kwargs.get("generator") is not None:
        raise RuntimeError(f"Expected a '{OnGpu.place.type}' device type for generator but found 'cpu'")
    args, kwargs = [on_cpu(value) for value in args], {name: on_cpu(value) for name, value in kwargs.items()}
    if func in (Tensor.cpu, Tensor.cuda):
        func, args = Tensor.to, [args[0], "cpu"]
    if func is Tensor.to and isinstance(args[0], OnGpu) != on_gpu:
        kwargs["copy"] = True
    if func.__name__ in IN_FLOAT32 and torch.is_autocast_enabled(OnGpu.place.type):
        args = [value.float() if is_half(value) else value for value in args]
    with torch._C.DisableTorchFunction(), autocast_of_the_device():
        made = func(*args, **kwargs)
        if func in (torch.as_tensor, torch.asarray) and not there:
            made = made.clone()
    for tensor in tensors_in(made):
        if not any(tensor is one for one in tensors):
            put(tensor, on_gpu)
    if func == Tensor.data.__set__:
        put(args[0], isinstance(args[1], OnGpu))
    return made


def device_asked_for(func: Function, args: Any, kwargs: dict[str, Any]) -> torch.device | None:
    """Return the device on which a call asks for its result, or None where it does not say."""
    if func in (Tensor.cpu, Tensor.cuda):
        return torch.device("cpu") if func is Tensor.cpu else OnGpu.place
    asked = kwargs.get("device")
    if func is Tensor.to:
        asked = next((x for x in [*args[1:], *kwargs.values()] if isinstance(x, (str, torch.device, Tensor))), None)
    if asked is None:
        return None
    return asked.device if isinstance(asked, Tensor) else torch.device(asked)


def is_pretended(device: torch.device) -> bool:
    """Whether a device is the pretended one; an error as on a GPU for another one of its kind."""
    if device.type == OnGpu.place.type and (device.index or 0) > 0:
        raise RuntimeError(f"{device}: invalid device ordinal")
    return device.type == OnGpu.place.type


def check_places(func: Function, args: Any, tensors: list[Tensor]) -> None:
    """Raise as PyTorch does where a call mixes tensors of two devices.

    Tensors without dimensions may lie on the CPU, and so may what indexes a tensor on the GPU, or is copied to a slice
    of it.
    """
    if func is Tensor.__getitem__ and isinstance(args[0], OnGpu):
        return
    if func is Tensor.__setitem__ and not list(tensors_in(args[1])):
        return
    elsewhere = [x for x in tensors if not isinstance(x, OnGpu) and (x.dim() > 0 or func in JOINING)]
    if elsewhere:
        shapes = [(tuple(x.shape), str(x.device)) for x in tensors]
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {OnGpu.place} and cpu! "
            f"{getattr(func, '__qualname__', func)} of {shapes}"
        )


def on_cpu(value: Any) -> Any:
    """Return an argument of a call, or the CPU where it names the pretended device."""
    named = value if isinstance(value, torch.device) else None
    if isinstance(value, str) and value.partition(":")[0] == OnGpu.place.type:
        named = torch.device(value)
    return torch.device("cpu") if named is not None and is_pretended(named) else value


def is_half(value: Any) -> bool:
    """Whether an argument is a tensor of 16 bits."""
    return isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)


def put(tensor: Tensor, on_gpu: bool) -> None:
    """Let a tensor say that it lies on the pretended device, or on the CPU."""
    if on_gpu and OnGpu.place.type == "mps" and tensor.dtype in (torch.float64, torch.complex128):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64.")
    if on_gpu and not isinstance(tensor, OnGpu):
        tensor._is_param = isinstance(tensor, nn.Parameter)
        tensor.__class__ = OnGpu
    elif not on_gpu and isinstance(tensor, OnGpu):
        tensor.__class__ = nn.Parameter if isinstance(tensor, nn.Parameter) else Tensor


def tensors_in(values: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists, tuples and dictionaries."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, (list, tuple)):
        for value in values:
            yield from tensors_in(value)
    elif isinstance(values, dict):
        yield from tensors_in(list(values.values()))


def autocast_of_the_device() -> torch.autocast:
    """Return the CPU's autocast with the settings of the device's."""
    kind = OnGpu.place.type
    return torch.autocast("cpu", torch.get_autocast_dtype(kind), torch.is_autocast_enabled(kind))


@contextmanager
def pretended_gpu(kind: str) -> Iterator[None]:
    """Pretend that this machine has one GPU, of the kind ``cuda`` or ``mps``, in all threads that begin from now on."""
    begin = threading.Thread.run

    def run(thread: threading.Thread) -> None:
        with PretendedDevice():
            begin(thread)

    def nothing(*_: object) -> None:
        pass

    yes, zero = (lambda *_, **__: True), (lambda *_: 0)
    cuda = {
        "is_available": yes, "is_bf16_supported": yes, "device_count": lambda: 1, "current_device": zero,
        "set_device": nothing, "get_device_name": lambda *_: "pretended", "get_device_capability": lambda *_: (9, 0),
        "mem_get_info": lambda *_: (MEMORY, MEMORY), "empty_cache": nothing, "synchronize": nothing,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8), "set_rng_state": nothing,
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(OnGpu, "place", torch.device(kind, 0)))
        stack.enter_context(mock.patch.object(threading.Thread, "run", run))
        if kind == "cuda":
            stack.enter_context(mock.patch.multiple(torch.cuda, **cuda))
            # Optimizers of a PyTorch that is built for CUDA ask the driver whether a graph is being captured.
            stack.enter_context(mock.patch.object(torch.backends.cuda, "is_built", lambda: False))
            if hasattr(torch, "accelerator"):  # since 2.6
                stack.enter_context(mock.patch.object(torch.accelerator, "current_accelerator", lambda *_, **__: None))
        else:
            # Older versions of PyTorch (2.10) ask for the version of macOS before it computes in bfloat16.
            stack.enter_context(mock.patch.multiple(torch.backends.mps, is_available=yes, is_macos_or_newer=yes))
            stack.enter_context(mock.patch.multiple(torch.mps, empty_cache=nothing, synchronize=nothing))
        stack.enter_context(PretendedDevice())
        yield


if __name__ == "__main__":
    from thcli.commands.main import main

    with pretended_gpu(sys.argv.pop(1)):
        main()
