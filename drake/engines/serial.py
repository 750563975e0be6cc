"""The interface of an engine, and the serial engine.

An engine takes tasks and returns their results. `Serial` does them in this process; `pool.Slots` in forked processes
(`processes`) or on GPUs and machines (`ray_cluster`). All return the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from drake.engines.tasks import Task, perform
from drake.engines.worker import Worker

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that several tasks need."""

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        return self._value


class Engine(Protocol):
    """Does tasks, in this process or in others."""

    worker: Worker
    """The worker of this process, for work that is done once: initial states, the server's aggregation."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index of the task, its result) of every task, in the order in which they are done."""
        ...

    def share(self, value: T) -> Shared[T]:
        """The value in a form that is cheap to send with every task."""
        ...


class Serial:
    """Does one task after another in this process."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            yield index, perform(task, self.worker)

    def share(self, value: T) -> Shared[T]:
        return Shared(value)
