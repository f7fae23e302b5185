"""Forked processes give results in order, alike for any number, pass errors on, and leave no process behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path

import numpy as np
import pytest
import torch

from thcli import forks
from thcli.data.processes import is_running
from thcli.errors import DeviceError, MediaError, NoFaceError
from thcli.forks import AHEAD, Ahead, Forks, forks_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks are for Linux")


def square(number: int) -> tuple[int, int]:
    return number * number, os.getpid()


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_map_keeps_the_order_for_any_number_of_processes(count: int) -> None:
    with Forks(square, count) as forks:
        results = list(forks.map(range(23)))
        assert [value for value, _ in results] == [n * n for n in range(23)]
        assert list(forks.map([])) == [] and next(forks.map([7]))[0] == 49
    processes = {process for _, process in results}
    assert len(processes) <= max(count, 1)
    assert (os.getpid() in processes) == (count == 0)
    assert not any(is_running(process) for process in processes - {os.getpid()})


def test_map_keeps_the_order_where_a_later_item_is_done_first() -> None:
    with Forks(lambda n: (time.sleep(0.2 * (n == 0)), n)[1], 3) as forks:
        assert list(forks.map(range(9))) == list(range(9))


def test_map_takes_no_more_items_than_it_needs() -> None:
    taken = 0

    def items() -> Iterator[int]:
        nonlocal taken
        for number in range(200):
            taken += 1
            yield number

    with Forks(square, 2) as forks:
        for number, _ in enumerate(forks.map(items())):
            assert taken - number <= 2 * (AHEAD + 2)


def test_processes_compute_on_one_thread_and_give_the_same_bytes() -> None:
    def work(seed: int) -> tuple[int, np.ndarray]:
        generator = torch.Generator().manual_seed(seed)
        image = torch.rand(4, 8, 96, 96, generator=generator)
        kernel = torch.rand(8, 8, 3, 3, generator=generator)
        return torch.get_num_threads(), torch.nn.functional.conv2d(image, kernel).numpy()

    made = []
    for count in (1, 3):
        with Forks(work, count) as forks:
            threads, images = zip(*forks.map(range(6)), strict=True)
        assert set(threads) == {1}
        made.append(np.stack(images))
    np.testing.assert_array_equal(*made)


def test_map_passes_large_items_and_results_through() -> None:
    """Larger than what a pipe holds: neither side may wait for the other for ever."""
    large = np.arange(1 << 20)
    with Forks(lambda array: array + 1, 2) as forks:
        for number, result in enumerate(forks.map([large * n for n in range(8)])):
            np.testing.assert_array_equal(result, large * number + 1)


@pytest.mark.parametrize(
    ("error", "raised", "message"),
    [
        (MediaError("clip.mp4: damaged"), MediaError, "clip.mp4: damaged"),
        (ValueError("odd"), RuntimeError, r"^ValueError: odd; test_forks.py line \d+$"),
    ],
)
def test_map_raises_what_work_raises(error: Exception, raised: type[Exception], message: str) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise error
        return number

    with Forks(work, 2) as forks, pytest.raises(raised, match=message):
        list(forks.map(range(50)))


def test_map_names_the_likely_cause_where_a_process_is_killed() -> None:
    def work(number: int) -> int:
        if number == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with Forks(work, 2) as forks, pytest.raises(DeviceError, match="was killed, most likely for want of memory") as e:
        list(forks.map(range(50)))
    assert e.value.exit_code == 6


def test_map_names_the_same_cause_where_a_process_is_killed_in_the_middle_of_a_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def wait_and_kill(pipes: list[Connection]) -> list[object]:
        ready = wait(pipes)
        for fork in working._forks:
            os.kill(fork.process, signal.SIGKILL)
            os.waitid(os.P_PID, fork.process, os.WEXITED | os.WNOWAIT)
        return ready

    monkeypatch.setattr(forks, "wait", wait_and_kill)
    # A pipe holds far less than this result, so that the process is still writing it.
    with Forks(lambda _: bytes(1 << 22), 1) as working, pytest.raises(DeviceError, match="was killed"):
        next(working.map([0]))


def test_processes_end_with_their_parent() -> None:
    """Also where the parent is killed, and while a second set of processes has been forked later."""
    code = (
        "import os, sys, time\n"
        "from thcli.forks import Forks\n"
        "def work(n): return os.getpid()\n"
        "first = Forks(work, 2); second = Forks(work, 2)\n"
        "print(*first.map(range(8)), *second.map(range(8)), flush=True)\n"
        "time.sleep(60)\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    processes = set(map(int, parent.stdout.readline().split()))
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 20
    while any(map(is_running, processes)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes and not any(map(is_running, processes))


def test_processes_end_once_nobody_holds_them() -> None:
    forks = Forks(square, 2)
    processes = {process for _, process in forks.map(range(8))}
    del forks
    assert processes and not any(is_running(process) for process in processes)


def test_forks_of_leaves_gpus_and_other_systems_to_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert forks_of("cuda:0") == forks_of("mps") == forks_of("cuda", 3) == 0
    assert forks_of("cpu", 3) == 3 and 1 <= forks_of("cpu") <= 8
    monkeypatch.setattr(sys, "platform", "darwin")
    assert forks_of("cpu") == forks_of("cpu", 2) == 0


@pytest.mark.parametrize("forked", [True, False])
def test_ahead_returns_what_the_work_makes_of_what_was_there_when_it_began(forked: bool) -> None:
    known = [1]
    with Ahead(lambda: (os.getpid(), list(known)), forked) as ahead:
        known.append(2)
        process, found = ahead.result()
    assert (process != os.getpid()) is forked
    assert found == ([1] if forked else [1, 2])


@pytest.mark.parametrize("forked", [True, False])
def test_ahead_raises_what_the_work_raises(forked: bool) -> None:
    def work() -> None:
        raise NoFaceError("clip.mp4: no face")

    with Ahead(work, forked) as ahead, pytest.raises(NoFaceError, match=r"^clip\.mp4: no face$"):
        ahead.result()


def test_ahead_ends_its_process_where_nobody_asks_for_the_result() -> None:
    with Ahead(lambda: time.sleep(600), True) as ahead:
        process = ahead._forks[0].process
    assert not Path(f"/proc/{process}").exists()
