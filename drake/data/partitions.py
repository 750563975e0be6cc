"""More clients than a dataset has (`--clients`): which tasks they get, and which part of a task's train records each of
them holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from drake.common.seeds import derive
from drake.data.schedules import Rounds, federation_schedule, schedule

LEAST = 10
"""Train records of a task that a client gets at least, where the task has as many."""


def shared_clients(clients: Sequence[Sequence[str]], count: int | None) -> tuple[tuple[str, ...], ...]:
    """The tasks of `count` clients: client i has those of client i modulo the number that the dataset has; a smaller
    count leaves the first ones. None: the dataset's own."""
    wanted = len(clients) if count is None else count
    return tuple(tuple(clients[number % len(clients)]) for number in range(wanted))


def part(rows: Sequence[int], number: int, parts: int) -> list[int]:
    """Part `number` (from 0) of a task's shuffled train records, for the client that is the number-th of `parts` which
    share the task.

    The n records are cut into disjoint parts of n / parts. Where these would be smaller than `LEAST`, every part has
    `LEAST` records (all n, if the task has fewer), which begin where its cut lies and go on from the first record after
    the last: such parts overlap as little as they can.
    """
    start, stop = number * len(rows) // parts, (number + 1) * len(rows) // parts
    wanted = max(stop - start, min(LEAST, len(rows)))
    return [rows[(start + place) % len(rows)] for place in range(wanted)]


def shared_schedule(
    split: str,
    clients: Sequence[Sequence[str]],
    sizes: Mapping[str, int],
    rounds_per_task: float,
    seed: int,
    alpha: float = 0.5,
) -> list[Rounds]:
    """`federation_schedule` for clients that may share tasks: each then has its part of the task's records, and its
    stream is drawn from that part alone. "dirichlet-across" spreads every task over all clients anyway."""
    owners: dict[str, list[int]] = {}
    for client, tasks in enumerate(clients):
        for task in tasks:
            owners.setdefault(task, []).append(client)
    shared = {task: sharing for task, sharing in owners.items() if len(sharing) > 1}
    if not shared or split == "dirichlet-across":
        return federation_schedule(split, clients, sizes, rounds_per_task, seed, alpha)
    held: list[dict[str, Sequence[int]]] = [{task: range(sizes[task]) for task in tasks} for tasks in clients]
    for task, sharing in shared.items():
        generator = np.random.default_rng(derive(seed, "stream-parts", task))
        shuffled: list[int] = generator.permutation(sizes[task]).tolist()
        for number, client in enumerate(sharing):
            held[client][task] = part(shuffled, number, len(sharing))
    found: list[Rounds] = []
    for client, rows in enumerate(held):
        own = {task: len(of_task) for task, of_task in rows.items()}
        drawn = schedule(split, own, rounds_per_task, seed, client, alpha)
        found.append([[(task, rows[task][place]) for task, place in arrived] for arrived in drawn])
    return found
