"""Work done in a thread ahead of its use: a job is prepared while the one before it is drawn."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from queue import SimpleQueue
from threading import Event, Semaphore, Thread
from typing import TypeVar

T = TypeVar("T")


def ahead(items: Iterable[T], room: int) -> Generator[T, None, None]:
    """The items, made in a thread while those before are used: at most ``room`` of them wait or are being made.

    An error of theirs is raised where the item would have come. Closing, which ``contextlib.closing`` does in time,
    waits for the item that is being made, and none is made after that.
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
