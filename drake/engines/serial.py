"""What an engine is, and the one that works in this process.

An engine takes tasks and gives back their results. `Serial` works here; `pool.Slots` hands tasks to forked processes
(`processes`) or to GPUs and machines (`ray_cluster`), to the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Generic, Protocol, TypeVar

from drake.engines.tasks import Task, perform
from drake.engines.worker import Worker

T = TypeVar("T")


class Shared(Generic[T]):
    """A value that several tasks carry."""

    def __init__(self, value: T) -> None:
        self._value = value

    def get(self) -> T:
        return self._value


class Engine(Protocol):
    """Where tasks are done."""

    worker: Worker
    """This process's own worker, for what is done once: states before the first round, the server's part."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index of the task, its result) of every task, in whatever order they are done."""
        ...

    def share(self, value: T) -> Shared[T]:
        """The value in a form that tasks carry at little cost."""
        ...


class Serial:
    """One task after another, here."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        for index, task in enumerate(tasks):
            yield index, perform(task, self.worker)

    def share(self, value: T) -> Shared[T]:
        return Shared(value)
