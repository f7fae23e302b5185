"""Preparation of items in a thread, ahead of their use: a job is prepared while the one before it is rendered."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


def prefetch(items: Iterable[T], room: int) -> Generator[T, None, None]:
    """Yield items that a thread makes while earlier ones are used.

    An error in making an item is raised in its place. Closing the generator, for example with ``contextlib.closing``,
    waits for the item that is being made; no further item is made.

    room: most items that wait or are being made at a time
    """
    ready: SimpleQueue[tuple[T] | BaseException | None] = SimpleQueue()
    free, closed = Semaphore(room), Event()

    def work() -> None:
        source = iter(items)
        try:
            while True:
                free.acquire()
                if closed.is_set():
                    return
                ready.put((next(source),))
        except StopIteration:
            ready.put(None)
        except BaseException as error:
            ready.put(error)

    thread = Thread(target=work, name="ahead", daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            free.release()
            yield item[0]
    finally:
        closed.set()
        free.release()
        thread.join()
