"""Work on many things by several processes, each of which may be killed without harm to the others."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def spread(work: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[tuple[Item, Result | None]]:
    """Each item with what ``work`` makes of it, as they are done; None where the process at work on it was killed.

    work, items: what pickle takes; an error of ``work`` ends everything
    """
    waiting = deque(items)
    while waiting:
        suspects = yield from _until_killed(work, waiting, workers)
        # One of these took its process with it; each on its own, the others are done.
        for item in suspects:
            if (yield from _until_killed(work, deque([item]), 1)):
                yield item, None


def _until_killed(
    work: Callable[[Item], Result], waiting: deque[Item], workers: int
) -> Generator[tuple[Item, Result], None, list[Item]]:
    """Takes items from those that wait; returns those in work when a process was killed, none at the end."""
    running: dict[Future[Result], Item] = {}
    # Spawned, not forked: the threads of the libraries do not survive a fork.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), initializer=_end_with_parent)
    try:
        while waiting or running:
            # No more than keeps the workers busy: data sets have a million clips.
            while waiting and len(running) < 2 * workers:
                job = pool.submit(work, waiting[0])
                running[job] = waiting.popleft()
            for job in wait(running, return_when=FIRST_COMPLETED).done:
                result = job.result()
                yield running.pop(job), result
    except BrokenProcessPool:
        return list(running.values())
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return []


def _end_with_parent() -> None:
    """A worker whose parent is killed would go on, and then wait for ever; so it ends as soon as the parent does."""

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def is_running(process: int) -> bool:
    """Whether a process of this machine, by its number, has not ended."""
    if os.name != "posix":
        return True  # there, signal 0 would not be a question
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
