"""Batches made ahead: the same ones in the same order, one ahead and no more, errors where they belong."""

import threading
import time

import pytest

from drake.engines.prefetch import ahead
from drake.errors import DrakeError


def test_the_same_items_come_in_the_same_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter([]))) == []
    assert list(ahead(iter([None, 0]))) == [None, 0]


def test_one_item_is_made_ahead_in_another_thread_and_no_more():
    made, threads = [], set()

    def items():
        for number in range(5):
            made.append(number)
            threads.add(threading.current_thread())
            yield number

    for number in ahead(items()):
        deadline = time.monotonic() + 5
        while len(made) < min(5, number + 2) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert made == list(range(min(5, number + 2)))
    assert len(threads) == 1
    assert threading.current_thread() not in threads


@pytest.mark.parametrize("error", [DrakeError("record 'x' has no picture."), KeyboardInterrupt()])
def test_an_error_comes_where_its_item_would_have_come(error):
    def items():
        yield 0
        yield 1
        raise error

    found = ahead(items())
    assert [next(found), next(found)] == [0, 1]
    with pytest.raises(type(error)) as raised:
        next(found)
    assert raised.value is error


def test_who_stops_early_leaves_no_thread_behind():
    before = threading.active_count()
    for item in ahead(iter(range(100))):
        if item == 3:
            break
    deadline = time.monotonic() + 5
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.001)
    assert threading.active_count() == before
