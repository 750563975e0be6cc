"""`drake unseen`: what the clients of finished runs score on the tasks that nobody has trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drake.errors import DrakeError
from drake.results import Results
from drake.scoring.answers import Protocol


@dataclass(frozen=True)
class Unseen:
    """One run. last: [seeds, clients, tasks] at the last evaluation point, fractions. zero_shot: [clients, tasks], what
    the bare backbones of the clients score on the same records. late: client -> the round it began in, from 1."""

    tasks: tuple[str, ...]
    last: NDArray[np.float64]
    zero_shot: NDArray[np.float64]
    late: dict[int, int]

    @property
    def gain(self) -> NDArray[np.float64]:
        """[seeds]: by how much training raised the mean over clients and tasks."""
        return self.last.mean((1, 2)) - self.zero_shot.mean()


def unseen(results: Results, protocol: Protocol = "official") -> Unseen:
    """DrakeError for a run that is not complete, and for one in which no such task was asked."""
    if results.status != "complete":
        raise DrakeError(f"a run of {results.method.name} is {results.status}; finish it by drake eval --resume.")
    if not results.runs:
        raise DrakeError(f"a run of {results.method.name} holds no seed; run it again.")
    owned = {task for client in results.clients for task in client.tasks}
    first = results.runs[0]
    columns = [k for k, task in enumerate(first.tasks) if task not in owned]
    if not columns or first.zero_shot is None:
        raise DrakeError(
            f"a run of {results.method.name} was asked no task that nobody trains on; run it with --eval-unseen last."
        )
    last = np.array([run.scores[protocol][-1] for run in results.runs], dtype=np.float64)[:, :, columns]
    before = np.array(first.zero_shot[protocol], dtype=np.float64)[:, columns]
    attendance = results.config.get("attendance")
    late = attendance.get("late") if isinstance(attendance, dict) else None
    starts = {int(client): int(str(round)) for client, round in late.items()} if isinstance(late, dict) else {}
    return Unseen(tuple(first.tasks[k] for k in columns), last, before, starts)


def same_tasks(found: Sequence[Unseen]) -> tuple[str, ...]:
    """The tasks of all of these runs; DrakeError where they differ."""
    if len({one.tasks for one in found}) > 1:
        raise DrakeError("the runs have different unseen tasks, so they cannot share a table; name them apart.")
    return found[0].tasks
