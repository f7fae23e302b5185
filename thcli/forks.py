"""Work on many items, in their order, in forked processes of one thread each.

A frame is made in many small steps. Two threads make one in little less time than one thread, but two processes of one
thread each make two frames in the time of one. A forked process has everything that its parent has loaded, at once and
without a copy. What it makes does not depend on the number of processes, because each computes on one thread.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import warnings
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Generic, NoReturn, TypeVar

from thcli.device import give_back_freed_memory, keep_freed_memory
from thcli.errors import DeviceError, ThgenError, named_bug
from thcli.threads import compute_alone, usable_cores

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST = 8
"""Most processes by default; each takes some hundred MB of memory while it works."""
AHEAD = 2
"""Most items per process that are worked on, or whose results wait for an earlier one."""
COMPUTING = RLock()
"""Lock that a thread holds while it computes with PyTorch, or forks, where another one may do either.

A process that is forked while another thread is computing could wait for ever for a lock that this thread held.
"""
KILLED = "a rendering process was killed, most likely for want of memory; take fewer --workers, or free some memory"


def forks_of(device: str, workers: int | None = None) -> int:
    """Return how many processes to fork for work on a device; 0 where this process has to work itself.

    workers: number that the user asks for; None for one on each usable core, up to ``MOST``

    A GPU does not survive a fork, and nor do the libraries of other systems than Linux.
    """
    if device != "cpu" or sys.platform != "linux":
        return 0
    return workers or min(usable_cores(), MOST)


def most_at_a_time(count: int) -> int:
    """Return how many items ``Forks`` of ``count`` processes has at most taken and not finished.

    An item is finished when the result after its own is asked for.
    """
    return AHEAD * count or 1


@dataclass
class _Fork:
    """A forked process, and this process's end of the pipe to it."""

    process: int
    pipe: Connection


class Forks(Generic[Item, Result]):
    """Context manager of forked processes that do one kind of work; with 0 of them, this process does it.

    work: function of an item; it is not pickled, but items and results are
    count: number of processes

    Threads that compute meanwhile must hold ``COMPUTING``.
    """

    def __init__(self, work: Callable[[Item], Result], count: int) -> None:
        self._work = work
        self._forks: list[_Fork] = []
        self._end = weakref.finalize(self, _end, self._forks, os.getpid())
        try:
            with COMPUTING, _objects_left_alone():
                if count:
                    give_back_freed_memory()  # else each process would write to a copy of its own
                for _ in range(count):
                    self._forks.append(_fork(work))
        except OSError as error:
            self.close()
            raise DeviceError(
                f"cannot start a rendering process ({error.strerror}); take fewer --workers, or free some memory"
            ) from error
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Forks[Item, Result]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the processes, whatever they are at; this also happens once nobody holds the object any more."""
        self._end()

    def map(self, items: Iterable[Item]) -> Generator[Result, None, None]:
        """Yield the result of each item, in their order.

        Raises the ThgenError that ``work`` raises, RuntimeError for any other error, and DeviceError where a process is
        killed.
        """
        if not self._forks:
            yield from map(self._work, items)
            return
        waiting = enumerate(items)
        idle, busy = deque(self._forks), dict[int, tuple[_Fork, int]]()
        done: dict[int, Result] = {}
        wanted = 0
        while True:
            room = most_at_a_time(len(self._forks)) - len(done)
            while idle and len(busy) < room and (following := next(waiting, None)) is not None:
                fork = idle.popleft()
                _send(fork, following[1])
                busy[fork.pipe.fileno()] = fork, following[0]
            if wanted in done:
                yield done.pop(wanted)
                wanted += 1
            elif busy:
                for pipe in wait([fork.pipe for fork, _ in busy.values()]):
                    fork, number = busy.pop(pipe.fileno())  # type: ignore[union-attr]
                    done[number] = _result(fork)
                    idle.append(fork)
            else:
                return


class Ahead(Forks[None, Result]):
    """Context manager of one piece of work that a forked process does while this process does something else.

    work: it is not pickled, but its result is
    forked: whether there is such a process; otherwise the work is done when its result is asked for
    """

    def __init__(self, work: Callable[[], Result], forked: bool) -> None:
        super().__init__(lambda _: work(), int(forked))
        for fork in self._forks:
            _send(fork, None)

    def __enter__(self) -> Ahead[Result]:
        return self

    def result(self) -> Result:
        """Return what the work makes, once; raises as ``map`` does."""
        return _result(self._forks[0]) if self._forks else self._work(None)


def _end(forks: list[_Fork], parent: int) -> None:
    if os.getpid() != parent:
        return  # a process that was forked later knows of them, but they are not its own
    for fork in forks:
        fork.pipe.close()
        os.kill(fork.process, signal.SIGKILL)
    for fork in forks:
        os.waitpid(fork.process, 0)
    forks.clear()


def _send(fork: _Fork, item: object) -> None:
    try:
        fork.pipe.send(item)
    except ConnectionError as error:
        raise DeviceError(KILLED) from error


def _result(fork: _Fork) -> Result:  # type: ignore[type-var]
    try:
        result = fork.pipe.recv()
    except (EOFError, OSError) as error:  # OSError where a result ends in the middle
        raise DeviceError(KILLED) from error
    if isinstance(result, _Failed):
        raise result.error
    return result


@dataclass
class _Failed:
    """Error that the work on an item raised, in place of its result."""

    error: BaseException


@contextmanager
def _objects_left_alone() -> Iterator[None]:
    """Keep the garbage collectors of processes forked in a block from touching, and so copying, what there is."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def _fork(work: Callable[[Item], Result]) -> _Fork:
    ours, theirs = Pipe()
    with warnings.catch_warnings():
        # Python warns of any fork while there are threads; those of the libraries are idle.
        warnings.simplefilter("ignore", DeprecationWarning)
        process = os.fork()
    if process == 0:
        _serve(work, theirs)
    theirs.close()
    return _Fork(process, ours)


def _serve(work: Callable[[Item], Result], pipe: Connection) -> NoReturn:
    """Work on the items that come through a pipe until it is closed, in a process that has just been forked."""
    try:
        _be_alone(pipe.fileno())
        while True:
            item = pipe.recv()
            try:
                result: Result | _Failed = work(item)
            except ThgenError as error:
                result = _Failed(error)
            except Exception as error:  # others may not survive the way through the pipe
                result = _Failed(RuntimeError(named_bug(error)))
            pipe.send(result)
    except (EOFError, ConnectionError):
        pass  # the parent has ended, or has no more work
    finally:
        os._exit(0)


def _be_alone(pipe: int) -> None:
    """Keep this process's hands off what it shares with its parent, and let it compute on one thread.

    Files are closed because a pipe ends only when all who have it open close it. Signals of the terminal are left to
    the parent, which ends this process.
    """
    compute_alone()
    keep_freed_memory()
    for ignored in (signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1):
        os.dup2(nowhere, standard)
    for number in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        if number > 2 and number != pipe:
            with suppress(OSError):
                os.close(number)
