"""Training by several processes, as ``torchrun`` starts them.

Every process makes the same batch. A network computes its process's share of the rows and receives the others' rows,
so a loss sees the whole batch, and its means, ratios and maxima do not depend on the number of processes. The sum of
the processes' gradients is the gradient of one process that computes everything. Batch norms use the moments of the
whole batch. Only what a network draws at random in a step, such as dropout, differs between processes, as it should.

Every process does in full what takes time outside the networks: making the batch, and computing the losses.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.nn.functional import all_reduce
from torch.distributed.rendezvous import rendezvous

from thcli.device import resolve_device
from thcli.errors import UsageError

Result = TypeVar("Result")
LONGEST = timedelta(hours=12)
"""Longest time that processes wait for the first one, which alone prepares and validates.

The death of a process ends the wait at once.
"""
FAILED = "thgen/failed"
"""Key of the store that counts the processes that have failed."""


class World:
    """The processes that train together; this class is a single process, which shares with no other."""

    rank = 0
    size = 1

    def device(self, name: str) -> str:
        """Resolve the device ``name`` for this process, see ``resolve_device``."""
        return resolve_device(name)

    def check_batch(self, size: int, parts: int = 1) -> None:
        """Raise UsageError for a batch that cannot be cut into ``parts``, or whose parts cannot be shared evenly."""
        if parts < 1 or size % parts:
            raise UsageError(f"batch_size {size}: cannot be cut into {parts} parts (accumulate); give a multiple of it")

    def share(self, network: nn.Module, entry: str) -> None:
        """Copy the first process's weights to all, and let each process compute its rows in the method ``entry``."""

    def add_gradients(self, network: nn.Module) -> None:
        """Replace the gradients in every process by their sum over all processes."""

    def first(self, task: Callable[[], Result]) -> Result:
        """Run ``task`` in the first process while the others wait, and return its result in all of them."""
        return task()

    def fails_first(self) -> bool:
        """Whether this process, which is about to end with an error, is the first to fail and should report it."""
        return True


ALONE = World()
"""The world of a single process."""


class Processes(World):
    """One of several processes, each with the same number of rows of every batch."""

    def __init__(self, rank: int, size: int, store: Store) -> None:
        self.rank, self.size, self._store = rank, size, store

    def device(self, name: str) -> str:
        """Resolve the device ``name``; ``cuda`` is the GPU with the process's number on its machine."""
        if name == "auto":
            name = "cuda" if torch.cuda.is_available() else "cpu"
        if name == "cuda":
            name = f"cuda:{os.environ.get('LOCAL_RANK', self.rank)}"
            torch.cuda.set_device(resolve_device(name))
        elif ":" in name:
            raise UsageError(f"--device {name}: {self.size} processes need a GPU each; give --device cuda")
        return resolve_device(name)

    def check_batch(self, size: int, parts: int = 1) -> None:
        super().check_batch(size, parts)
        if size // parts % self.size:
            if parts > 1:
                raise UsageError(
                    f"batch_size {size}: its {parts} parts (accumulate) cannot be shared by {self.size} processes; "
                    f"give a multiple of {parts * self.size}"
                )
            raise UsageError(f"batch_size {size}: cannot be shared by {self.size} processes; give a multiple of it")

    def share(self, network: nn.Module, entry: str) -> None:
        for tensor in network.state_dict().values():
            same = tensor.contiguous()  # gloo takes no other memory format
            dist.broadcast(same, src=0)
            tensor.copy_(same)
        compute = getattr(network, entry)

        def by_rows(*inputs: Any, **options: Any) -> Any:
            taken = (_take(x, self) if isinstance(x, Tensor) else x for x in inputs)
            made = compute(*taken, **options)
            return _join(made, self) if isinstance(made, Tensor) else tuple(_join(x, self) for x in made)

        setattr(network, entry, by_rows)
        for module in network.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                setattr(module, "forward", _whole_norm(module, self.size))  # noqa: B010 - mypy refuses to assign a method

    def add_gradients(self, network: nn.Module) -> None:
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        dist.all_reduce(flat)
        first = 0
        for gradient in gradients:
            gradient.copy_(flat[first : first + gradient.numel()].view(gradient.shape))
            first += gradient.numel()

    def first(self, task: Callable[[], Result]) -> Result:
        result = [task() if self.rank == 0 else None]
        # The lost connection tells processes that wait here of the death of another.
        dist.broadcast_object_list(result, src=0, device=torch.device("cpu"))
        return result[0]  # type: ignore[return-value]

    def fails_first(self) -> bool:
        try:
            return int(self._store.add(FAILED, 1)) == 1
        except RuntimeError:  # the store went with the process that failed first
            return False

    def rows(self, whole: Tensor) -> Tensor:
        """Return this process's rows of a tensor that all processes have."""
        return whole.chunk(self.size)[self.rank]

    def gather(self, rows: Tensor) -> Tensor:
        """Return the rows of all processes, one process after the other."""
        parts = [torch.empty_like(rows, memory_format=torch.contiguous_format) for _ in range(self.size)]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)


class _Take(torch.autograd.Function):
    """Selection of a process's rows of a tensor that all have; the gradient has the rows of all, in every process."""

    @staticmethod
    def forward(ctx: Any, whole: Tensor, world: Processes) -> Tensor:
        ctx.world = world
        return world.rows(whole).clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _join(gradients[0], ctx.world), None


class _Join(torch.autograd.Function):
    """Concatenation of the rows of all processes; the gradient that a process gets back is that of its own rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, world: Processes) -> Tensor:
        ctx.world = world
        return world.gather(rows)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return _take(gradients[0], ctx.world), None


# PyTorch leaves these without types.
_take: Callable[[Tensor, Processes], Tensor] = _Take.apply
_join: Callable[[Tensor, Processes], Tensor] = _Join.apply
_all_reduce: Callable[[Tensor], Tensor] = all_reduce


def _whole_norm(norm: nn.modules.batchnorm._BatchNorm, size: int) -> Callable[[Tensor], Tensor]:
    """Return a batch norm's ``forward`` over all processes' rows; PyTorch's ``SyncBatchNorm`` is for CUDA only."""

    def forward(x: Tensor) -> Tensor:
        if not norm.training:
            return type(norm).forward(norm, x)
        over = [axis for axis in range(x.dim()) if axis != 1]
        shape = [1, -1] + [1] * (x.dim() - 2)
        mean = _all_reduce(x.float().mean(over)) / size
        variance = _all_reduce((x.float() - mean.view(shape)).square().mean(over)) / size
        _remember(norm, mean, variance, size * x.numel() // x.shape[1])
        gain = norm.weight * (variance + norm.eps).rsqrt()
        # It computes in float32 and returns the input's type, as PyTorch's own does under autocast.
        return ((x.float() - mean.view(shape)) * gain.view(shape) + norm.bias.view(shape)).to(x.dtype)

    return forward


@torch.no_grad()
def _remember(norm: nn.modules.batchnorm._BatchNorm, mean: Tensor, variance: Tensor, count: int) -> None:
    """Update a batch norm's running moments with those of ``count`` values per channel."""
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.num_batches_tracked += 1
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance * count / max(count - 1, 1), norm.momentum)


@contextmanager
def processes() -> Iterator[World]:
    """Enter the world that ``torchrun`` made for this process, and leave it at the end; else yield ``ALONE``."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    store, rank, size = next(rendezvous("env://", timeout=LONGEST))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    group = PrefixStore("group", store)
    dist.init_process_group(backend, store=group, rank=rank, world_size=size, timeout=LONGEST)
    try:
        yield Processes(rank, size, store)
    finally:
        dist.destroy_process_group()
