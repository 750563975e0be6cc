"""A pool of worker processes (slots), shared by the engines `processes` and `ray`. Each slot does one task at a time,
and the longest tasks are started first. When a slot is lost, it is replaced and its task is done again.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from drake.common.stopping import safe_point
from drake.engines.tasks import Task, moved, perform
from drake.engines.worker import Worker
from drake.errors import DrakeError

Ticket = TypeVar("Ticket", bound=Hashable)

TRIES = 3
"""How often a task is started; when its slot is lost as often as that, the run ends."""
PATIENCE = 0.5
"""Longest wait for a result, in seconds; after it, signals such as Ctrl-C are handled."""


class Lost(Exception):
    """The process of a slot has ended before it returned a result."""


class Slot(ABC, Generic[Ticket]):
    """One process."""

    def serves(self, task: Task) -> bool:
        """Whether it may do the task."""
        return True

    @abstractmethod
    def begin(self, seed: int, task: Task) -> Ticket:
        """Start a task in the slot; returns a ticket, for `Slots.wait` and `Slots.take`."""

    @abstractmethod
    def replace(self) -> None:
        """Start a new process after the slot was lost."""


class Slots(ABC, Generic[Ticket]):
    """An engine that runs tasks in slots, for one seed. worker: the worker of this process."""

    def __init__(self, worker: Worker, slots: Sequence[Slot[Ticket]]) -> None:
        self.worker = worker
        self._slots = slots

    @abstractmethod
    def wait(self, running: Sequence[Ticket], seconds: float) -> Sequence[Ticket]:
        """The tickets of those tasks that are done; an empty list when none is after so many seconds."""

    @abstractmethod
    def take(self, ticket: Ticket) -> Any:
        """The value that `attempt` returned in the slot; raises Lost when the slot is lost."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result) of every task, as each is done. A DrakeError of a task is raised as it is, another exception
        as a RuntimeError with the slot's traceback."""
        seed = self.worker.federation.seed
        waiting = sorted(range(len(tasks)), key=lambda index: (-tasks[index].weight, index))
        idle, begun = list(self._slots), [0] * len(tasks)
        running: dict[Ticket, tuple[Slot[Ticket], int]] = {}
        while waiting or running:
            for slot in list(idle):
                index = next((index for index in waiting if slot.serves(tasks[index])), None)
                if index is not None:
                    begun[index] += 1
                    waiting.remove(index)
                    idle.remove(slot)
                    running[slot.begin(seed, tasks[index])] = slot, index
            done = self.wait(list(running), PATIENCE)
            safe_point()
            for ticket in done:
                slot, index = running.pop(ticket)
                idle.append(slot)
                try:
                    result = self.take(ticket)
                except Lost as loss:
                    slot.replace()
                    if begun[index] == TRIES:
                        raise DrakeError(
                            f"{tasks[index].label}: its process was lost {TRIES} times, usually because memory ran out "
                            f"({loss})."
                        ) from loss
                    waiting.insert(0, index)
                    continue
                if isinstance(result, Failure):
                    result.raise_for(tasks[index])
                yield index, result


@dataclass(frozen=True)
class Failure:
    """An exception of a task in a slot. message: its sentence or traceback. expected: whether it was a DrakeError."""

    message: str
    expected: bool

    def raise_for(self, task: Task) -> None:
        """Raise the exception in this process: a DrakeError where it was expected, else a RuntimeError."""
        if self.expected:
            raise DrakeError(self.message)
        raise RuntimeError(f"{task.label} failed in another process:\n{self.message}")


def attempt(task: Task, worker: Worker) -> Any:
    """Called in a slot: the task's result with its tensors on the CPU, or a Failure."""
    try:
        return moved(perform(task, worker), "cpu")
    except DrakeError as error:
        return Failure(str(error), True)
    except Exception:
        return Failure(traceback.format_exc(), False)
