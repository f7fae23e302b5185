"""Work on many items in several processes, each of which may be killed without harm to the others."""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children, get_context, parent_process
from threading import Thread
from typing import TypeVar

from thcli.signals import Stopped, stopped_by_signals

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    work: Callable[[Item], Result], items: Sequence[Item], workers: int
) -> Iterator[tuple[Item, Result | None]]:
    """Yield each item with its result when it is done; None where the process that worked on it was killed.

    work, items: function and its arguments, which must be picklable; an error that ``work`` raises ends the run
    workers: number of processes
    """
    waiting = deque(items)
    while waiting:
        suspects = yield from _until_killed(work, waiting, workers)
        # One of these items killed its process; run one by one, the others can be done.
        for item in suspects:
            if (yield from _until_killed(work, deque([item]), 1)):
                yield item, None


def _until_killed(
    work: Callable[[Item], Result], waiting: deque[Item], workers: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Work on waiting items until none are left or a process is killed; return the items in work when that happened."""
    running: dict[Future[Result], Item] = {}
    others = set(active_children())
    # Processes are spawned, not forked, because the threads of the libraries do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_begin)
    try:
        while waiting or running:
            # Only as many items are submitted as keep the workers busy: data sets have a million clips.
            while waiting and len(running) < 2 * workers:
                job = pool.submit(_work_on, work, waiting[0])
                running[job] = waiting.popleft()
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                result = job.result()
                yield running.pop(job), result
    except BrokenProcessPool:
        return list(running.values())
    except BaseException:
        for worker in set(active_children()) - others:
            worker.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _work_on(work: Callable[[Item], Result], item: Item) -> Result:
    """Work on an item in this worker; where a signal ends the worker, clean up first."""
    try:
        with stopped_by_signals():
            return work(item)
    except Stopped as stopped:
        os.kill(os.getpid(), stopped.number)
        raise


def _begin() -> None:
    """Let Ctrl-C end this worker without a traceback, and end it as soon as its parent ends.

    Otherwise it would go on when its parent is killed, and wait for ever.
    """
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def is_running(process: int) -> bool:
    """Return whether the process of this machine with the given number is running."""
    if os.name != "posix":
        return True  # signal 0 only asks on POSIX
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
