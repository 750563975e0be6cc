"""Tasks on slots: processes that stay, each doing one task at a time, the longest tasks first. What the engines
`processes` and `ray` have in common: a slot that is lost is replaced and its task done again.
"""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from drake.common.stopping import safe_point
from drake.engines.tasks import Task, moved, perform
from drake.engines.worker import Worker
from drake.errors import DrakeError

TRIES = 3
"""How often a task is begun before its loss ends the run."""
PATIENCE = 0.5
"""Seconds after which a wait looks whether a signal has come."""


class Lost(Exception):
    """A slot is gone, and with it what it was doing."""


class Slot(ABC):
    """One process."""

    def serves(self, task: Task) -> bool:
        """Whether it may do the task."""
        return True

    @abstractmethod
    def begin(self, seed: int, task: Task) -> Hashable:
        """Hand it a task; returns what to wait for."""

    @abstractmethod
    def replace(self) -> None:
        """Open it again after it was lost."""


class Slots(ABC):
    """An engine over slots, for one seed. worker: this process's own."""

    def __init__(self, worker: Worker, slots: Sequence[Slot]) -> None:
        self.worker = worker
        self._slots = slots

    @abstractmethod
    def wait(self, running: Sequence[Hashable], seconds: float) -> Sequence[Hashable]:
        """Those of the begun tasks that are over; none after so many seconds."""

    @abstractmethod
    def take(self, ticket: Hashable) -> Any:
        """What `attempt` returned; raises Lost when the slot is gone."""

    def run(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Any]]:
        """(index, result) of every task, as each is done. A DrakeError of a task is raised as it is, another exception
        as a RuntimeError with the slot's traceback."""
        seed = self.worker.federation.seed
        waiting = sorted(range(len(tasks)), key=lambda index: (-tasks[index].weight, index))
        idle, running, begun = list(self._slots), {}, [0] * len(tasks)
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
                            f"{tasks[index].label}: its process was lost {TRIES} times, most often for want of memory "
                            f"({loss})."
                        ) from loss
                    waiting.insert(0, index)
                    continue
                if isinstance(result, Failure):
                    result.raise_for(tasks[index])
                yield index, result


@dataclass(frozen=True)
class Failure:
    """What went wrong in a slot. expected: a DrakeError, whose sentence is enough."""

    message: str
    expected: bool

    def raise_for(self, task: Task) -> None:
        """Raise it here."""
        if self.expected:
            raise DrakeError(self.message)
        raise RuntimeError(f"{task.label} failed in another process:\n{self.message}")


def attempt(task: Task, worker: Worker) -> Any:
    """In a slot: the task's result with its tensors on the CPU, or a Failure."""
    try:
        return moved(perform(task, worker), "cpu")
    except DrakeError as error:
        return Failure(str(error), True)
    except Exception:
        return Failure(traceback.format_exc(), False)
