"""Items made ahead in a thread: as many as there is room for, errors in their place, and a thread that ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from thcli.batch.overlap import ahead


def counted(made: list[int], end: int) -> Iterator[int]:
    for n in range(end):
        made.append(n)
        yield n


def settled(made: list[int]) -> int:
    """How many are made when nothing more happens."""
    count = -1
    while count != len(made):
        count = len(made)
        time.sleep(0.1)
    return count


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "ahead"]


@pytest.mark.parametrize("room", [1, 3])
def test_so_many_are_ahead(room: int) -> None:
    made: list[int] = []
    with closing(ahead(counted(made, 9), room)) as items:
        for n in range(3):
            assert next(items) == n
            assert settled(made) == n + 1 + room
        assert list(items) == list(range(3, 9))
    assert made == list(range(9)) and not threads()


def test_an_error_comes_where_the_item_would_have_come() -> None:
    def items() -> Iterator[str]:
        yield "a"
        yield "b"
        raise LookupError("no c")

    given = ahead(items(), 5)
    assert [next(given), next(given)] == ["a", "b"]
    with pytest.raises(LookupError, match="no c"):
        next(given)
    assert not threads()


@pytest.mark.parametrize("room", [1, 5])
def test_closing_ends_the_thread_wherever_it_is(room: int) -> None:
    made: list[int] = []
    with closing(ahead(counted(made, 10_000_000), room)) as items:
        next(items)
    assert not threads()
    count = len(made)
    time.sleep(0.1)
    assert len(made) == count <= 2 + room


def test_it_is_another_thread() -> None:
    assert list(ahead((threading.current_thread() is threading.main_thread() for _ in range(2)), 1)) == [False, False]
