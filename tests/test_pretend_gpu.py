"""The pretended GPU fails where a GPU fails, and computes what the CPU computes, gradients included."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from pretend_gpu import pretended_gpu
from torch import nn


@pytest.fixture(params=["cuda", "mps"])
def kind(request: pytest.FixtureRequest) -> Iterator[str]:
    with pretended_gpu(request.param):
        yield request.param


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (RuntimeError, lambda x, here: x + here),
        (RuntimeError, lambda x, here: here * x[0]),
        (RuntimeError, lambda x, here: torch.where(here > 0, x, 0.0)),
        (RuntimeError, lambda x, here: x.masked_fill(here > 0, 1.0)),
        (RuntimeError, lambda x, here: torch.cat([x, here])),
        (RuntimeError, lambda x, here: torch.stack([x[0], torch.tensor(1.0)])),
        (RuntimeError, lambda x, here: here[x.long()]),
        (RuntimeError, lambda x, here: nn.Linear(3, 1)(x)),
        (RuntimeError, lambda x, here: torch.rand(3, device=x.device, generator=torch.Generator())),
        (RuntimeError, lambda x, here: torch.zeros(3, device=f"{x.device.type}:1")),
        (TypeError, lambda x, here: x.numpy()),
        (TypeError, lambda x, here: np.asarray(x)),
        (TypeError, lambda x, here: np.ones(3) @ x),
        (TypeError, lambda x, here: next(iter(x)).numpy()),
    ],
)
def test_pretended_gpu_refuses_what_a_gpu_refuses(
    kind: str, error: type[Exception], mistake: Callable[[torch.Tensor, torch.Tensor], object]
) -> None:
    with pytest.raises(error):
        mistake(torch.ones(3, device=kind), torch.ones(3))


def test_pretended_gpu_takes_what_a_gpu_takes(kind: str) -> None:
    x, here = torch.arange(3.0).to(kind), torch.tensor([2, 0])
    assert x.device == torch.device(kind, 0) and x.is_cuda == (kind == "cuda") and not x.is_cpu
    for made in (x + torch.tensor(1.0), x[here], x.max(dim=0).values, torch.zeros_like(x), x.unbind()[0], x.clone()):
        assert made.device.type == kind
    assert [float(value) for value in x] == x.tolist() == [0, 1, 2]
    back = here.float()
    back.copy_(x[:2])
    x[1:] = torch.tensor([5.0, 6.0])
    for on_cpu, values in ((back, [0, 1]), (x.cpu(), [0, 5, 6]), (x.to("cpu"), [0, 5, 6])):
        assert on_cpu.device.type == "cpu" and on_cpu.numpy().tolist() == values


def test_pretended_gpu_copies_on_the_way(kind: str) -> None:
    """Memory is not shared, so that changing one tensor leaves the other as it is."""
    here = np.zeros(2, np.float32)
    there = [torch.from_numpy(here).to(kind), torch.as_tensor(here, device=kind)]
    back = there[0].cpu()
    for tensor in there:
        tensor.add_(1)
    assert here.tolist() == back.tolist() == [0, 0]


def trained(device: str) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Return a network's weights after three steps on a device, and the gradient of an input that stays on the CPU."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
    first = network[0].weight
    network.to(device)
    average = copy.deepcopy(network)
    assert network[0].weight is first and first in set(network.parameters())  # as ``to`` does on a GPU
    optimizer, tint = torch.optim.AdamW(network.parameters(), lr=0.1), torch.ones(3, requires_grad=True)
    images = torch.rand(2, 3, 8, 8)
    for _ in range(3):
        optimizer.zero_grad()
        loss = network(images.to(device) * tint.to(device).view(1, 3, 1, 1)).square().mean()
        loss.backward()
        assert first.grad is not None and first.grad.device.type == device and loss.device.type == device
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    average.load_state_dict(network.state_dict())
    assert tint.grad is not None and tint.grad.device.type == "cpu"
    assert all(value.device.type == device for value in average.state_dict().values())
    network.cpu()
    assert all(type(parameter) is nn.Parameter for parameter in network.parameters())
    return [value.cpu() for value in average.state_dict().values()], tint.grad


def test_pretended_gpu_trains_as_the_cpu_does(kind: str) -> None:
    for found, expected in zip(trained(kind), trained("cpu"), strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=0)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_pretended_gpu_heeds_the_autocast_of_its_own_kind(kind: str, half: torch.dtype) -> None:
    there, x = nn.Linear(3, 2).to(kind), torch.ones(1, 3)
    with torch.autocast(kind, half):
        assert there(x.to(kind)).dtype == half and nn.Linear(3, 2)(x).dtype == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert there(x.to(kind)).dtype == torch.float32


def test_pretended_gpu_is_there_in_other_threads_and_ends_with_its_block() -> None:
    with pretended_gpu("cuda"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: torch.zeros(1, device="cuda").device.type).result() == "cuda"
        assert torch.cuda.is_available() and torch.cuda.mem_get_info("cuda:0")[0] > 0
    with pytest.raises((AssertionError, RuntimeError)):
        torch.zeros(1, device="cuda:7")


def test_pretended_mps_has_no_float64() -> None:
    with pretended_gpu("mps"), pytest.raises(TypeError, match="doesn't support float64"):
        torch.from_numpy(np.ones(3)).to("mps")
