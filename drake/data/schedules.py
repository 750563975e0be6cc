"""The stream room: which records a client meets in which round, and what it then trains on.

Pure functions of their arguments: no file, no dataset, no global generator. `drake.data.building` stores the
schedules made here in a dataset; the federation makes its local batches with `memory_batches`. Formulas:
docs/algorithms, section 1.
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
"""Per round the (task, row) that arrive, in order; a row counts from 0 within the train split of its task."""

SPLITS = ("dynamic", "static", "dirichlet", "dirichlet-across")


class Slice(NamedTuple):
    """Records `start` (included) to `stop` (excluded) of the task at index `task`."""

    task: int
    start: int
    stop: int


def round_slices(task_sizes: Sequence[int], rounds_per_task: float) -> list[list[Slice]]:
    """What arrives in each round when tasks come one after another and each lasts `rounds_per_task` rounds.

    Round k covers the stream from k/R to (k+1)/R in units of tasks, and the share [a, b) of a task of n
    records is int(a * n) .. int(b * n). The arithmetic is that of floats, as in the official code, so a cut
    may fall one record short of the fraction; as every round starts from the very number at which the one
    before it stopped, each record is in exactly one slice. Empty slices are left out. R may be fractional;
    the last round ends with the last task.
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
    """How many rounds a stream of that many tasks takes: tasks * rounds_per_task, rounded up."""
    if not 0 < rounds_per_task < math.inf:
        raise DrakeError(f"rounds per task must be a number above 0, not {rounds_per_task}; 5 is usual.")
    return math.ceil(round(tasks * rounds_per_task, 9))  # 0.1 * 30 is 3.0000000000000004


def schedule(
    split: str, sizes: Mapping[str, int], rounds_per_task: float, seed: int, client: int, alpha: float = 0.5
) -> Rounds:
    """The stream of one client, whose tasks and their numbers of train records are `sizes`, in order of
    arrival.

    Every task is shuffled once, by (seed, task); then
    - "dynamic" deals the tasks one after another (`round_slices`);
    - "static" pools them, shuffles, and cuts equal rounds of int(total / rounds) records; the rest, fewer
      than one per round, is never dealt (with fewer records than rounds all are dealt, at most one per
      round);
    - "dirichlet" keeps these equal sizes but draws the mixture of each round over the client's tasks from
      Dir(alpha); a task that has run out is made up for by the round's next likeliest.
    Raises UnknownName for another split and DrakeError for "dirichlet-across", which only
    `federation_schedule` can draw, since it moves records between clients.
    """
    if split not in SPLITS:
        raise UnknownName("split", split, list(SPLITS))
    if split == "dirichlet-across":
        raise DrakeError("the split 'dirichlet-across' deals tasks over all clients; ask federation_schedule for it.")
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
    """`schedule` of every client. clients: the tasks of each; sizes: train records by task, for all of them.

    "dirichlet-across" splits every task's records over ALL clients by Dir(alpha), the label-skew split with
    the task as the label; each client's share is pooled, shuffled and cut into as many equal rounds as its
    own tasks take.
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
    """Per round the `steps` batches of `batch` records that a client trains on, drawn from its online memory.

    arrivals: per round the records that arrive, in order. They enter the memory one by one (above
    `capacity` each evicts a random other) and earn steps / len(records) draws each, rounded so that a round
    makes exactly `steps` (a number, or one for each round). A draw takes `batch` different records with
    probability softmax(-c / temperature), where c counts the uses of a record and is multiplied by `decay` before
    each draw; a memory smaller than the batch is repeated to fill it. A round without arrivals draws from the
    memory alone. `stream_only` takes the round's records in order instead, from the start again when they run out;
    a round without any repeats the last one that had some.
    As long as nothing at all has arrived there is nothing to train on: such a round is an empty list.

    The draws of round k are seeded by (seed, client, k); rounds before k do not depend on later arrivals.
    """
    per_round = [steps] * len(arrivals) if isinstance(steps, int) else list(steps)
    if batch < 1 or min(per_round, default=0) < 0 or capacity < 1 or not temperature > 0:
        raise DrakeError(
            "the online memory needs batch >= 1, steps >= 0, capacity >= 1 and temperature > 0, not "
            f"batch {batch}, steps {steps}, capacity {capacity}, temperature {temperature}."
        )
    if stream_only:
        return list(_stream_batches(arrivals, per_round, batch))
    room = min(capacity, sum(map(len, arrivals)))
    memory: _Memory[T] = _Memory(room, batch, temperature, decay)
    rounds = []
    for k, records in enumerate(arrivals):
        rng = _generator(seed, "memory", client, k)
        batches: list[list[T]] = []
        for arrived, record in enumerate(records, start=1):
            memory.add(record, rng)
            earned = arrived * per_round[k] // len(records)  # whole numbers: no drift, the last makes it all
            batches += [memory.draw(rng) for _ in range(earned - len(batches))]
        if not records and memory.records:
            batches = [memory.draw(rng) for _ in range(per_round[k])]
        rounds.append(batches)
    return rounds


class _Memory(Generic[T]):
    """Records and how often each was used; both are indexed by slot."""

    def __init__(self, room: int, batch: int, temperature: float, decay: float):
        self.records: list[T] = []
        self._uses = np.zeros(room)
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
        # An exponential race: with E ~ Exp(1) per slot, the smallest E / p are a draw without replacement
        # with probabilities p. In logarithms, with p = exp(-c/T) up to a factor, it cannot overflow.
        finish = np.log(rng.standard_exponential(len(uses))) + uses / self._temperature
        most = min(self._batch, len(uses))
        first = np.argpartition(finish, most - 1)[:most]
        slots = np.resize(first[np.argsort(finish[first])], self._batch)
        np.add.at(uses, slots, 1)  # unlike +=, counts a slot that is there twice twice
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
