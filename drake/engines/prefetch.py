"""The next step's batch, made while the present one trains. A client's round on a GPU goes through this."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

T = TypeVar("T")

_END = object()


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items, each made in one other thread while the one before it is in use.

    What making an item raises is raised where that item would have come. Whoever stops early waits for the item that is
    being made.
    """
    with ThreadPoolExecutor(1, "next batch") as maker:
        pending = maker.submit(next, items, _END)
        while (item := pending.result()) is not _END:
            pending = maker.submit(next, items, _END)
            yield cast("T", item)
