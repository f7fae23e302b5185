"""Signals that ask a process to end, raised as an exception so that it cleans up as after Ctrl-C."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGHUP", "SIGINT") if hasattr(signal, name))
"""Signals that ask a process to end, from a service manager, a closed terminal, and Ctrl-C."""


class Stopped(KeyboardInterrupt):
    """Request of a signal that the process end.

    number: number of the signal
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise ``Stopped`` in a block at the first of the signals ``ENDING``, and ignore further ones.

    They are ignored so that they cannot cut short the cleaning up. Only signals that would end the process at once are
    handled: Python's own Ctrl-C raises KeyboardInterrupt already, and what ``nohup`` ignores stays ignored. Outside the
    main thread, the only one in which Python handles signals, nothing changes.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    heeded = [one for one in ENDING if in_main_thread and signal.getsignal(one) == signal.SIG_DFL]

    stopped = False

    def stop(number: int, _: FrameType | None) -> None:
        nonlocal stopped
        if not stopped:
            stopped = True
            raise Stopped(number)

    for one in heeded:
        signal.signal(one, stop)
    try:
        yield
    finally:
        for one in heeded:
            signal.signal(one, signal.SIG_DFL)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Set the handlers of the signals ``ENDING`` back to what they are, should a library set others in a block."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {one: signal.getsignal(one) for one in ENDING}
    try:
        yield
    finally:
        for one, handler in handlers.items():
            signal.signal(one, handler)
