"""``prefetch`` makes items ahead in a thread: as many as there is room for, errors in their place, and it ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from thcli.batch.prefetch import prefetch


def counted(made: list[int], end: int) -> Iterator[int]:
    for n in range(end):
        made.append(n)
        yield n


def settled(made: list[int]) -> int:
    """Number of items that are made when nothing more happens."""
    count = -1
    while count != len(made):
        count = len(made)
        time.sleep(0.1)
    return count


@pytest.fixture
def started() -> Callable[[], set[threading.Thread]]:
    """started(): the threads that run now and did not run when the test began."""
    before = set(threading.enumerate())
    return lambda: set(threading.enumerate()) - before


Started = Callable[[], set[threading.Thread]]


@pytest.mark.parametrize("room", [1, 3])
def test_prefetch_makes_as_many_items_ahead_as_there_is_room_for(room: int, started: Started) -> None:
    made: list[int] = []
    with closing(prefetch(counted(made, 9), room)) as items:
        for n in range(3):
            assert next(items) == n
            assert settled(made) == n + 1 + room
        assert started()
        assert list(items) == list(range(3, 9))
    assert made == list(range(9)) and not started()


def test_prefetch_raises_an_error_where_the_item_would_have_come(started: Started) -> None:
    def items() -> Iterator[str]:
        yield "a"
        yield "b"
        raise LookupError("no c")

    given = prefetch(items(), 5)
    assert [next(given), next(given)] == ["a", "b"]
    with pytest.raises(LookupError, match="no c"):
        next(given)
    assert not started()


@pytest.mark.parametrize("room", [1, 5])
def test_prefetch_ends_its_thread_when_it_is_closed(room: int, started: Started) -> None:
    made: list[int] = []
    with closing(prefetch(counted(made, 10_000_000), room)) as items:
        next(items)
    assert not started()
    count = len(made)
    time.sleep(0.1)
    assert len(made) == count <= 2 + room


def test_prefetch_makes_all_items_in_another_thread() -> None:
    in_main_thread = (threading.current_thread() is threading.main_thread() for _ in range(2))
    assert list(prefetch(in_main_thread, 1)) == [False, False]
