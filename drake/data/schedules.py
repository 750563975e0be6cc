"""Schedules: the records that arrive at a client in each round, and the batches that it then trains on.

All functions are pure: no file, no dataset, no global generator. `drake.data.writer` stores the schedules made here in
a dataset; a run draws its local batches with `memory_batches`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from drake.common.seeds import derive
from drake.errors import DrakeError, UnknownName

T = TypeVar("T")
Rounds = list[list[tuple[str, int]]]
"""The (task, row) pairs that arrive in each round, in order; rows count from 0 in the train split of their task."""

SPLITS = ("dynamic", "static", "dirichlet", "dirichlet-across")


class Slice(NamedTuple):
    """Records `start` (included) to `stop` (excluded) of the task at index `task`."""

    task: int
    start: int
    stop: int


def round_slices(task_sizes: Sequence[int], rounds_per_task: float) -> list[list[Slice]]:
    """The records that arrive in each round if tasks arrive one after another and each lasts `rounds_per_task` rounds.

    With R = `rounds_per_task`, round k covers the stream from k/R to (k+1)/R in units of tasks, and the share [a, b) of
    a task of n records is int(a * n) to int(b * n). The arithmetic is in floating point, as in the official code, so a
    cut may be one record below the exact fraction; since every round starts at the same number at which the one before
    it stopped, each record is in exactly one slice. Empty slices are left out. R may be fractional; the last round ends
    with the last task.
    """
    tasks = len(task_sizes)
    count = num_rounds(tasks, rounds_per_task)
    rounds = []
    for k in range(count):
        begin = k / rounds_per_task
        end = (k + 1) / rounds_per_task if k + 1 < count else tasks
        slices = []
        for task in range(int(begin), tasks):
            size = task_sizes[task]
            start, stop = int(max(begin - task, 0) * size), int(max(min(end - task, 1), 0) * size)
            if start < stop:
                slices.append(Slice(task, start, stop))
        rounds.append(slices)
    return rounds


def num_rounds(tasks: int, rounds_per_task: float) -> int:
    """The number of rounds of a stream of `tasks` tasks: tasks * rounds_per_task, rounded up."""
    if not 0 < rounds_per_task < math.inf:
        raise DrakeError(f"rounds per task must be a number above 0, not {rounds_per_task}; 5 is usual.")
    return math.ceil(round(tasks * rounds_per_task, 9))  # 0.1 * 30 is 3.0000000000000004


def schedule(
    split: str, sizes: Mapping[str, int], rounds_per_task: float, seed: int, client: int, alpha: float = 0.5
) -> Rounds:
    """The stream of one client. sizes: number of train records by task, tasks in order of arrival.

    Every task is shuffled once, by (seed, task); then
    - "dynamic": tasks arrive one after another (`round_slices`);
    - "static": tasks are pooled, shuffled, and cut into equal rounds of int(total / rounds) records; the remainder,
      fewer than one per round, never arrives (with fewer records than rounds all arrive, at most one per round);
    - "dirichlet": rounds have the same equal sizes, but the proportions of the client's tasks in each round are drawn
      from Dir(alpha); where a task runs out, the round's next most probable task takes its place.

    Raises UnknownName for another split and DrakeError for "dirichlet-across", which only `federation_schedule` can
    draw, since it moves records between clients.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, list(SPLITS))
    if split == "dirichlet-across":
        raise DrakeError("the split 'dirichlet-across' spreads tasks over all clients; call federation_schedule.")
    shuffled = {task: _shuffled(size, seed, task) for task, size in sizes.items()}
    if split == "dynamic":
        names = list(sizes)
        return [
            [(names[task], row) for task, start, stop in slices for row in shuffled[names[task]][start:stop]]
            for slices in round_slices(list(sizes.values()), rounds_per_task)
        ]
    rounds = num_rounds(len(sizes), rounds_per_task)
    if split == "static":
        return _equal_rounds(shuffled, rounds, seed, client)
    return _mixed_rounds(shuffled, rounds, seed, client, alpha)


def federation_schedule(
    split: str,
    clients: Sequence[Sequence[str]],
    sizes: Mapping[str, int],
    rounds_per_task: float,
    seed: int,
    alpha: float = 0.5,
) -> list[Rounds]:
    """`schedule` of every client. clients: the tasks of each. sizes: number of train records by task, for all tasks.

    "dirichlet-across" splits every task's records over all clients by Dir(alpha), the label-skew split with the task as
    the label; each client's share is pooled, shuffled and cut into as many equal rounds as its own tasks would last.
    """
    if split != "dirichlet-across":
        return [
            schedule(split, {task: sizes[task] for task in tasks}, rounds_per_task, seed, client, alpha)
            for client, tasks in enumerate(clients)
        ]
    shares: list[dict[str, list[int]]] = [{} for _ in clients]
    for task in dict.fromkeys(task for tasks in clients for task in tasks):
        rows = _shuffled(sizes[task], seed, task)
        parts = _dirichlet(_generator(seed, "across", task), alpha, len(clients))
        cuts = [0, *(int(cut * len(rows)) for cut in np.cumsum(parts)[:-1]), len(rows)]
        for share, start, stop in zip(shares, cuts, cuts[1:], strict=False):
            share[task] = rows[start:stop]
    return [
        _equal_rounds(share, num_rounds(len(tasks), rounds_per_task), seed, client)
        for client, (share, tasks) in enumerate(zip(shares, clients, strict=True))
    ]


def memory_batches(
    arrivals: Sequence[Sequence[T]],
    steps: int | Sequence[int],
    batch: int,
    seed: int,
    client: int,
    *,
    capacity: int = 100_000,
    temperature: float = 0.125,
    decay: float = 0.99,
    stream_only: bool = False,
) -> list[list[list[T]]]:
    """The batches that a client trains on in each round, drawn from its online memory: `steps` of `batch` records each.

    arrivals: the records that arrive in each round, in order. They enter the memory one by one; once it holds
    `capacity` records, each replaces a random one. Each arrival is followed by steps / len(records) draws, rounded so
    that a round has exactly `steps` (one number, or one for each round). A draw takes `batch` different records with
    probability softmax(-c / temperature), where c counts the uses of a record and is multiplied by `decay` before each
    draw; a memory smaller than the batch is repeated to fill it. A round without arrivals draws from the memory.
    stream_only: take the round's records in order instead, cyclically; a round without arrivals takes those of the
    last round that had some.

    Rounds before the first arrival have no batches. The draws of round k are seeded by (seed, client, k), so rounds
    before k do not depend on later arrivals.
    """
    per_round = [steps] * len(arrivals) if isinstance(steps, int) else list(steps)
    if batch < 1 or min(per_round, default=0) < 0 or capacity < 1 or not temperature > 0:
        raise DrakeError(
            "the online memory needs batch >= 1, steps >= 0, capacity >= 1 and temperature > 0, not "
            f"batch {batch}, steps {steps}, capacity {capacity}, temperature {temperature}."
        )
    if stream_only:
        return list(_stream_batches(arrivals, per_round, batch))
    size = min(capacity, sum(map(len, arrivals)))
    memory: _Memory[T] = _Memory(size, batch, temperature, decay)
    rounds: list[list[list[T]]] = []
    for k, records in enumerate(arrivals):
        rng = _generator(seed, "memory", client, k)
        batches: list[list[T]] = []
        for arrived, record in enumerate(records, start=1):
            memory.add(record, rng)
            earned = arrived * per_round[k] // len(records)  # integers: exactly per_round[k] after the last arrival
            batches += [memory.draw(rng) for _ in range(earned - len(batches))]
        if not records and memory.records:
            batches = [memory.draw(rng) for _ in range(per_round[k])]
        rounds.append(batches)
    return rounds


class _Memory(Generic[T]):
    """Up to `size` records and their decayed numbers of uses; both are indexed by slot."""

    def __init__(self, size: int, batch: int, temperature: float, decay: float):
        self.records: list[T] = []
        self._uses = np.zeros(size)
        self._batch, self._temperature, self._decay = batch, temperature, decay

    def add(self, record: T, rng: np.random.Generator) -> None:
        if len(self.records) < len(self._uses):
            self.records.append(record)
            return
        slot = int(rng.integers(len(self.records)))
        self.records[slot] = record
        self._uses[slot] = 0

    def draw(self, rng: np.random.Generator) -> list[T]:
        uses = self._uses[: len(self.records)]
        uses *= self._decay
        # Sampling without replacement by exponential races: with E ~ Exp(1) per slot, the slots with the smallest E / p
        # are a draw with probabilities p. In logarithms, with p = exp(-c/T) up to a factor, nothing overflows.
        finish = np.log(rng.standard_exponential(len(uses))) + uses / self._temperature
        most = min(self._batch, len(uses))
        first = np.argpartition(finish, most - 1)[:most]
        slots = np.resize(first[np.argsort(finish[first])], self._batch)
        np.add.at(uses, slots, 1)  # unlike +=, counts a repeated slot as often as it occurs
        return [self.records[slot] for slot in slots]


def _stream_batches(arrivals: Sequence[Sequence[T]], steps: Sequence[int], batch: int) -> Iterator[list[list[T]]]:
    last: Sequence[T] = ()
    for records, count in zip(arrivals, steps, strict=True):
        last = records or last
        yield [
            [last[(step * batch + place) % len(last)] for place in range(batch)] for step in range(count if last else 0)
        ]


def _equal_rounds(rows: Mapping[str, Sequence[int]], rounds: int, seed: int, client: int) -> Rounds:
    pool = [(task, row) for task, of_task in rows.items() for row in of_task]
    order = _generator(seed, "pool", client).permutation(len(pool)).tolist()
    size = len(pool) // rounds
    cuts = [k * size if size else k * len(pool) // rounds for k in range(rounds + 1)]
    return [[pool[i] for i in order[start:stop]] for start, stop in pairwise(cuts)]


def _mixed_rounds(rows: Mapping[str, Sequence[int]], rounds: int, seed: int, client: int, alpha: float) -> Rounds:
    names = list(rows)
    left = np.array([len(rows[task]) for task in names])
    taken = np.zeros_like(left)
    total = int(left.sum())
    size = total // rounds
    result: Rounds = []
    for k in range(rounds):
        rng = _generator(seed, "mixture", client, k)
        wanted = size or (k + 1) * total // rounds - k * total // rounds
        mixture = _dirichlet(rng, alpha, len(names))
        counts = np.minimum(rng.multinomial(wanted, mixture), left)
        for task in np.argsort(-mixture, kind="stable"):
            counts[task] += min(left[task] - counts[task], wanted - counts.sum())
        arrived = [
            (name, row)
            for name, start, count in zip(names, taken, counts, strict=True)
            for row in rows[name][start : start + count]
        ]
        result.append([arrived[i] for i in rng.permutation(len(arrived))])
        taken += counts
        left -= counts
    return result


def _dirichlet(rng: np.random.Generator, alpha: float, parts: int) -> np.ndarray:
    if not 0 < alpha < math.inf:
        raise DrakeError(f"alpha must be a number above 0, not {alpha}; smaller is more uneven.")
    return rng.dirichlet(np.full(parts, alpha))


def _shuffled(size: int, seed: int, task: str) -> list[int]:
    return _generator(seed, "shuffle", task).permutation(size).tolist()


def _generator(seed: int, purpose: str, *parts: object) -> np.random.Generator:
    return np.random.default_rng(derive(seed, f"stream-{purpose}", *parts))
