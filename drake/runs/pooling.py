"""Batches of several clients as the batches of one, for methods that train one model on them all (`Method.pooled`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def pooled(clients: Sequence[Sequence[Sequence[T]]]) -> list[list[T]]:
    """As many batches of the same records, each with records of several clients. clients: [client][step][record].

    The records of step k of all clients are dealt out one by one to as many batches as there are clients that have a
    step k. All batches must have the same size.

    >>> pooled([[[1, 2]], [[3, 4]]])
    [[1, 3], [2, 4]]
    """
    found: list[list[T]] = []
    for step in range(max(map(len, clients), default=0)):
        batches = [steps[step] for steps in clients if step < len(steps)]
        records = [record for batch in batches for record in batch]
        found += [records[first :: len(batches)] for first in range(len(batches))]
    return found
